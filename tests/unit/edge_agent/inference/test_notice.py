"""What is written where, and in which order, of requests and answers in shared memory."""

from __future__ import annotations

import os
from typing import Any, cast

from edge_agent.inference.area import Area, create_area
from edge_agent.inference.notice import Notice
from edge_agent.inference.protocol import NOTICE_ASKED_AT, NOTICE_BYTES, NOTICE_WORDS_AT, RESULT_FIXED_BYTES

WORDS = bytes(range(RESULT_FIXED_BYTES))


class Recorder:
    """Memory that remembers what was written where, in order."""

    def __init__(self) -> None:
        self.written: list[tuple[int, Any]] = []
        self._offset = 0

    def part(self, offset: int, count: int) -> Recorder:
        del count
        other = Recorder()
        other.written, other._offset = self.written, offset
        return other

    def cast(self, kind: str) -> Recorder:
        assert kind == "I"
        return self

    def __setitem__(self, place: object, value: Any) -> None:
        del place
        self.written.append((self._offset, value))


def test_the_words_are_written_before_the_number_that_says_they_are_there() -> None:
    memory = Recorder()

    Notice(cast("Area", memory), 64).post(7, WORDS)

    assert memory.written == [(64 + NOTICE_WORDS_AT, WORDS), (64, 7)]


def test_one_side_finds_what_the_other_posts_and_nothing_beside_it_changes() -> None:
    area, descriptor = create_area(3 * NOTICE_BYTES)
    os.close(descriptor)
    worker, application = Notice(area, NOTICE_BYTES), Notice(area, NOTICE_BYTES)
    assert not application.is_of(1)

    worker.post(1, WORDS)

    assert application.is_of(1)
    assert not application.is_of(2)
    assert application.read() == WORDS
    assert not any(area.take(0, NOTICE_BYTES) + area.take(2 * NOTICE_BYTES, NOTICE_BYTES))


def test_numbers_go_up_to_four_bytes() -> None:
    area, descriptor = create_area(NOTICE_BYTES)
    os.close(descriptor)
    notice = Notice(area, 0)

    notice.post((1 << 32) - 1, WORDS)

    assert notice.is_of((1 << 32) - 1)


def test_a_request_is_taken_once() -> None:
    area, descriptor = create_area(3 * NOTICE_BYTES)
    os.close(descriptor)
    worker, application = Notice(area, NOTICE_BYTES), Notice(area, NOTICE_BYTES)
    assert worker.take(0) == 0
    assert worker.take(9) == 0

    for sequence in (1, 2, (1 << 32) - 1, 1):
        application.ask(sequence)
        assert worker.take(0) == sequence
        assert worker.take(sequence) == 0

    assert not any(area.take(0, NOTICE_BYTES) + area.take(2 * NOTICE_BYTES, NOTICE_BYTES))


def test_requests_and_answers_do_not_touch_each_other() -> None:
    area, descriptor = create_area(NOTICE_BYTES)
    os.close(descriptor)
    notice = Notice(area, 0)

    notice.ask((1 << 32) - 1)
    assert area.take(NOTICE_ASKED_AT, 4) == b"\xff" * 4
    notice.post(7, WORDS)

    assert notice.take(0) == (1 << 32) - 1
    assert notice.is_of(7)
    assert notice.read() == WORDS
