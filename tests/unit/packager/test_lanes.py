"""Work in lanes: order, errors, bounded look-ahead."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from packager.lanes import MOST, lane_count, work_in_lanes

TIMEOUT_S = 10.0


class Doubler:
    """Doubles, and notices when two threads use it at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def double(self, item: int) -> int:
        """Twice the item; negative ones are refused."""
        assert self._lock.acquire(blocking=False), "two threads use one worker"
        try:
            if item < 0:
                raise ValueError(item)
            return 2 * item
        finally:
            self._lock.release()


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_answers_come_in_the_order_of_the_items(workers: int) -> None:
    doublers = [Doubler() for _ in range(workers)]
    assert list(work_in_lanes(doublers, Doubler.double, range(100))) == [2 * item for item in range(100)]


def test_a_slow_first_item_holds_later_answers_back() -> None:
    second_is_done = threading.Event()

    def work(_: int, item: int) -> int:
        if item == 0:
            assert second_is_done.wait(TIMEOUT_S)
        if item == 1:
            second_is_done.set()
        return item

    assert list(work_in_lanes([1, 2], work, range(6))) == list(range(6))


@pytest.mark.parametrize("workers", [1, 3])
def test_an_error_comes_where_its_answer_would_have_come(workers: int) -> None:
    answers = work_in_lanes([Doubler() for _ in range(workers)], Doubler.double, [1, 2, -3, 4])
    assert [next(answers), next(answers)] == [2, 4]
    with pytest.raises(ValueError, match="-3"):
        next(answers)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("lane")]


def test_items_are_taken_only_a_little_ahead() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for item in range(1000):
            taken.append(item)
            yield item

    answers = work_in_lanes([Doubler(), Doubler()], Doubler.double, items())
    assert next(answers) == 0
    assert len(taken) == 3
    answers.close()  # type: ignore[attr-defined]  # a generator, said to be an iterator
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("lane")]


def test_no_items_give_no_answers() -> None:
    assert list(work_in_lanes([Doubler(), Doubler()], Doubler.double, [])) == []


def test_there_are_never_more_lanes_than_items_or_less_than_one() -> None:
    assert lane_count(0) == 1
    assert lane_count(1) == 1
    assert 1 <= lane_count(1000) <= MOST
