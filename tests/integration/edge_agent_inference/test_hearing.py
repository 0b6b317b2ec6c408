"""Requests that a worker finds in shared memory before they are said; a real model, the test is the worker's thread."""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edge_agent.inference import protocol, serving
from edge_agent.inference.answering import ChangedError
from edge_agent.inference.area import Area
from edge_agent.inference.processors import usable_processors
from edge_agent.inference.protocol import Failure, Request, Result
from tests.support.hearing import SIDE, Client, Worker, a_model, listening
from tests.support.inference_slots import wait_until

LONG_AGO = 77
LAST = (1 << 32) - 1
TIMEOUT_S = 20.0


@pytest.fixture
def worker(run_dir: Path) -> Iterator[Worker]:
    worker = Worker(run_dir / "w")
    yield worker
    worker.close()


def a_client_that_was_answered(worker: Worker, sequence: int = 1, area: Area | None = None) -> Client:
    client = worker.let_in(area)
    client.put(0)
    client.say(Request(sequence))
    worker.look_at_sockets()
    assert client.answer().sequence == sequence
    return client


def test_a_posted_request_is_answered_once_before_it_is_said(worker: Worker) -> None:
    client = a_client_that_was_answered(worker)

    for sequence in range(2, 12):
        client.put(sequence % 10)
        client.notice.ask(sequence)
        assert worker.clients.hear()
        assert client.notice.is_of(sequence)
        assert client.notice.read() == client.hear()
        assert not worker.clients.hear()
        client.say(Request(sequence))
        worker.look_at_sockets()
        assert not client.hear()

    assert worker.counts.answered == 11
    assert worker.counts.take_window().requests == 11


def test_its_answer_is_the_one_to_what_was_posted(worker: Worker) -> None:
    client = a_client_that_was_answered(worker)
    outputs = [client.area.tensor(at) for at in worker.model.welcome.outputs]
    found = []
    for digit in range(10):
        client.put(digit)
        client.notice.ask(2 + digit)
        assert worker.clients.hear()
        found.append(outputs[0].tobytes())
        client.say(Request(2 + digit))
        worker.look_at_sockets()

    said = []
    for digit in range(10):
        client.put(digit)
        client.say(Request(20 + digit))
        worker.look_at_sockets()
        said.append(outputs[0].tobytes())

    assert found == said
    assert len(set(found)) == 10


def test_what_is_posted_and_said_is_answered_once_where_it_is_heard_at_the_socket_first(
    worker: Worker,
) -> None:
    client = a_client_that_was_answered(worker)

    client.notice.ask(2)
    client.say(Request(2))
    worker.look_at_sockets()

    assert client.answer().sequence == 2
    assert not worker.clients.hear()
    assert not client.hear()


def test_a_request_that_repeats_a_number_is_answered_where_it_is_said(worker: Worker) -> None:
    client = a_client_that_was_answered(worker)
    client.notice.ask(2)
    assert worker.clients.hear()
    assert client.answer().sequence == 2

    for _ in range(2):
        client.say(Request(2))  # the first one is the one that was answered
    worker.look_at_sockets()
    worker.look_at_sockets()

    assert client.answer().sequence == 2
    assert not client.hear()


def test_nothing_is_heard_of_a_client_before_its_first_answer(worker: Worker) -> None:
    client = worker.let_in()

    client.notice.ask(1)

    assert not worker.clients.hear()
    client.say(Request(1))
    worker.look_at_sockets()
    assert client.answer().sequence == 1
    assert not worker.clients.hear()


def test_what_a_worker_before_this_one_was_asked_is_not_asked_again(worker: Worker) -> None:
    before = worker.let_in()
    before.notice.ask(LONG_AGO)

    client = worker.let_in(before.area)
    client.put_image(3)
    client.say(Request(LONG_AGO + 1, SIDE, SIDE, 1))
    worker.look_at_sockets()
    assert client.answer().sequence == LONG_AGO + 1

    assert not worker.clients.hear()
    client.notice.ask(LONG_AGO + 2)
    assert worker.clients.hear()


def test_a_request_is_not_heard_before_the_frame_of_the_one_before_it_has_come(worker: Worker) -> None:
    client = a_client_that_was_answered(worker)
    client.put(2)
    client.notice.ask(2)
    assert worker.clients.hear()
    client.say(Request(2))  # after the worker has looked at the sockets, and before it looks in memory
    assert client.answer().sequence == 2

    client.put(3)
    client.notice.ask(3)
    assert not worker.clients.hear()

    worker.look_at_sockets()
    assert not client.hear()
    assert worker.clients.hear()
    assert client.answer().sequence == 3
    client.say(Request(3))
    worker.look_at_sockets()
    assert not client.hear(), "neither is answered twice"
    assert worker.counts.answered == 3


def test_what_is_said_alone_does_not_make_a_new_request_of_the_last_one_that_was_posted(
    worker: Worker,
) -> None:
    client = a_client_that_was_answered(worker)
    client.notice.ask(2)
    assert worker.clients.hear()
    client.say(Request(2))
    client.hear()

    client.say(Request(3))
    worker.look_at_sockets()
    worker.look_at_sockets()

    assert client.answer().sequence == 3
    assert not worker.clients.hear()
    assert not client.hear()


