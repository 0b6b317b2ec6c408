"""What the gateway refuses is answered, logged, and told to the agent."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.gateway.settings import BODIES, MAX_CONNECTIONS, GatewaySettings
from edge_agent.gateway_process import GatewayProcess
from edge_agent.inference.pool import Pool
from tests.support.gateway import INFER, RunningGateway, a_port, a_request, read_answer
from tests.support.inference_slots import serve, wait_until

HEAD = b"POST /v2/models/digits/infer HTTP/1.1\r\nHost: localhost\r\n"


class Listener:
    """The agent's end.

    Attributes:
        gateway: Running.
        news: What an operator would have heard: model to words.
    """

    def __init__(self, child: GatewayProcess, gateway: RunningGateway) -> None:
        self._child = child
        self.gateway = gateway
        self.news: dict[str, str] = {}

    def has_heard(self, model: str) -> bool:
        """Whether there is news of a model."""
        self.news |= dict(self._child.news(time.monotonic()))
        return model in self.news


@pytest.fixture
def listener(pool: Pool, run_dir: Path) -> Iterator[Listener]:
    serve(pool)
    port = a_port()
    settings = GatewaySettings(
        enabled=True, port=port, max_body_bytes=100_000, max_concurrent=2, deadline_s=20
    )
    child = GatewayProcess(settings, run_dir)
    child.tick(time.monotonic())
    (made,) = child._children
    assert made.process is not None
    running = RunningGateway(made.process, port, run_dir / "none.log")

    def answers() -> bool:
        with contextlib.suppress(OSError):
            return running.ask("GET", "/v2/models/digits/ready")[0] == 200
        return False

    try:
        wait_until(answers, "the gateway")
        yield Listener(child, running)
    finally:
        child.stop()
        child.join()


def test_each_connection_too_many_is_told_so_also_far_beyond(listener: Listener) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(MAX_CONNECTIONS):
            taken = stack.enter_context(listener.gateway.connect())
            taken.sendall(HEAD + b"Content-Length: 10\r\nExpect: 100-continue\r\n\r\n")
            assert taken.recv(100).startswith(b"HTTP/1.1 100"), "it waits for the rest, and keeps its place"
        beyond = [stack.enter_context(listener.gateway.connect()) for _ in range(2 * MAX_CONNECTIONS)]
        statuses = [read_answer(connection)[0] for connection in beyond]
        assert statuses == [503] * len(beyond)
        ends = [connection.recv(1) for connection in beyond]
        assert ends == [b""] * len(beyond), "and is let go"
    wait_until(lambda: listener.has_heard(""), "the agent hears of it")
    number = int(listener.news[""].split()[1])
    assert number >= 2 * MAX_CONNECTIONS
    assert "connections over HTTP, too many were open" in listener.news[""]


def test_bodies_beyond_the_memory_for_them_are_counted(listener: Listener) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(BODIES):
            connection = stack.enter_context(listener.gateway.connect())
            connection.sendall(HEAD + b"Content-Length: 100000\r\n\r\n")
        wait_until(lambda: listener.gateway.say(HEAD + b"Content-Length: 2\r\n\r\n{}")[0] == 503, "no room")
        wait_until(lambda: listener.has_heard(""), "the agent hears of it")
    assert "the bodies of others took all memory" in listener.news[""]


def test_requests_beyond_those_that_may_wait_are_counted_by_model(listener: Listener, pool: Pool) -> None:
    worker = pool.active("digits")
    assert worker is not None
    body = json.dumps(a_request()).encode()
    os.kill(worker.pid, signal.SIGSTOP)
    try:
        with contextlib.ExitStack() as stack:
            for _ in range(2):
                waiting = stack.enter_context(listener.gateway.connect())
                waiting.sendall(HEAD + b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
            wait_until(lambda: listener.gateway.ask("POST", INFER, a_request())[0] == 503, "a refusal")
            wait_until(lambda: listener.has_heard("digits"), "the agent hears of it")
    finally:
        os.kill(worker.pid, signal.SIGCONT)
    assert "requests over HTTP, too many were waiting" in listener.news["digits"]
    wait_until(lambda: listener.gateway.ask("POST", INFER, a_request())[0] == 200, "an answer")
