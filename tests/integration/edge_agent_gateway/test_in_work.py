"""A client that says more, stops listening or goes away while its request is with a worker."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge_agent.inference.pool import Pool
from tests.support.gateway import INFER, RunningGateway, a_gateway, a_raw_request, a_request, read_answer
from tests.support.inference_slots import serve, wait_until


@contextlib.contextmanager
def in_work(
    running: RunningGateway, worker: int, content: bytes
) -> Iterator[tuple[socket.socket, Callable[[], None]]]:
    """A connection whose first request is with a worker that waits, and what lets that go on."""

    def go_on() -> None:
        os.kill(worker, signal.SIGCONT)

    running.ask("POST", INFER, a_request())
    with running.connect() as connection:
        os.kill(worker, signal.SIGSTOP)
        try:
            connection.sendall(content)
            _wait_until_taken(running)
            yield connection, go_on
        finally:
            go_on()


def _wait_until_taken(running: RunningGateway) -> None:
    """What lies there before these are asked is taken before the second: the event loop is one thread."""
    for _ in range(2):
        assert running.ask("GET", "/v2/health/live")[0] == 200


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("missing", [0, 1, 300])
def test_who_says_more_while_a_request_is_in_work_and_then_no_more_gets_what_was_asked(
    pool: Pool, run_dir: Path, *, at_once: bool, missing: int
) -> None:
    worker = serve(pool).pid
    first, second = a_raw_request(1), a_raw_request(2)
    second = second[: len(second) - missing]
    with (
        a_gateway(run_dir) as running,
        in_work(running, worker, first + second if at_once else first) as (connection, go_on),
    ):
        if not at_once:
            for part in (second[:100], second[100:]):
                connection.sendall(part)
                _wait_until_taken(running)
        connection.shutdown(socket.SHUT_WR)
        _wait_until_taken(running)
        go_on()
        answers = b"".join(iter(lambda: connection.recv(65536), b""))
    wanted = [b"1"] if missing else [b"1", b"2"]
    assert (re.findall(rb'"label":"(.)"', answers), answers.count(b"HTTP/1.1 ")) == (wanted, len(wanted))


def test_what_a_client_says_while_its_request_is_in_work_waits_with_the_system(
    pool: Pool, run_dir: Path
) -> None:
    worker = serve(pool).pid
    request = a_raw_request(3)
    with (
        a_gateway(run_dir, deadline_s=20.0) as running,
        in_work(running, worker, request) as (connection, go_on),
    ):
        before = running.memory_mib()
        connection.settimeout(0.5)
        with pytest.raises(TimeoutError):
            connection.sendall(request * (32_000_000 // len(request)))
        assert running.memory_mib() - before < 1
        connection.settimeout(20)
        go_on()
        assert read_answer(connection)[2]["parameters"]["label"] == "3"


def test_a_body_takes_its_memory_until_its_request_is_over_also_when_the_client_is_gone(
    pool: Pool, run_dir: Path
) -> None:
    worker = serve(pool).pid
    head = f"POST {INFER} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1024\r\n\r\n"
    body = head.encode() + bytes(1024)
    with a_gateway(run_dir, max_body_bytes=1024, max_concurrent=64, deadline_s=20.0) as running:
        assert running.say(body)[0] == 400
        with in_work(running, worker, a_raw_request(1)) as (_, go_on):
            for _ in range(12):
                with running.connect() as leaving:
                    leaving.sendall(a_raw_request(1))
                    _wait_until_taken(running)
                    leaving.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                _wait_until_taken(running)
            assert running.say(body)[0] == 503
            go_on()
            wait_until(lambda: running.say(body)[0] == 400, "room again")
