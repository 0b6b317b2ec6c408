from __future__ import annotations

import pytest

from edge_agent.inference.expecting import AWAKE_S, Expectation


def after(*took_s: float) -> float | None:
    expectation = Expectation()
    for each in took_s:
        expectation.note(each)
    return expectation.asleep_s()


def test_the_first_answer_is_slept_for() -> None:
    assert after() is None


def test_an_answer_that_comes_at_once_is_waited_for_awake() -> None:
    assert after(90e-6) == 0.0


def test_an_answer_of_milliseconds_is_slept_for_until_shortly_before_it_comes() -> None:
    asleep_s = after(4.5e-3)

    assert asleep_s is not None
    assert 4.2e-3 < asleep_s < 4.5e-3 < asleep_s + AWAKE_S


def test_the_fastest_of_the_last_few_answers_is_expected() -> None:
    assert after(4.5e-3, 4.4e-3, 6e-3, 9e-3) == after(4.4e-3)


def test_a_model_that_became_slower_is_expected_later_after_a_few_answers() -> None:
    assert after(1e-3, 5e-3, 5e-3, 5e-3, 5e-3) == after(5e-3)


@pytest.mark.parametrize("took_s", [20e-3, 5.0])
def test_an_answer_that_takes_long_is_slept_for(took_s: float) -> None:
    assert after(took_s) is None
