"""Which rungs may ship.

PURE. Rules:

1. drop = reference - value must not be above ``max_drop``. The reference is the float model's value, or the
   baseline release's float value where that is higher: a worse model does not pass by being measured against itself.
2. A rung must fit the profile's budgets: its memory, and the bundle's size with the rungs before it.
3. A quantized rung that is not smaller than the float model is refused: nothing in it was quantized.
4. Every rung gets a verdict with its reason. A profile for which none passes stops the whole release.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from contract.profile import DelegateName, Precision
from packager.plan import ProfilePlan, Rung

METRIC = "accuracy"
_ROUNDING = 1e-9  # ratios of counts up to 100,000 differ by 1e-5 at least; this only takes up binary rounding


class Outcome(enum.Enum):
    """What becomes of a rung."""

    SHIPPED = "shipped"
    REFUSED = "refused"
    UNAVAILABLE = "not available"


@dataclass(frozen=True)
class Measurement:
    """What was measured of a precision on a delegate.

    Attributes:
        size_bytes: Of the model file.
        value: Accuracy, 0 to 1.
        samples: Over how many images.
        peak_memory_bytes: Estimate for one interpreter.
        latency_ms_p50: Median on this machine, one thread.
    """

    size_bytes: int
    value: float
    samples: int
    peak_memory_bytes: int
    latency_ms_p50: float


@dataclass(frozen=True)
class Reference:
    """What variants are measured against.

    Attributes:
        float_value: The float model's accuracy, 0 to 1.
        float_bytes: Its file's size.
        max_drop: How far below the reference a variant may be, 0 to 1.
        baseline_value: The earlier release's float accuracy; None without a baseline.
        baseline_name: How to call it.
    """

    float_value: float
    float_bytes: int
    max_drop: float
    baseline_value: float | None = None
    baseline_name: str = ""

    @property
    def value(self) -> float:
        """The higher of the two."""
        return max(self.float_value, self.baseline_value or 0.0)

    @property
    def limit(self) -> float:
        """The lowest value that passes."""
        return self.value - self.max_drop

    def is_met(self, value: float) -> bool:
        """Whether a value passes; the limit itself does."""
        return self.value - value <= self.max_drop + _ROUNDING

    def describe(self) -> str:
        """The limit and where it comes from, in words."""
        is_baseline = self.baseline_value is not None and self.baseline_value > self.float_value
        origin = self.baseline_name if is_baseline else "the float model"
        return f"{self.limit:.4f} ({self.value:.4f} of {origin} less {self.max_drop:g})"


@dataclass(frozen=True)
class Verdict:
    """What becomes of one rung of one profile, and why; ``measured`` is None for a rung that could not be made."""

    profile: str
    rung: Rung
    outcome: Outcome
    reason: str
    measured: Measurement | None


Measured = Mapping[tuple[Precision, DelegateName], Measurement | str]
"""Per precision and delegate: what was measured, or why it could not be made."""


def decide_profile(plan: ProfilePlan, measured: Measured, reference: Reference) -> tuple[Verdict, ...]:
    """Judge every rung of a profile, in the ladder's order."""
    verdicts: list[Verdict] = []
    taken_bytes = 0
    for rung in plan.rungs:
        found = rung.unavailable or measured[rung.key]
        if isinstance(found, str):
            verdicts.append(Verdict(plan.profile.id, rung, Outcome.UNAVAILABLE, found, None))
            continue
        reason = _refusal(plan, rung, found, reference, taken_bytes)
        outcome = Outcome.REFUSED if reason else Outcome.SHIPPED
        taken_bytes += 0 if reason else found.size_bytes
        verdicts.append(Verdict(plan.profile.id, rung, outcome, reason, found))
    return tuple(verdicts)


def _refusal(
    plan: ProfilePlan, rung: Rung, found: Measurement, reference: Reference, taken_bytes: int
) -> str:
    budgets = plan.profile.budgets
    if not reference.is_met(found.value):
        return f"{METRIC} {found.value:.4f} is below {reference.limit:.4f}"
    if rung.precision is not Precision.FLOAT32 and found.size_bytes >= reference.float_bytes:
        return "not smaller than the float model: nothing in it could be quantized"
    if found.peak_memory_bytes > budgets.peak_memory_bytes:
        return f"takes {found.peak_memory_bytes} bytes of memory, the budget is {budgets.peak_memory_bytes}"
    if taken_bytes + found.size_bytes > budgets.bundle_bytes:
        return (
            f"makes the bundle {taken_bytes + found.size_bytes} bytes, the budget is {budgets.bundle_bytes}"
        )
    return ""


def gate_faults(verdicts: Mapping[str, tuple[Verdict, ...]], reference: Reference) -> list[str]:
    """One line per profile that no rung passes for; empty when the release may ship.

    Args:
        verdicts: Profile id to the verdicts over its ladder.
        reference: What they were measured against.
    """
    return [
        f"{profile}: {_why_none(rows, reference)}"
        for profile, rows in verdicts.items()
        if not any(verdict.outcome is Outcome.SHIPPED for verdict in rows)
    ]


def _why_none(verdicts: tuple[Verdict, ...], reference: Reference) -> str:
    measured = [(row.measured.value, row.rung.precision.value) for row in verdicts if row.measured]
    if measured and not reference.is_met(max(measured)[0]):
        value, precision = max(measured)
        return f"best {METRIC} is {value:.4f} ({precision}), at least {reference.describe()} is needed"
    return ", ".join(f"{row.rung.precision.value} {row.reason}" for row in verdicts)
