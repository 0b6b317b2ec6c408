"""The conditions between phases.

PURE. Rules:

1. A phase passes when every one of its devices succeeded; a phase without devices passes at once.
2. One failure fails it, whatever else is still going on.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable

from contract.deployment import State


class Verdict(enum.Enum):
    """What is known of a phase."""

    WAITING = "waiting"
    PASSED = "passed"
    FAILED = "failed"


def judge_phase(states: Iterable[State | None]) -> Verdict:
    """Judge a phase by the states of its deployments; None for one that was not assigned yet."""
    found = set(states)
    if State.FAILED in found:
        return Verdict.FAILED
    return Verdict.PASSED if found <= {State.SUCCEEDED} else Verdict.WAITING
