"""A gateway process beside a pool of workers, and raw HTTP to it."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.inference_slots import ROOT, images_of, tensor_of

INFER = "/v2/models/digits/infer"
WAIT_S = 30.0


@dataclass
class RunningGateway:
    """A gateway's process.

    Attributes:
        process: Its standard input ends it; its log is in ``log``.
        port: Where it listens.
        log: File with what it said.
    """

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def connect(self, timeout_s: float = WAIT_S) -> socket.socket:
        """A bare connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout_s)

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> tuple[int, Any]:
        """Status and JSON of an answer; a body that is no bytes is sent as JSON."""
        content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT_S)) as client:
            client.request(
                method, path, content, {name.replace("_", "-"): value for name, value in headers.items()}
            )
            response = client.getresponse()
            return response.status, json.loads(response.read())

    def say(self, content: bytes) -> tuple[int, dict[str, str], Any]:
        """Send bytes on a connection of their own; status, headers and JSON of the answer."""
        with self.connect() as connection:
            with contextlib.suppress(ConnectionError):
                connection.sendall(content)
            return read_answer(connection)

    def memory_mib(self) -> float:
        """Its proportional set size."""
        rollup = Path(f"/proc/{self.process.pid}/smaps_rollup").read_text(encoding="ascii")
        return next(int(line.split()[1]) / 1024 for line in rollup.splitlines() if line.startswith("Pss:"))


def read_answer(connection: socket.socket) -> tuple[int, dict[str, str], Any]:
    """Status, headers and JSON of the next answer on a connection."""
    response = http.client.HTTPResponse(connection)
    response.begin()
    body = response.read()
    return response.status, dict(response.headers.items()), json.loads(body) if body else None


def a_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def a_gateway(run_dir: Path, **settings: object) -> Iterator[RunningGateway]:
    """Start one and wait until it answers."""
    port = a_port()
    log = run_dir / f"gateway-{port}.log"
    command = [sys.executable, "-m", "edge_agent.gateway", "--run-dir", str(run_dir)]
    command += ["--settings", json.dumps({"port": port, **settings})]
    with (
        log.open("wb") as output,
        subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stderr=output) as process,
    ):
        try:
            ends = time.monotonic() + WAIT_S
            while b"answers at" not in log.read_bytes():
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < ends, "the gateway does not start"
                time.sleep(0.02)
            yield RunningGateway(process, port, log)
            if process.poll() is None:
                assert process.stdin is not None
                process.stdin.close()
                assert process.wait(WAIT_S) == 0
        finally:
            process.kill()


def a_request(digit: int = 3) -> dict[str, Any]:
    """A digit's image for ``INFER``, as numbers in JSON."""
    tensor = {"name": "image", "shape": [1, 8, 8, 1], "datatype": "FP32"}
    return {"inputs": [tensor | {"data": tensor_of(images_of(digit)[0]).tolist()}]}


def a_binary_request(digit: int = 3) -> tuple[bytes, int]:
    """The same as a body with the tensor in binary, and the length of its JSON."""
    content = tensor_of(images_of(digit)[0]).tobytes()
    tensor = {"name": "image", "shape": [1, 8, 8, 1], "datatype": "FP32"}
    header = json.dumps({"inputs": [tensor | {"parameters": {"binary_data_size": len(content)}}]}).encode()
    return header + content, len(header)


def a_raw_request(digit: int, more: str = "") -> bytes:
    """The same with its head; ``more`` are lines of that."""
    body, header_bytes = a_binary_request(digit)
    head = f"POST {INFER} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n{more}"
    return f"{head}Inference-Header-Content-Length: {header_bytes}\r\n\r\n".encode() + body
