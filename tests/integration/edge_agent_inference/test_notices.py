"""Answers that lie in shared memory before they are said; the worker is a thread of the test, the rest is real."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from contract.errors import DeadlineError, MessageError
from contract.tensor import DType
from edge_agent import connect
from edge_agent.inference import protocol
from edge_agent.inference.area import Area, adopt_area, create_area
from edge_agent.inference.connection import Connection
from edge_agent.inference.dialogue import WorkerGoneError
from edge_agent.inference.feed import Feed
from edge_agent.inference.notice import Notice
from edge_agent.inference.pool import Pool
from edge_agent.inference.processors import usable_processors
from edge_agent.inference.protocol import Result, StoredOutput, Welcome
from tests.support.inference_greetings import a_scripted_welcome
from tests.support.inference_slots import images_of, serve, tensor_of, wait_until

TIMEOUT_S = 30.0
LATE_S = 0.2
FEED = Feed((np.zeros(4, np.int8),), None, 0)
STORED = StoredOutput(dtype=DType.UINT8, scale=1.0, zero_point=0, top_k=1, labels=())


def a_welcome() -> Welcome:
    return a_scripted_welcome(("x", (4,), DType.INT8), ("y", (16,), DType.FLOAT32), STORED)


class Side:
    """The worker's side of one connection."""

    def __init__(self, connection: socket.socket, area: Area, welcome: Welcome) -> None:
        assert welcome.stored is not None
        self.socket = connection
        self._area = area
        self._output = welcome.outputs[0].offset
        self._notice = Notice(area, welcome.stored.notice_offset)

    def hear(self) -> int:
        """The sequence of the next request; 0 when the client has left, perhaps without having heard all."""
        try:
            return protocol.sequence_of_tensors(self.socket.recv(64))
        except ConnectionResetError:
            return 0

    def post(self, sequence: int, best: int, *, words_of: int | None = None) -> None:
        """Have the answer to a request, perhaps in the words of another one, before it is said."""
        values = bytes(255 if place == best else 0 for place in range(16))
        self._area.put(self._output, values)
        self._notice.post(sequence, self._words(words_of or sequence))

    def say(self, sequence: int) -> None:
        self.socket.send(self._words(sequence))

    @staticmethod
    def _words(sequence: int) -> bytes:
        return protocol.encode_result(sequence, 0.001, None, is_draining=False)


@contextlib.contextmanager
def a_worker(run_dir: Path, talk: Callable[[Side], None]) -> Iterator[Connection]:
    """A connection to one that talks like this, once memory is shared and one request was answered."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(str(run_dir / "digits.sock"))
    listener.listen()
    errors: list[BaseException] = []

    def work() -> None:
        try:
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(TIMEOUT_S)
                welcome = a_welcome()
                connection.send(protocol.encode_welcome(welcome))
                words, descriptors, _, _ = socket.recv_fds(connection, 64, 1)
                assert protocol.takes_stored(words)
                area = adopt_area(descriptors[0], least_bytes=welcome.tensor_bytes, most_bytes=1 << 20)
                connection.send(protocol.encode_attached())
                side = Side(connection, area, welcome)
                side.post(side.hear(), 15)
                side.say(1)
                talk(side)
        except BaseException as error:  # noqa: BLE001 - raised again by the test
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        own = Connection(run_dir / "digits.sock", TIMEOUT_S)
        with contextlib.closing(own):
            own.greet(TIMEOUT_S)
            assert best_of(own) == 15
            yield own
    finally:
        thread.join(TIMEOUT_S)
        listener.close()
    assert not errors, errors


def best_of(connection: Connection, timeout_s: float = TIMEOUT_S) -> int:
    answer = connection.ask(FEED, timeout_s)
    assert isinstance(answer, Result)
    return answer.classes[0].index


class Ahead:
    """An answer that is posted before its request is sent, so that it is certain to be found."""

    def __init__(self) -> None:
        self._begun, self._done = threading.Event(), threading.Event()

    def post(self, side: Side, *, words_of: int | None = None) -> None:
        """On the worker's side: post, once the client is done with the answer before, and hear the request."""
        assert self._begun.wait(TIMEOUT_S)
        side.post(2, 7, words_of=words_of)
        self._done.set()
        assert side.hear() == 2

    def wait(self) -> None:
        """On the client's side: until it is posted."""
        self._begun.set()
        assert self._done.wait(TIMEOUT_S)


def until_it_leaves(side: Side) -> None:
    assert side.hear() == 0


def test_answers_that_are_posted_and_said_are_taken_once_each(run_dir: Path) -> None:
    def talk(side: Side) -> None:
        while sequence := side.hear():
            side.post(sequence, sequence % 15)
            side.say(sequence)

    with a_worker(run_dir, talk) as connection:
        for sequence in range(2, 300):
            assert best_of(connection) == sequence % 15
            if not sequence % 7:
                assert connection.is_quiet


def test_an_answer_is_there_before_it_is_said(run_dir: Path) -> None:
    ahead, may_say = Ahead(), threading.Event()

    def talk(side: Side) -> None:
        ahead.post(side)
        assert may_say.wait(TIMEOUT_S)
        side.say(2)
        side.post(side.hear(), 8)
        side.say(3)
        until_it_leaves(side)

    with a_worker(run_dir, talk) as connection:
        ahead.wait()
        assert best_of(connection) == 7
        may_say.set()
        assert best_of(connection) == 8
        assert connection.is_quiet


def test_a_worker_that_posts_and_dies_has_answered(run_dir: Path) -> None:
    ahead = Ahead()

    def talk(side: Side) -> None:
        ahead.post(side)

    with a_worker(run_dir, talk) as connection:
        ahead.wait()
        assert best_of(connection) == 7
        with pytest.raises(WorkerGoneError):
            best_of(connection)


