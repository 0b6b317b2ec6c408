"""A real litefleet server in a process of its own, and its HTTP API."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import urllib3

from tests.support.tools import free_port

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 20.0


class ApiError(Exception):
    """The server refused: HTTP status and the error's JSON."""

    def __init__(self, status: int, body: Any) -> None:
        super().__init__(f"{status}: {body}")
        self.status = status
        self.body = body


class ServerProcess:
    """``litefleet-server run`` in a folder that ``litefleet-server init`` makes when it is missing.

    Args:
        folder: The server's folder.
        http_port: Free port; chosen when None.
        mqtt_port: Free port; chosen when None.
        environment: Additions to the environment, for example ``LITEFLEET_SERVER_BROKER_KIND``.
    """

    def __init__(
        self,
        folder: Path,
        *,
        http_port: int | None = None,
        mqtt_port: int | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.http_port = free_port() if http_port is None else http_port
        self.mqtt_port = free_port() if mqtt_port is None else mqtt_port
        self.url = f"http://127.0.0.1:{self.http_port}"
        self.process: subprocess.Popen[str] | None = None
        self.output: list[str] = []
        self._environment = {**os.environ, **(environment or {})}
        self._reader: threading.Thread | None = None
        self._pool = urllib3.PoolManager(retries=False, timeout=30)

    def __enter__(self) -> ServerProcess:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def operator_token_file(self) -> Path:
        return self.folder / "secrets" / "operator.token"

    @property
    def publisher_token_file(self) -> Path:
        return self.folder / "secrets" / "publisher.token"

    def init(self) -> None:
        """Make the server's folder."""
        ports = ["--http-port", str(self.http_port), "--mqtt-port", str(self.mqtt_port)]
        subprocess.run([*self._command(), "init", str(self.folder), *ports], check=True, capture_output=True)

    def start(self) -> None:
        """Start, and wait for the line that says ready."""
        if not (self.folder / "server.toml").exists():
            self.init()
        self.process = subprocess.Popen(
            [*self._command(), "run", str(self.folder)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self._environment,
        )
        ready = threading.Event()
        self._reader = threading.Thread(target=self._read, args=(self.process, ready), daemon=True)
        self._reader.start()
        if not ready.wait(START_TIMEOUT_S) or self.process.poll() is not None:
            self.close()
            raise AssertionError("the server did not become ready:\n" + "\n".join(self.output))

    def terminate(self) -> int:
        """End it as an operator does; its exit code."""
        return self._end(signal.SIGTERM)

    def kill(self) -> int:
        """End it with SIGKILL."""
        return self._end(signal.SIGKILL)

    def close(self) -> None:
        """End it, however it is."""
        if self.process is not None:
            try:
                self.terminate()
            except subprocess.TimeoutExpired:
                self.kill()
        self._pool.clear()

    def broker_pid(self) -> int:
        """Process id of its broker."""
        return int((self.folder / "broker" / "broker.pid").read_text())

    def api(self, method: str, path: str, body: object = None, *, role: str | None = "operator") -> Any:
        """Call the HTTP API with a role's token; the answer's JSON.

        Raises:
            ApiError: The server refused.
        """
        headers = {"Content-Type": "application/json"}
        if role is not None:
            token = (self.folder / "secrets" / f"{role}.token").read_text().strip()
            headers["Authorization"] = f"Bearer {token}"
        content = None if body is None else json.dumps(body).encode()
        answer = self._pool.request(method, self.url + path, body=content, headers=headers)
        found = json.loads(answer.data) if answer.data else None
        if answer.status >= 300:
            raise ApiError(answer.status, found)
        return found

    def _end(self, number: signal.Signals) -> int:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(STOP_TIMEOUT_S)
        if self._reader is not None:
            self._reader.join(STOP_TIMEOUT_S)
        if self.process.stdout is not None:
            self.process.stdout.close()
        return code

    def _read(self, process: subprocess.Popen[str], ready: threading.Event) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self.output.append(line.rstrip("\n"))
            if line.startswith("ready "):
                ready.set()
        ready.set()

    @staticmethod
    def _command() -> list[str]:
        return [sys.executable, "-c", "from server.cli import main; main()"]


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that ended and waits for its parent does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def wait_until(condition: Callable[[], Any], *, timeout_s: float = 20.0, what: str = "condition") -> Any:
    """Wait until a condition gives something true; that."""
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what}: not within {timeout_s} s"
        time.sleep(0.05)
    return found
