"""In which order an answer in shared memory is written."""

from __future__ import annotations

import os
from typing import Any, cast

from edge_agent.inference.area import Area, create_area
from edge_agent.inference.notice import Notice
from edge_agent.inference.protocol import NOTICE_BYTES, NOTICE_WORDS_AT, RESULT_FIXED_BYTES

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
