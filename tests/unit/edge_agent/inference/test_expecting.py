"""When an application sleeps for an answer, and how long it looks for it awake."""

from __future__ import annotations

import pytest

from edge_agent.inference.expecting import AWAKE_S, Expectation

LEAD_S = 250e-6
MARGIN_S = 50e-6


def knowing(*took_s: float) -> Expectation:
    expectation = Expectation()
    for each in took_s:
        expectation.note(each)
    return expectation


def after(*took_s: float) -> float | None:
    return knowing(*took_s).asleep_s()


def end_s(*took_s: float) -> float:
    """From the request until it sleeps again."""
    expectation = knowing(*took_s)
    asleep_s = expectation.asleep_s()
    assert asleep_s is not None
    return asleep_s + expectation.awake_s()


def test_the_first_answer_is_slept_for() -> None:
    assert after() is None
    assert Expectation().awake_s() == AWAKE_S


def test_an_answer_that_comes_at_once_is_waited_for_awake() -> None:
    assert after(90e-6) == 0.0
    assert end_s(90e-6) == AWAKE_S


def test_an_answer_of_milliseconds_is_slept_for_until_shortly_before_it_comes() -> None:
    asleep_s = after(4.5e-3)

    assert asleep_s == pytest.approx(4.5e-3 - LEAD_S)
    assert end_s(4.5e-3) == pytest.approx(4.5e-3 - LEAD_S + AWAKE_S)


def test_the_fastest_of_the_last_few_answers_is_expected() -> None:
    assert after(4.5e-3, 4.4e-3, 6e-3, 9e-3) == after(4.4e-3)


def test_a_model_that_became_slower_is_expected_later_after_a_few_answers() -> None:
    assert after(1e-3, 5e-3, 5e-3, 5e-3, 5e-3) == after(5e-3)


def test_where_answers_vary_it_stays_awake_for_the_slowest_of_sixteen() -> None:
    calm = [4.5e-3] * 15

    assert end_s(5.5e-3, *calm) == pytest.approx(5.5e-3 + MARGIN_S)
    assert end_s(5.5e-3, *calm, 4.5e-3) == end_s(4.5e-3)


@pytest.mark.parametrize(("fast_s", "slow_s"), [(4.5e-3, 19e-3), (90e-6, 50e-3)])
def test_it_does_not_stay_awake_for_more_than_a_third_of_the_expected_time(
    fast_s: float, slow_s: float
) -> None:
    assert end_s(slow_s, fast_s) == pytest.approx(max(fast_s * 4 / 3, AWAKE_S))


def test_it_does_not_stay_awake_for_more_than_two_milliseconds() -> None:
    assert end_s(50e-3, 15e-3) == pytest.approx(17e-3)


@pytest.mark.parametrize("took_s", [20e-3, 5.0])
def test_an_answer_that_takes_long_is_slept_for(took_s: float) -> None:
    assert after(took_s) is None


def woken_late(*late_s: float) -> float:
    """How much earlier sleep ends than without knowing this."""
    expectation = knowing(5e-3)
    before = expectation.asleep_s()
    for each in late_s:
        expectation.note_late(each)
    after_s = expectation.asleep_s()
    assert before is not None
    assert after_s is not None
    return before - after_s


def test_who_wakes_up_late_sleeps_shorter() -> None:
    assert woken_late(*[300e-6] * 8) == pytest.approx(200e-6)
    assert woken_late(*[300e-6] * 8, *[150e-6] * 8) == pytest.approx(50e-6)


def test_a_few_times_late_are_no_habit() -> None:
    assert woken_late(*[300e-6] * 7) == 0.0
    assert woken_late(*[90e-6] * 6, 4e-3, 4e-3) == 0.0
    assert woken_late(*[90e-6] * 5, 200e-6, 4e-3, 4e-3) == pytest.approx(100e-6)


def test_whoever_wakes_up_very_late_does_not_give_up_sleep() -> None:
    assert woken_late(*[10e-3] * 8) == pytest.approx(500e-6)


def test_who_wakes_up_in_time_sleeps_as_before() -> None:
    assert woken_late(*[0.0] * 8) == 0.0
