"""The agent as a service: what a service manager hears from the real process, and what its sandbox leaves it."""

from __future__ import annotations

import contextlib
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from contract.deployment import State
from tests.support.agent_bench import Bench, bench, wait_until
from tests.support.agent_cli import run_cli
from tests.support.agent_process import AgentProcess
from tests.support.agent_releases import GOOD, ROOT, Releases

WATCHDOG_S = 0.4
NO_WRITE_EXECUTE = (
    # PR_SET_MDWE, Linux 6.3: what MemoryDenyWriteExecute= asks of newer kernels, kept through exec.
    "import ctypes, os, sys; ctypes.CDLL(None).prctl(65, 1, 0, 0, 0) == 0 or sys.exit('no MDWE');"
    " os.execv(sys.argv[1], sys.argv[1:])"
)


class Manager:
    """The service manager's end of the socket."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))

    def hear(self, timeout_s: float) -> str:
        """The next datagram; empty when none comes in time."""
        self.socket.settimeout(timeout_s)
        try:
            return self.socket.recv(4096).decode()
        except TimeoutError:
            return ""

    def wait_for(self, wanted: str, timeout_s: float = 30.0) -> list[str]:
        """Everything up to a datagram with a line, that one included."""
        deadline, heard = time.monotonic() + timeout_s, [""]
        while wanted not in heard[-1].splitlines():
            assert time.monotonic() < deadline, f"{wanted} not heard in {heard}"
            heard.append(self.hear(timeout_s))
        return heard[1:]

    def wait_for_silence(self, seconds: float) -> None:
        """Wait until nothing came for so long; 20 seconds at most."""
        deadline = time.monotonic() + 20
        while self.hear(seconds):
            assert time.monotonic() < deadline, "the watchdog is fed all the time"


@pytest.fixture
def manager() -> Iterator[Manager]:
    with tempfile.TemporaryDirectory(prefix="lf-") as folder:
        made = Manager(Path(folder) / "notify")
        with contextlib.closing(made.socket):
            yield made


def watched(device: Bench, manager: Manager) -> AgentProcess:
    return AgentProcess(
        device.config, {"NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": str(int(WATCHDOG_S * 1e6))}
    )


def test_ready_is_told_once_and_the_watchdog_is_fed_until_the_end(device: Bench, manager: Manager) -> None:
    with watched(device, manager) as agent:
        agent.start().wait_ready()
        (first,) = manager.wait_for("READY=1")
        assert first.startswith("READY=1\nSTATUS=answering")
        if "STATUS=answering, connected" not in first.splitlines():  # it may connect as soon as it is ready
            manager.wait_for("STATUS=answering, connected")
        manager.wait_for("WATCHDOG=1")
        manager.wait_for("WATCHDOG=1")
        assert agent.terminate() == 0
        heard = manager.wait_for("STOPPING=1")
        assert not any("READY=1" in each for each in heard)


def test_a_main_loop_that_hangs_stops_feeding_the_watchdog(
    releases: Releases, prepared: Path, manager: Manager
) -> None:
    images = ROOT / "examples" / "digits" / "evaluation" / "7"
    source = f'[[sources]]\nmodel = "digits"\npath = "{images}"\nrate_hz = 20\n'
    with (
        tempfile.TemporaryDirectory(prefix="lf-") as folder,
        bench(Path(folder), releases, extra=source) as made,
    ):
        shutil.copytree(prepared, made.state_dir)
        made.server.revision = 1
        with watched(made, manager) as agent:
            agent.start().wait_ready()
            wait_until(
                lambda: any(w.requests for w in made.server.windows.copy().values()), "answers", timeout_s=40
            )
            manager.wait_for("WATCHDOG=1")
            outbox = sqlite3.connect(made.state_dir / "outbox.sqlite", isolation_level=None)
            with contextlib.closing(outbox):
                outbox.execute("begin immediate")  # the main loop waits for it, and nothing else does
                manager.wait_for_silence(5 * WATCHDOG_S)
                outbox.execute("rollback")
            manager.wait_for("WATCHDOG=1")
            assert agent.terminate() == 0


def test_a_deployment_succeeds_where_no_memory_may_be_written_and_executed(device: Bench) -> None:
    can = subprocess.run([sys.executable, "-c", NO_WRITE_EXECUTE, "/bin/true"], timeout=30, check=False)
    if can.returncode != 0:
        pytest.skip("this kernel has no PR_SET_MDWE (Linux 6.3)")
    program = str(Path(sys.executable).with_name("litefleet-agent"))
    device.agent.start(
        [sys.executable, "-c", NO_WRITE_EXECUTE, program, "run", "--config", str(device.config)]
    ).wait_ready()
    device.server.deploy(GOOD, "d1")
    assert device.server.wait_end("d1").after is State.SUCCEEDED


def test_the_unit_is_printed_or_written_with_what_is_left_to_do(device: Bench, tmp_path: Path) -> None:
    shown = run_cli("service", "install", "--config", device.config, "--dry-run")
    assert shown.code == 0
    assert f"litefleet-agent run --config {device.config}" in shown.out
    output = tmp_path / "agent.service"
    written = run_cli(
        "service", "install", "--config", device.config, "--output", output, "--user", "no-such-user"
    )
    assert written.code == 0
    assert "useradd --system --no-create-home --shell /usr/sbin/nologin no-such-user" in written.out
    assert "systemctl enable --now agent.service" in written.out
    assert output.read_text() == shown.out.replace("User=litefleet\n", "User=no-such-user\n")
    refused = run_cli("service", "install", "--config", device.config, "--memory-max", "lots", "--dry-run")
    assert (refused.code, "no amount of memory" in refused.err) == (2, True)
