from __future__ import annotations

import pytest

from contract.deployment import State
from server.rollout.gates import Verdict, judge_phase


@pytest.mark.parametrize(
    ("states", "verdict"),
    [
        ([], Verdict.PASSED),
        ([State.SUCCEEDED, State.SUCCEEDED], Verdict.PASSED),
        ([State.SUCCEEDED, None], Verdict.WAITING),
        ([State.SUCCEEDED, State.ROLLING_BACK], Verdict.WAITING),
        ([State.FAILED, None, State.SUCCEEDED], Verdict.FAILED),
    ],
)
def test_a_phase_passes_only_when_every_device_succeeded(
    states: list[State | None], verdict: Verdict
) -> None:
    assert judge_phase(states) is verdict
