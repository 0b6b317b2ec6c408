"""Starts and ends the demo's processes, and finds those that somebody forgot.

Every process carries ``LITEFLEET_DEMO=<folder>`` in its environment, and so do its children: that is how ``leftovers``
finds each of them, whatever happened to its parent.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MARK = "LITEFLEET_DEMO"


class DemoError(Exception):
    """Something was not as told."""


def command(name: str) -> str:
    """Path of a litefleet command in the environment that runs the demo."""
    return str(Path(sys.executable).with_name(name))


class Processes:
    """All processes of one demo; one thread uses it.

    Args:
        folder: The demo's folder; logs go to ``logs/`` in it.
    """

    def __init__(self, folder: Path) -> None:
        self._logs = folder / "logs"
        self._logs.mkdir(parents=True, exist_ok=True)
        self.environment = {**os.environ, MARK: str(folder), "PYTHONUNBUFFERED": "1"}
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, arguments: list[str], extra: Mapping[str, str] | None = None) -> Path:
        """Start a process in the background; its output goes to the log whose path is returned."""
        log = self._logs / f"{name}.log"
        with log.open("wb") as output:
            self._running[name] = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**self.environment, **(extra or {})},
                start_new_session=True,
            )
        return log

    def run(self, arguments: list[str], *, accepted: tuple[int, ...] = (0,), time_out_s: float = 120) -> str:
        """Run a command to its end and return what it printed; another exit code than accepted ends the demo."""
        done = subprocess.run(
            arguments,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=time_out_s,
            check=False,
        )
        if done.returncode not in accepted:
            shown = " ".join([Path(arguments[0]).name, *arguments[1:]])
            raise DemoError(f"`{shown}` ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout if done.returncode == 0 else done.stderr

    def wait_for(self, what: str, is_true: Callable[[], bool], time_out_s: float) -> None:
        """Wait until something is true; fail at once when a background process ended."""
        deadline = time.monotonic() + time_out_s
        while not is_true():
            for name, process in self._running.items():
                if process.poll() is not None:
                    tail = (self._logs / f"{name}.log").read_text(errors="replace")[-2000:]
                    raise DemoError(
                        f"{name} ended with {process.returncode} while waiting for {what}:\n{tail}"
                    )
            if time.monotonic() > deadline:
                raise DemoError(f"{what}: not within {time_out_s:.0f} s; see {self._logs}")
            time.sleep(0.02)

    def wait_for_line(self, log: Path, marker: str, time_out_s: float = 30) -> None:
        """Wait until a process printed its marker."""
        self.wait_for(
            f"{marker!r} in {log.name}", lambda: marker in log.read_text(errors="replace"), time_out_s
        )

    def stop(self, names: list[str] | None = None, time_out_s: float = 20) -> list[str]:
        """Ask processes to end (all of them in the reverse order of their start); name those that had to be killed."""
        stubborn = []
        chosen = list(self._running) if names is None else names
        for name in chosen:
            self._running[name].terminate()
        for name in reversed(chosen):
            process = self._running.pop(name)
            try:
                process.wait(time_out_s)
            except subprocess.TimeoutExpired:
                stubborn.append(name)
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait(time_out_s)
        return stubborn


def leftovers(folder: Path) -> list[int]:
    """Process ids that carry this demo's mark, ourselves excepted."""
    mark = f"{MARK}={folder}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
    return found


def end_leftovers(folder: Path, time_out_s: float = 10) -> int:
    """Kill what still carries the mark; return how many there were."""
    found = leftovers(folder)
    for pid in found:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + time_out_s
    while leftovers(folder) and time.monotonic() < deadline:
        time.sleep(0.02)
    return len(found)


def free_port() -> int:
    """A TCP port on loopback that nothing listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
