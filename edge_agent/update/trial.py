"""Whether a new version passes its trial.

PURE. Rules:

1. A crash of its worker fails the trial at once.
2. Errors fail it only from MIN_ERRORS on and above MAX_ERROR_RATIO of the requests: one bad request out of one
   says nothing.
3. Time that passes without a request passes the trial: a board that nobody asks must not be stuck.
"""

from __future__ import annotations

from dataclasses import dataclass

from contract.deployment import Reason
from edge_agent.update.machine import DONE, Outcome, Trigger

MIN_ERRORS = 5
MAX_ERROR_RATIO = 0.05


@dataclass(frozen=True)
class Observation:
    """What was seen of a version since its trial began.

    Attributes:
        requests: Requests answered, errors included.
        errors: Requests answered with an error.
        crashes: How often its worker died.
        last_crash: How it died the last time, for people.
    """

    requests: int = 0
    errors: int = 0
    crashes: int = 0
    last_crash: str = ""


def judge_trial(seen: Observation, elapsed_s: float, trial_s: float) -> Outcome | None:
    """The trial's outcome; None while it goes on.

    Args:
        seen: Since the trial began.
        elapsed_s: How long that is, seconds.
        trial_s: Length of the trial, seconds.
    """
    if seen.crashes:
        return Outcome(Trigger.FAILED, Reason.TRIAL, f"its worker died: {seen.last_crash}")
    if seen.errors >= MIN_ERRORS and seen.errors > MAX_ERROR_RATIO * seen.requests:
        return Outcome(
            Trigger.FAILED, Reason.TRIAL, f"{seen.errors} of {seen.requests} requests ended in an error"
        )
    return DONE if elapsed_s >= trial_s else None
