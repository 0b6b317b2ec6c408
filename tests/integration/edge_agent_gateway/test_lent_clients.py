"""Clients on one connection to a gateway's process, which attendants serve: whatever happens, each answer is right."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from edge_agent.gateway.attendants import STAY_S
from edge_agent.inference.pool import Pool
from tests.support.gateway import INFER, RunningGateway, a_gateway
from tests.support.gateway_service import of_digit
from tests.support.inference_slots import serve, wait_until

HEAD = f"POST {INFER} HTTP/1.1\r\nHost: localhost\r\n"


def raw(digit: int) -> bytes:
    request = of_digit(digit)
    lengths = (
        f"Content-Length: {len(request.body)}\r\n"
        f"Inference-Header-Content-Length: {request.inference_header_bytes}\r\n\r\n"
    )
    return (HEAD + lengths).encode() + bytes(request.body)


class Client:
    """One connection; the bytes of answers are taken exactly."""

    def __init__(self, gateway: RunningGateway) -> None:
        self._gateway = gateway
        self.socket = gateway.connect()
        self._file = self.socket.makefile("rb")

    def ask(self, *parts: bytes, pause_s: float = 0.0) -> tuple[int, bytes]:
        for part in parts:
            self.socket.sendall(part)
            time.sleep(pause_s)
        return self.hear()

    def hear(self) -> tuple[int, bytes]:
        line = self._file.readline()
        headers = http.client.parse_headers(self._file)
        return int(line.split()[1]), self._file.read(int(headers["Content-Length"]))

    def digit(self, digit: int) -> bytes:
        """The answer, which is right."""
        status, content = self.ask(raw(digit))
        assert (status, f'"label":"{digit}"'.encode() in content) == (200, True), content
        return content

    def until_lent(self) -> None:
        """Ask until an attendant serves: then the gateway has a thread more than at its beginning."""
        for digit in range(3):
            self.digit(digit)
        wait_until(lambda: threads(self._gateway) > 1, "an attendant")

    def close(self) -> None:
        self._file.close()
        self.socket.close()


def threads(gateway: RunningGateway) -> int:
    return len(list(Path(f"/proc/{gateway.process.pid}/task").iterdir()))


@contextlib.contextmanager
def a_lent_client(gateway: RunningGateway) -> Iterator[Client]:
    with contextlib.closing(Client(gateway)) as client:
        client.until_lent()
        yield client


def test_only_who_asks_the_same_again_is_lent(pool: Pool, run_dir: Path) -> None:
    serve(pool)
    with a_gateway(run_dir) as gateway:
        alone = threads(gateway)
        for _ in range(3):
            with contextlib.closing(Client(gateway)) as client:
                client.digit(1)
                assert client.ask(b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")[0] == 200
                client.digit(2)
        assert threads(gateway) == alone
        with a_lent_client(gateway) as client:
            assert threads(gateway) == alone + 1
            client.digit(3)
        statistics = gateway.ask("GET", "/v2/models/digits/stats")[1]["model_stats"][0]
        assert statistics["inference_stats"]["success"]["count"] == 6 + 4


def test_other_requests_in_between_are_answered_as_ever(pool: Pool, run_dir: Path) -> None:
    serve(pool)
    others: list[tuple[bytes, int]] = [
        (b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n", 200),
        (b"GET /v2/models/other HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        ((HEAD + "Content-Length: 2\r\n\r\n{}").encode(), 400),
        (raw(1).replace(b"binary_data_output", b"binary_data_0utput"), 200),
        (raw(1)[:-4] + np.full(1, np.nan, np.float32).tobytes(), 400),
    ]
    with a_gateway(run_dir) as gateway, a_lent_client(gateway) as client:
        for _ in range(2):
            for other, status in others:
                client.digit(4)
                client.digit(5)
                assert client.ask(other)[0] == status
        found = [client.ask(raw(digit), *(raw(digit) for digit in range(3)))[0] for digit in range(2)]
        assert found + [client.hear()[0] for _ in range(6)] == [200] * 8
        for pause_s in (STAY_S * 1.2, 0.0):
            cut = len(raw(6)) - 100
            assert b'"label":"6"' in client.ask(raw(6)[:cut], raw(6)[cut:], pause_s=pause_s)[1]
            client.digit(7)
            client.digit(8)


def test_a_body_that_does_not_come_ends_with_its_time(pool: Pool, run_dir: Path) -> None:
    serve(pool)
    with a_gateway(run_dir, receive_timeout_s=STAY_S + 0.5) as gateway, a_lent_client(gateway) as client:
        assert client.ask(raw(1)[:-1])[0] == 408
        assert not client.socket.recv(1)


def test_switches_and_deaths_of_workers_fail_no_request(pool: Pool, run_dir: Path) -> None:
    def active() -> int:
        handle = pool.active("digits")
        assert handle is not None
        return handle.pid

    def die(version: str) -> None:
        before = active()
        os.kill(before, signal.SIGKILL)
        version_of(version)
        wait_until(lambda: active() != before, "the next worker")

    def version_of(version: str) -> None:
        assert f'"model_version":"{version}"'.encode() in client.digit(9)

    def switch(version: str) -> None:
        serve(pool, version)
        version_of(version)

    serve(pool)
    steps: list[tuple[Callable[[str], None], str]] = [(switch, "1.1.0"), (die, "1.1.0"), (switch, "1.0.0")]
    with a_gateway(run_dir, deadline_s=20.0) as gateway, a_lent_client(gateway) as client:
        for step, version in steps * 2:
            for digit in range(4):
                client.digit(digit)
            step(version)


def test_who_is_served_when_the_gateway_ends_gets_the_answer_and_is_let_go(pool: Pool, run_dir: Path) -> None:
    def is_deaf() -> bool:
        try:
            gateway.connect().close()
        except ConnectionRefusedError:
            return True
        return False

    worker = serve(pool).pid
    with a_gateway(run_dir) as gateway, a_lent_client(gateway) as client:
        client.digit(1)
        os.kill(worker, signal.SIGSTOP)
        try:
            client.socket.sendall(raw(3))
            gateway.process.send_signal(signal.SIGTERM)
            wait_until(is_deaf, "the end of listening")
        finally:
            os.kill(worker, signal.SIGCONT)
        status, content = client.hear()
        assert (status, b'"label":"3"' in content) == (200, True)
        assert not client.socket.recv(1)
        assert gateway.process.wait(20) == 0
