"""Which rungs may ship.

PURE. Rules:

1. drop = reference - value must not be above ``max_drop``. The reference is the float model's value, or the
   baseline release's float value where that is higher: a worse model does not pass by being measured against itself.
2. The measured drop decides. Where a confidence is asked for, the upper end of the drop's bootstrap interval decides:
   then a variant must be shown to be good, and few samples refuse it.
3. Where class rules are set they hold for every class that has a sample; per class the reference is the float model.
4. A variant that answers NaN or an infinity for any sample is refused, however high its metric.
5. A rung must fit the profile's budgets: its memory, and the bundle's size with the rungs before it.
6. A quantized rung that is not smaller than the float model is refused: nothing in it was quantized.
7. A rung that fails by rules 1 to 4 is followed by its recovered form, if there is one, which is judged alike.
8. Every rung gets a verdict with its reason. A profile for which none passes stops the whole release.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from contract.profile import DelegateName, Precision
from packager.plan import ProfilePlan, Rung
from packager.rules import Rules

_ROUNDING = 1e-9  # ratios of counts up to 100,000 differ by 1e-5 at least; this only takes up binary rounding
_CLASSES_SHOWN = 3


class Outcome(enum.Enum):
    """What becomes of a rung."""

    SHIPPED = "shipped"
    REFUSED = "refused"
    UNAVAILABLE = "not available"


@dataclass(frozen=True)
class Measurement:
    """What was measured of a variant on a delegate.

    Attributes:
        size_bytes: Of the model file.
        value: The task's metric, 0 to 1.
        samples: Over how many samples.
        peak_memory_bytes: Estimate for one interpreter.
        latency_ms_p50: Median on this machine, one thread.
        classes: The metric of each class, in the reference's order; NaN for a class without samples.
        drop_interval: Bootstrap interval of the drop, two-sided; None where it was not computed.
        useless: For how many samples the output held NaN or an infinity.
    """

    size_bytes: int
    value: float
    samples: int
    peak_memory_bytes: int
    latency_ms_p50: float
    classes: tuple[float, ...] = ()
    drop_interval: tuple[float, float] | None = None
    useless: int = 0


@dataclass(frozen=True)
class Reference:
    """What variants are measured against.

    Attributes:
        metric: The task's.
        float_value: The float model's, 0 to 1.
        float_bytes: Its file's size.
        rules: What is asked for.
        baseline_value: The earlier release's float value; None without a baseline.
        baseline_name: How to call it.
        class_names: Of the task; empty where it has none.
        float_classes: The float model's metric of each class; NaN for a class without samples.
    """

    metric: str
    float_value: float
    float_bytes: int
    rules: Rules = field(default_factory=Rules)
    baseline_value: float | None = None
    baseline_name: str = ""
    class_names: tuple[str, ...] = ()
    float_classes: tuple[float, ...] = ()

    @property
    def is_baseline_higher(self) -> bool:
        """Whether the earlier release sets the reference."""
        return self.baseline_value is not None and self.baseline_value > self.float_value

    @property
    def value(self) -> float:
        """The higher of the two."""
        return max(self.float_value, self.baseline_value or 0.0)

    @property
    def allowed(self) -> float:
        """How far below the reference a value may be."""
        return self.rules.max_drop.of(self.value)

    @property
    def limit(self) -> float:
        """The lowest value that passes."""
        return self.value - self.allowed

    def is_met(self, value: float) -> bool:
        """Whether a value passes; the limit itself does."""
        return self.value - value <= self.allowed + _ROUNDING

    def describe(self) -> str:
        """The limit and where it comes from, in words."""
        origin = self.baseline_name if self.is_baseline_higher else "the float model"
        return f"{self.limit:.4f} ({self.value:.4f} of {origin} less {self.rules.max_drop})"

    def accuracy_fault(self, found: Measurement) -> str:
        """What rules 1 to 4 say against a variant; empty when they are fulfilled."""
        if found.useless:
            return f"answers NaN or infinity for {found.useless} of {found.samples} samples"
        if not self.is_met(found.value):
            return f"{self.metric} {found.value:.4f} is below {self.limit:.4f}"
        if self.rules.confidence is not None and found.drop_interval is not None:
            upper = found.drop_interval[1]
            if upper > self.allowed + _ROUNDING:
                return (
                    f"the drop is up to {upper:.4f} with {self.rules.confidence:g} confidence, "
                    f"{self.allowed:.4f} is allowed"
                )
        faults = list(self._class_faults(found))
        if not faults:
            return ""
        more = f" and {len(faults) - _CLASSES_SHOWN} classes more" if len(faults) > _CLASSES_SHOWN else ""
        return ", ".join(faults[:_CLASSES_SHOWN]) + more

    def _class_faults(self, found: Measurement) -> Iterator[str]:
        rules = self.rules
        for name, value, before in zip(self.class_names, found.classes, self.float_classes, strict=True):
            if math.isnan(value):
                continue
            if rules.class_floor is not None and value < rules.class_floor - _ROUNDING:
                yield f"class {name}: {self.metric} {value:.4f} is below {rules.class_floor:.4f}"
            elif rules.max_class_drop is not None:
                allowed = rules.max_class_drop.of(before)
                if before - value > allowed + _ROUNDING:
                    yield (
                        f"class {name}: {self.metric} {value:.4f} is below "
                        f"{before - allowed:.4f} ({before:.4f} less {rules.max_class_drop})"
                    )


@dataclass(frozen=True)
class Recovery:
    """What came of leaving operators of a rung in float.

    Attributes:
        trials: How many were made.
        rung: The one that passes; None when none did.
        measured: What was measured of it, or of the last trial; None when there was no trial.
        floats: How many operators the last trial left in float.
    """

    trials: int
    rung: Rung | None
    measured: Measurement | None
    floats: int


@dataclass(frozen=True)
class Verdict:
    """What becomes of one rung of one profile, and why.

    Attributes:
        profile: Profile id.
        rung: Which one.
        outcome: What becomes of it.
        reason: Why it does not ship; empty when it does.
        measured: None for a rung that could not be made.
        plain: Of a recovered rung, what was measured of the rung before; None for others.
    """

    profile: str
    rung: Rung
    outcome: Outcome
    reason: str
    measured: Measurement | None
    plain: Measurement | None = None


Key = tuple[Precision, DelegateName]
Measured = Mapping[Key, Measurement | str]
"""Per precision and delegate: what was measured, or why it could not be made."""


def decide_profile(
    plan: ProfilePlan,
    measured: Measured,
    reference: Reference,
    recovered: Mapping[Key, Recovery] | None = None,
) -> tuple[Verdict, ...]:
    """Judge every rung of a profile, in the ladder's order, each followed by its recovered form."""
    verdicts: list[Verdict] = []
    taken_bytes = 0
    for rung in plan.rungs:
        found = rung.unavailable or measured[rung.key]
        if isinstance(found, str):
            verdicts.append(Verdict(plan.profile.id, rung, Outcome.UNAVAILABLE, found, None))
            continue
        recovery = (recovered or {}).get(rung.key)
        candidates: list[tuple[Rung, Measurement, Measurement | None]] = [(rung, found, None)]
        if recovery is not None and recovery.rung is not None and recovery.measured is not None:
            candidates.append((recovery.rung, recovery.measured, found))
        for candidate, one, plain in candidates:
            reason = _refusal(plan, candidate, one, reference, taken_bytes)
            taken_bytes += 0 if reason else one.size_bytes
            if recovery is not None and recovery.rung is None and reason:
                reason += _vain(recovery)
            outcome = Outcome.REFUSED if reason else Outcome.SHIPPED
            verdicts.append(Verdict(plan.profile.id, candidate, outcome, reason, one, plain))
    return tuple(verdicts)


def _vain(recovery: Recovery) -> str:
    if recovery.measured is None:
        return "; no operator stands out that could be left in float"
    return (
        f"; still {recovery.measured.value:.4f} with {recovery.floats} operators in float, "
        f"after {recovery.trials} trials"
    )


def _refusal(
    plan: ProfilePlan, rung: Rung, found: Measurement, reference: Reference, taken_bytes: int
) -> str:
    budgets = plan.profile.budgets
    fault = reference.accuracy_fault(found)
    if fault:
        return fault
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
    measured = [(row.measured.value, row.rung.name) for row in verdicts if row.measured]
    if measured and not reference.is_met(max(measured)[0]):
        value, name = max(measured)
        return f"best {reference.metric} is {value:.4f} ({name}), at least {reference.describe()} is needed"
    return ", ".join(f"{row.rung.name} {row.reason}" for row in verdicts)
