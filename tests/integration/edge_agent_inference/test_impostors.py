"""Something else stands where a worker should: the SDK says so and never takes a wrong answer."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import select
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from contract.errors import AgentUnavailableError, InferenceError, MessageError
from edge_agent import connect, connect_async
from edge_agent.inference import protocol
from edge_agent.inference.protocol import Failure
from tests.support.inference_greetings import a_scripted_welcome


def an_impostor(
    run_dir: Path, *answers: bytes, waits: bool = True, rude: bool = False
) -> contextlib.AbstractContextManager[None]:
    """Stands where a worker should, and says these frames to every client, by default one per frame it gets.

    A rude one leaves after the last of them without having read what came meanwhile.
    """
    return impostors(run_dir, answers, waits=waits, rude=rude)


@contextlib.contextmanager
def impostors(
    run_dir: Path, *scripts: Sequence[bytes], waits: bool = True, rude: bool = False
) -> Iterator[None]:
    """The same with a script for each client; the last one is for all the others too."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(str(run_dir / "digits.sock"))
    listener.listen()

    def talk() -> None:
        with contextlib.suppress(OSError):
            for answers in itertools.chain(scripts, itertools.repeat(scripts[-1])):
                connection, _ = listener.accept()
                with connection, contextlib.suppress(OSError):
                    for answer in answers[: -1 if rude else None]:
                        connection.send(answer)
                        if waits:
                            connection.recv(64)
                    if rude:
                        select.select([connection], [], [], 0.5)  # the SDK with asyncio sends nothing more
                        connection.send(answers[-1])

    thread = threading.Thread(target=talk)
    thread.start()
    try:
        yield
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def a_greeting() -> bytes:
    return protocol.encode_welcome(a_scripted_welcome())


def ask_waiting(run_dir: Path) -> None:
    with connect(run_dir).model("digits") as model:
        model.infer(np.zeros(1, np.float32))


def ask_with_asyncio(run_dir: Path) -> None:
    async def ask() -> None:
        async with connect_async(run_dir) as fleet:
            await fleet.model("digits").infer(np.zeros(1, np.float32))

    asyncio.run(ask())


Ask = Callable[[Path], None]


@pytest.fixture(params=[ask_waiting, ask_with_asyncio])
def ask(request: pytest.FixtureRequest) -> Ask:
    """Either SDK."""
    chosen: Ask = request.param
    return chosen


def test_something_else_in_a_workers_place_is_no_worker(run_dir: Path, ask: Ask) -> None:
    with an_impostor(run_dir, b"hello"), pytest.raises(MessageError, match="did not say what it serves"):
        ask(run_dir)


def test_a_worker_that_refuses_the_memory_is_told(run_dir: Path, ask: Ask) -> None:
    no = protocol.encode_failure(Failure(code="input", message="not that"))
    with (
        an_impostor(run_dir, a_greeting(), no),
        pytest.raises(AgentUnavailableError, match="not that"),
    ):
        ask(run_dir)


def test_a_refusal_is_told_also_when_the_worker_left_with_the_request_unread(run_dir: Path, ask: Ask) -> None:
    no = protocol.encode_failure(Failure(code="input", message="not that"))
    with (
        an_impostor(run_dir, a_greeting(), no, rude=True),
        pytest.raises(AgentUnavailableError, match="not that"),
    ):
        ask(run_dir)


def test_an_answer_to_another_request_is_not_taken(run_dir: Path, ask: Ask) -> None:
    stale = protocol.encode_result(77, 0.1, [], is_draining=False)
    with (
        an_impostor(run_dir, a_greeting(), protocol.encode_attached(), stale),
        pytest.raises(MessageError, match="request 77"),
    ):
        ask(run_dir)


def test_a_worker_that_ends_on_every_request_is_given_up(run_dir: Path, ask: Ask) -> None:
    with (
        an_impostor(run_dir, a_greeting(), protocol.encode_attached()),
        pytest.raises(InferenceError, match="ended 3 times"),
    ):
        ask(run_dir)


def test_a_word_that_nobody_asked_for_ends_an_idle_connection(run_dir: Path) -> None:
    is_idle = threading.Event()
    heard: list[bytes] = []
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(str(run_dir / "digits.sock"))
    listener.listen()

    def talk() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(20)
            connection.send(a_greeting())
            assert is_idle.wait(20)
            connection.send(protocol.encode_attached())
            heard.append(connection.recv(64))  # nothing, and its end: this side closes nothing before

    async def listen(impostor: threading.Thread) -> None:
        async with connect_async(run_dir) as fleet:
            await fleet.model("digits").wait()
            is_idle.set()
            await asyncio.to_thread(impostor.join, 30)
            assert heard == [b""]

    with listener:
        impostor = threading.Thread(target=talk)
        impostor.start()
        asyncio.run(listen(impostor))


@pytest.mark.parametrize("no", [protocol.encode_failure(Failure(code="input", message="not that")), b""])
def test_a_next_worker_that_does_not_take_the_memory_of_the_one_before_gets_its_own(
    run_dir: Path, no: bytes
) -> None:
    old = (a_greeting(), protocol.encode_attached(), protocol.encode_result(1, 0.1, [], is_draining=True))
    good = (a_greeting(), protocol.encode_attached(), protocol.encode_result(1, 0.1, [], is_draining=False))
    with impostors(run_dir, old, (a_greeting(), no), good), connect(run_dir).model("digits") as model:
        first, second = (model.infer(np.zeros(1, np.float32)) for _ in range(2))

    assert first.version == second.version == "1.0.0"


def test_an_agent_that_is_gone_while_its_model_is_opened_is_told(run_dir: Path) -> None:
    (run_dir / "digits.sock").symlink_to("w/gone.sock")

    with pytest.raises(AgentUnavailableError, match="no litefleet agent"):
        connect(run_dir).model("digits")
