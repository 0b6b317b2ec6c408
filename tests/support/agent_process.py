"""A real agent process: started as an operator starts it, ended as the world ends it."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

READY_S = 30.0


class AgentProcess:
    """``litefleet-agent run --config FILE``. A context manager: it never outlives the test.

    Args:
        config_path: Its agent.toml.
        environment: Variables beyond those of this process.
    """

    def __init__(self, config_path: Path, environment: Mapping[str, str] | None = None) -> None:
        self._command = [
            str(Path(sys.executable).with_name("litefleet-agent")),
            "run",
            "--config",
            str(config_path),
        ]
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[str] | None = None
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._reader: threading.Thread | None = None
        self.output: list[str] = []

    def __enter__(self) -> AgentProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        """Process id of the main process."""
        assert self._process is not None, "the agent was not started"
        return self._process.pid

    def start(self, command: Sequence[str] = ()) -> AgentProcess:
        """Start it; see ``wait_ready``.

        Args:
            command: Another program in its place.
        """
        assert self._process is None, "the agent runs already"
        self._lines = queue.SimpleQueue()
        self._process = subprocess.Popen(
            command or self._command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self._environment,
        )
        self._reader = threading.Thread(target=self._read, args=(self._process, self._lines), daemon=True)
        self._reader.start()
        return self

    def _read(self, process: subprocess.Popen[str], lines: queue.SimpleQueue[str | None]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self.output.append(line)
            lines.put(line)
        lines.put(None)

    def wait_ready(self, timeout_s: float = READY_S) -> AgentProcess:
        """Wait for the line ``agent <id> ready``."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"the agent is not ready:\n{self.log}") from None
            assert line is not None, f"the agent ended before it was ready:\n{self.log}"
            if line.startswith("agent ") and line.endswith(" ready\n"):
                return self

    @property
    def log(self) -> str:
        """Everything it wrote so far."""
        return "".join(self.output)

    def wait(self, timeout_s: float = 15.0) -> int:
        """Wait for its end; its exit code, negative for a signal."""
        assert self._process is not None, "the agent was not started"
        code = self._process.wait(timeout_s)
        assert self._reader is not None
        self._reader.join(timeout_s)
        assert self._process.stdout is not None
        if not self._reader.is_alive():
            self._process.stdout.close()
        self._process = None
        return code

    def terminate(self, timeout_s: float = 15.0) -> int:
        """SIGTERM, and wait; its exit code."""
        os.kill(self.pid, signal.SIGTERM)
        return self.wait(timeout_s)

    def kill(self) -> None:
        """SIGKILL, and wait; nothing happens when it does not run."""
        if self._process is not None:
            self._process.kill()
            self.wait()