def test_a_worker_that_posts_and_never_says_so_is_late(run_dir: Path) -> None:
    ahead = Ahead()

    def talk(side: Side) -> None:
        ahead.post(side)
        assert side.hear() == 3
        until_it_leaves(side)

    with a_worker(run_dir, talk) as connection:
        ahead.wait()
        assert best_of(connection) == 7
        with pytest.raises(DeadlineError):
            best_of(connection, LATE_S)


def test_who_hears_nothing_of_what_was_posted_is_not_quiet(run_dir: Path) -> None:
    ahead = Ahead()

    def talk(side: Side) -> None:
        ahead.post(side)
        until_it_leaves(side)

    with a_worker(run_dir, talk) as connection:
        ahead.wait()
        assert best_of(connection, LATE_S) == 7
        assert not connection.is_quiet


def test_words_of_another_request_are_not_taken(run_dir: Path) -> None:
    ahead = Ahead()

    def talk(side: Side) -> None:
        ahead.post(side, words_of=9)
        until_it_leaves(side)

    with a_worker(run_dir, talk) as connection:
        ahead.wait()
        with pytest.raises(MessageError, match="answered request 9"):
            best_of(connection)


def test_a_refusal_is_heard_while_one_looks_for_an_answer(run_dir: Path) -> None:
    refusal = protocol.Failure(code="input", message="not finite", sequence=2)

    def talk(side: Side) -> None:
        assert side.hear() == 2
        side.socket.send(protocol.encode_failure(refusal))
        side.post(side.hear(), 3)
        side.say(3)
        until_it_leaves(side)

    with a_worker(run_dir, talk) as connection:
        assert connection.ask(FEED, TIMEOUT_S) == refusal
        assert best_of(connection) == 3


def test_a_real_worker_answers_many_requests_rightly(pool: Pool, run_dir: Path) -> None:
    serve(pool)
    tensors = [tensor_of(images_of(digit)[0]) for digit in range(10)]

    with connect(run_dir).model("digits") as model:
        for turn in range(500):
            assert model.infer(tensors[turn % 10]).label == str(turn % 10)
        assert pool.take_windows()[0].requests == 500


class Poster:
    """A client of a real worker that posts its requests."""

    def __init__(self, run_dir: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.settimeout(TIMEOUT_S)
        self._socket.connect(str(run_dir / "digits.sock"))
        welcome = protocol.parse_welcome(self._socket.recv(protocol.FRAME_MAX_BYTES))
        assert isinstance(welcome, Welcome)
        assert welcome.stored is not None
        area, descriptor = create_area(welcome.tensor_bytes)
        socket.send_fds(self._socket, [protocol.encode_attach(takes_stored=True)], [descriptor])
        os.close(descriptor)
        assert protocol.parse_attached(self._socket.recv(protocol.FRAME_MAX_BYTES)) is None
        self._notice = Notice(area, welcome.stored.notice_offset)
        self._sequence = 0

    def say_closely(self) -> None:
        """Ask so that the worker stays awake for more."""
        for _ in range(3):
            self._sequence += 1
            self.say()
            assert self.has_answer(TIMEOUT_S)

    def post(self) -> None:
        self._sequence += 1
        self._notice.ask(self._sequence)

    def say(self) -> None:
        """Say the last request, which may have been posted."""
        self._socket.send(protocol.encode_request_of_tensors(self._sequence))

    def has_answer(self, wait_s: float) -> bool:
        """Whether the worker answers the last request; it may have heard an earlier one after all."""
        while select.select([self._socket], [], [], wait_s)[0]:
            if protocol.parse_answer(self._socket.recv(protocol.FRAME_MAX_BYTES)).sequence == self._sequence:
                return True
        return False

    def close(self) -> None:
        self._socket.close()


@pytest.mark.skipif(usable_processors() < 2, reason="on one processor nobody stays awake")
def test_a_real_worker_hears_what_is_posted_while_it_is_awake(pool: Pool, run_dir: Path) -> None:
    serve(pool)
    with contextlib.closing(Poster(run_dir)) as poster:

        def is_heard() -> bool:
            """Whether a request that follows an answer closely is answered without being said."""
            poster.say_closely()
            poster.post()
            is_early = poster.has_answer(LATE_S)
            poster.say()
            return is_early or not poster.has_answer(TIMEOUT_S)

        wait_until(is_heard, "an answer to a request that was posted")


@pytest.mark.skipif(usable_processors() < 2, reason="on one processor nobody stays awake")
def test_a_client_that_posts_without_end_keeps_nobody_waiting(pool: Pool, run_dir: Path) -> None:
    serve(pool)
    is_over, heard = threading.Event(), []

    def post_on(poster: Poster) -> None:
        while not is_over.is_set():
            poster.say_closely()
            poster.post()
            while poster.has_answer(0.001):
                heard.append(True)
                poster.say()
                poster.post()
            poster.say()
            assert poster.has_answer(TIMEOUT_S)

    with contextlib.closing(Poster(run_dir)) as poster, connect(run_dir).model("digits") as model:
        thread = threading.Thread(target=post_on, args=(poster,))
        thread.start()
        try:
            for turn in range(200):
                answer = model.infer(tensor_of(images_of(turn % 10)[0]), deadline_s=10)
                assert answer.label == str(turn % 10)
            wait_until(lambda: bool(heard), "the other one being heard, too")
        finally:
            is_over.set()
            thread.join(TIMEOUT_S)
    assert not thread.is_alive()
