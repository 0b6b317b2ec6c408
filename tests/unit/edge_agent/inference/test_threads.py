from __future__ import annotations

from itertools import product

import pytest

from edge_agent.inference.threads import (
    NEARLY,
    STILL_GOOD,
    Allotment,
    Tuning,
    WorkerSettings,
    allot_threads,
    choose_threads,
)

TUNED = WorkerSettings()


@pytest.mark.parametrize(
    ("budget", "processors", "choices"),
    [
        (1, 4, ()),
        (4, 1, ()),
        (2, 2, (1, 2)),
        (2, 8, (1, 2)),
        (3, 4, (1, 2, 3)),
        (4, 3, (1, 2, 3)),
        (8, 8, (1, 2, 8)),
    ],
)
def test_one_two_and_all_are_measured_within_the_budget_and_the_processors(
    budget: int, processors: int, choices: tuple[int, ...]
) -> None:
    assert allot_threads(TUNED, budget=budget, processors=processors) == Allotment(
        min(budget, processors), choices
    )


def test_what_is_known_is_not_measured_again() -> None:
    assert allot_threads(TUNED, budget=4, processors=4, known=2) == Allotment(2)
    assert allot_threads(TUNED, budget=4, processors=1, known=2) == Allotment(1)


def test_a_fixed_number_stands_and_is_not_measured() -> None:
    fixed = WorkerSettings(threads=6)
    assert allot_threads(fixed, budget=2, processors=2, known=1) == Allotment(6)


def test_a_cap_holds_for_every_number_and_stops_measuring() -> None:
    for settings, known, cap in product((TUNED, WorkerSettings(threads=3)), (0, 1, 4), (1, 2, 9)):
        free = allot_threads(settings, budget=4, processors=4, known=known)
        capped = allot_threads(settings, budget=4, processors=4, known=known, cap=cap)
        assert capped == Allotment(min(free.threads, cap))


def test_there_is_always_one_thread() -> None:
    assert allot_threads(TUNED, budget=1, processors=0) == Allotment(1)


@pytest.mark.parametrize(
    ("seconds", "chosen"),
    [
        ({1: 1.0, 2: 0.6, 4: 0.4}, 4),
        ({1: 1.0, 2: 0.5, 4: 0.5 / NEARLY}, 2),
        ({1: NEARLY, 2: 1.0, 4: 1.0}, 1),
        ({1: 0.5, 2: 0.6, 4: 3.0}, 1),
        ({1: 1.0, 2: 0.5, 4: 9.0}, 2),
    ],
)
def test_the_smallest_number_that_is_nearly_the_best_wins(seconds: dict[int, float], chosen: int) -> None:
    assert choose_threads(seconds, Tuning(choices=(1, 2, 4), seconds=1.0)) == chosen


def test_the_number_of_the_version_before_stays_unless_it_is_clearly_worse() -> None:
    tuning = Tuning(choices=(1, 2, 4), seconds=1.0, before=2)
    assert choose_threads({1: 1.0, 2: STILL_GOOD, 4: 1.0}, tuning) == 2
    assert choose_threads({1: 1.0, 2: STILL_GOOD + 0.01, 4: 1.0}, tuning) == 1


def test_a_number_that_is_no_choice_any_more_says_nothing() -> None:
    tuning = Tuning(choices=(1, 2), seconds=1.0, before=4)
    assert choose_threads({1: 1.0, 2: 1.0}, tuning) == 1


@pytest.mark.parametrize("seconds", [{}, {1: 1.0}, {1: 1.0, 2: 0.1}, {1: 1.0, 2: 0.0, 4: 1.0}])
def test_where_time_ran_out_it_is_as_many_as_there_are(seconds: dict[int, float]) -> None:
    assert choose_threads(seconds, Tuning(choices=(1, 2, 4), seconds=1.0)) == 4
