"""What the service manager hears, over a real datagram socket."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.service.notify import Notifier

PID = 4711


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    """The address as the environment has it, and the socket behind it."""
    name = f"litefleet-test-{os.getpid()}"
    given, bound = (f"@{name}", f"\0{name}") if request.param == "abstract" else 2 * (str(tmp_path / "n"),)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(bound)
        listener.setblocking(False)
        yield given, listener


def heard(listener: socket.socket) -> list[str]:
    found: list[str] = []
    with contextlib.suppress(BlockingIOError):
        while True:
            found.append(listener.recv(4096).decode())
    return found


def test_a_life_is_told_in_order(manager: tuple[str, socket.socket]) -> None:
    address, listener = manager
    environment = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "10000000", "WATCHDOG_PID": str(PID), "A": "b"}
    with contextlib.closing(Notifier(environment, PID)) as notifier:
        assert environment == {"A": "b"}  # what children inherit
        assert notifier.period_s == 5.0
        notifier.ready("answering\nnot connected")
        assert heard(listener) == ["READY=1\nSTATUS=answering not connected"]
        notifier.alive(0.0, "answering\nnot connected")
        notifier.alive(4.9, "answering, connected")
        notifier.alive(5.0, "answering, connected")
        notifier.stopping()
        assert heard(listener) == [
            "WATCHDOG=1",
            "STATUS=answering, connected",
            "WATCHDOG=1",
            "STOPPING=1\nSTATUS=ending",
        ]
    notifier.alive(100.0, "closed")
    assert heard(listener) == []


@pytest.mark.parametrize(
    ("watchdog", "period_s"),
    [
        ({}, 0.0),
        ({"WATCHDOG_USEC": "10000000", "WATCHDOG_PID": "1"}, 0.0),
        ({"WATCHDOG_USEC": "often"}, 0.0),
        ({"WATCHDOG_USEC": "500000"}, 0.25),
    ],
)
def test_the_watchdog_is_fed_only_when_it_watches_this_process(
    manager: tuple[str, socket.socket], watchdog: dict[str, str], period_s: float
) -> None:
    address, listener = manager
    with contextlib.closing(Notifier({"NOTIFY_SOCKET": address, **watchdog}, PID)) as notifier:
        assert notifier.period_s == period_s
        notifier.alive(1.0, "")
        assert heard(listener) == (["WATCHDOG=1"] if period_s else [])


@pytest.mark.parametrize("address", ["", "vsock:2:1", "/nowhere/at/all"])
def test_without_a_service_manager_nothing_is_said_and_nothing_fails(address: str) -> None:
    with contextlib.closing(Notifier({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1000"}, PID)) as notifier:
        notifier.ready("ready")
        notifier.alive(1.0, "more")
        notifier.stopping()


def test_a_manager_that_does_not_read_does_not_hold_the_loop_up(manager: tuple[str, socket.socket]) -> None:
    address, listener = manager
    with contextlib.closing(Notifier({"NOTIFY_SOCKET": address}, PID)) as notifier:
        for number in range(5000):
            notifier.alive(0.0, str(number))
    assert 0 < len(heard(listener)) < 5000
