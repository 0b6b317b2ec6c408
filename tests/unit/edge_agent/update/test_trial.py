from __future__ import annotations

import pytest

from contract.deployment import Reason
from edge_agent.update.machine import DONE, Outcome, Trigger
from edge_agent.update.trial import Observation, judge_trial


def test_a_trial_without_trouble_passes_when_its_time_is_over() -> None:
    assert judge_trial(Observation(requests=10), 4.9, 5.0) is None
    assert judge_trial(Observation(requests=10), 5.0, 5.0) == DONE


def test_a_trial_of_no_length_passes_at_once_and_without_a_request() -> None:
    assert judge_trial(Observation(), 0.0, 0.0) == DONE


def test_a_crash_fails_it_at_once() -> None:
    seen = Observation(requests=1000, crashes=1, last_crash="SIGSEGV")
    assert judge_trial(seen, 0.1, 5.0) == Outcome(Trigger.FAILED, Reason.TRIAL, "its worker died: SIGSEGV")


@pytest.mark.parametrize(
    ("requests", "errors", "fails"),
    [(1, 1, False), (4, 4, False), (5, 5, True), (100, 5, False), (99, 5, True), (1000, 50, False)],
)
def test_errors_fail_it_only_when_they_are_several_and_many(requests: int, errors: int, fails: bool) -> None:  # noqa: FBT001 - a table's column
    outcome = judge_trial(Observation(requests=requests, errors=errors), 1.0, 5.0)
    assert (outcome is not None) == fails
    if outcome is not None:
        assert outcome.reason is Reason.TRIAL
