"""A real agent process: started as an operator starts it, ended as the world ends it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

READY_S = 30.0


class AgentProcess:
    """``litefleet-agent run --config FILE``. A context manager: it never outlives the test.

    Args:
        config_path: Its agent.toml; what it writes goes into ``agent.log`` beside it.
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
        self._process: subprocess.Popen[bytes] | None = None
        self._log = config_path.with_name("agent.log")
        self._log_start = 0

    def __enter__(self) -> AgentProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        """Process id of the main process."""
        assert self._process is not None, "the agent was not started"
        return self._process.pid

    def without_coverage(self) -> AgentProcess:
        """Run as on a board: measuring coverage takes memory of its own."""
        self._environment = {
            key: value for key, value in self._environment.items() if not key.startswith("COVERAGE")
        }
        return self

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not been waited for."""
        return self._process is not None

    def start(self, command: Sequence[str] = ()) -> AgentProcess:
        """Start it; see ``wait_ready``.

        Args:
            command: Another program in its place.
        """
        assert self._process is None, "the agent runs already"
        with self._log.open("ab") as log:
            self._log_start = log.tell()
            self._process = subprocess.Popen(
                command or self._command, stdout=log, stderr=log, env=self._environment
            )
        return self

    def wait_ready(self, timeout_s: float = READY_S) -> AgentProcess:
        """Wait for the line ``agent <id> ready``."""
        assert self._process is not None, "the agent was not started"
        deadline = time.monotonic() + timeout_s
        while not self._is_ready():
            assert time.monotonic() < deadline, f"the agent is not ready:\n{self.log}"
            if self._process.poll() is not None and not self._is_ready():
                raise AssertionError(f"the agent ended before it was ready:\n{self.log}")
            time.sleep(0.01)
        return self

    def _is_ready(self) -> bool:
        return any(line.startswith("agent ") and line.endswith(" ready") for line in self.log.splitlines())

    @property
    def log(self) -> str:
        """Everything it wrote since its last start."""
        return self._log.read_bytes()[self._log_start :].decode(errors="replace")

    def wait(self, timeout_s: float = 15.0) -> int:
        """Wait for its end; its exit code, negative for a signal."""
        assert self._process is not None, "the agent was not started"
        code = self._process.wait(timeout_s)
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