def test_a_request_that_was_said_is_not_heard_later_whatever_was_said_since(worker: Worker) -> None:
    client = a_client_that_was_answered(worker)
    client.notice.ask(2)
    for sequence in (2, 3):
        client.say(Request(sequence))
        worker.look_at_sockets()
        assert client.answer().sequence == sequence

    assert not worker.clients.hear()
    client.notice.ask(4)
    assert worker.clients.hear()


def test_sequences_that_begin_anew_are_heard(worker: Worker) -> None:
    client = a_client_that_was_answered(worker, LAST)
    for sequence in (1, 2):
        client.notice.ask(sequence)
        assert worker.clients.hear()
        assert client.answer().sequence == sequence
        client.say(Request(sequence))
        worker.look_at_sockets()


def test_an_image_does_not_make_a_new_request_of_the_last_one_that_was_posted(worker: Worker) -> None:
    client = a_client_that_was_answered(worker)
    client.notice.ask(2)
    assert worker.clients.hear()
    client.say(Request(2))
    client.hear()

    client.put_image(3)
    client.say(Request(3, SIDE, SIDE, 1))
    worker.look_at_sockets()
    worker.look_at_sockets()

    answer = client.answer()
    assert isinstance(answer, Result)
    assert (answer.sequence, answer.classes[0].label) == (3, "3")
    assert not worker.clients.hear()


def test_a_worker_that_drains_hears_nothing_in_memory(worker: Worker) -> None:
    client = a_client_that_was_answered(worker)
    worker.clients.drain()

    client.notice.ask(2)
    assert not worker.clients.hear()

    client.say(Request(2))
    worker.look_at_sockets()
    assert client.answer().is_draining
    client.notice.ask(3)  # to the next worker, in the same memory
    assert not worker.clients.hear()
    assert not client.notice.is_of(3)


def test_what_a_client_gets_wrong_is_told_at_the_socket(worker: Worker) -> None:
    client = a_client_that_was_answered(worker)

    client.input[...] = np.nan
    client.notice.ask(2)
    assert worker.clients.hear()

    answer = client.answer()
    assert isinstance(answer, Failure)
    assert (answer.code, answer.sequence) == ("input", 2)
    assert not client.notice.is_of(2)
    client.say(Request(2))
    worker.look_at_sockets()
    assert not client.hear()


def test_a_client_that_left_is_not_heard(worker: Worker) -> None:
    client = a_client_that_was_answered(worker)
    client.close()
    worker.look_at_sockets()

    client.notice.ask(2)

    assert not worker.clients.hear()
    assert not len(worker.clients)


def test_a_client_that_never_reads_is_dropped_and_heard_no_more(worker: Worker) -> None:
    client = a_client_that_was_answered(worker)
    sequence = 1

    while len(worker.clients):
        sequence += 1
        client.notice.ask(sequence)
        assert worker.clients.hear()
        with contextlib.suppress(BrokenPipeError):  # it was the last one
            client.say(Request(sequence))
        worker.look_at_sockets()

    client.notice.ask(sequence + 1)
    assert not worker.clients.hear()


def test_only_who_was_answered_last_is_heard(worker: Worker) -> None:
    one = a_client_that_was_answered(worker)
    other = a_client_that_was_answered(worker)

    one.notice.ask(2)
    assert not worker.clients.hear()
    other.notice.ask(2)
    assert worker.clients.hear()

    assert other.answer().sequence == 2
    assert not one.hear()


def test_a_client_that_takes_no_stored_values_is_heard_at_the_socket_alone(worker: Worker) -> None:
    client = worker.let_in(takes_stored=False)
    client.say(Request(1))
    worker.look_at_sockets()
    assert client.answer().sequence == 1

    client.notice.ask(2)

    assert not worker.clients.hear()


def test_a_model_that_is_another_one_by_now_ends_the_connection(worker: Worker) -> None:
    client = a_client_that_was_answered(worker)

    def change() -> None:
        raise ChangedError

    worker.model.meanwhile = change
    client.notice.ask(2)

    assert worker.clients.hear()
    assert not len(worker.clients)


@pytest.mark.skipif(usable_processors() < 2, reason="on one processor nobody stays awake")
def test_who_asks_at_the_socket_is_answered_however_many_requests_another_posts(run_dir: Path) -> None:
    model, numbers = a_model(), itertools.count(LONG_AGO)
    channel, own = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    loop = serving.Worker(channel, listening(run_dir / "w"), model)
    worker = threading.Thread(target=loop.run)
    greedy, other = Client(run_dir / "w", TIMEOUT_S), Client(run_dir / "w", TIMEOUT_S)
    answers = []

    def read_on() -> None:
        while answer := greedy.hear():
            answers.append(answer)

    reader = threading.Thread(target=read_on)
    worker.start()
    try:
        for client in (greedy, other):
            client.attach(model.welcome, None, takes_stored=True)
            assert protocol.parse_attached(client.hear()) is None
        reader.start()
        model.meanwhile = lambda: greedy.notice.ask(next(numbers))

        def is_awake() -> bool:
            for _ in range(3):  # so that they follow each other closely
                greedy.say(Request(next(numbers)))
            return len(answers) > LONG_AGO

        wait_until(is_awake, "many answers")
        for sequence in range(1, 4):
            other.say(Request(sequence))
            assert other.answer().sequence == sequence
    finally:
        model.meanwhile = bool
        own.close()
        worker.join(TIMEOUT_S)
        reader.join(TIMEOUT_S)
        for side in (greedy, other, channel):
            side.close()
    assert not worker.is_alive()
