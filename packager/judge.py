"""Measures every rung of a plan, tries to recover those that fail, and lets the gate decide.

Guarantees: a rung that fails is never shipped in that form; a recovered form passes the same gate on the same samples.
Bounded: at most ``Rules.recovery_trials`` trials a rung.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from contract.errors import ManifestError, RejectedError
from contract.profile import DelegateName, Precision
from packager.baseline import Baseline
from packager.bootstrap import SHOWN_CONFIDENCE, drop_interval
from packager.evaluate import Evaluation
from packager.gate import Measurement, Recovery, Reference, Verdict, decide_profile
from packager.plan import Plan, Rung
from packager.rules import Rules
from packager.selective import RECOVERABLE, next_floats
from packager.tasks.task import Task
from packager.workshop import Measured, Workshop

FLOAT_RUNG = Rung(Precision.FLOAT32, DelegateName.XNNPACK)


@dataclass(frozen=True)
class Judgement:
    """What was found.

    Attributes:
        reference: What variants were measured against.
        float_measured: The float model itself.
        verdicts: Profile id to the verdicts over its ladder.
    """

    reference: Reference
    float_measured: Measurement
    verdicts: dict[str, tuple[Verdict, ...]]


def judge(
    plan: Plan, workshop: Workshop, rules: Rules, baseline: Baseline | None, original: Workshop | None = None
) -> Judgement:
    """Measure and decide.

    Args:
        plan: What to make.
        workshop: Makes and measures.
        rules: What is asked for.
        baseline: The release not to fall behind; None for none.
        original: Has the float model that all is measured against; None where the workshop has it.

    Raises:
        ManifestError: The float model itself cannot be measured, or answers no numbers.
    """
    floating = measure_float(original or workshop)
    workshop.refer_to(floating.evaluation.scores)
    reference = make_reference(workshop.task, floating, rules, baseline)
    bench = _Bench(workshop, reference, floating.evaluation)
    measured = {rung.key: bench.measure(rung) for rung in _rungs(plan)}
    recovered = {
        rung.key: recovery
        for rung in _rungs(plan)
        if (recovery := bench.recover(rung, measured[rung.key])) is not None
    }
    return Judgement(
        reference=reference,
        float_measured=floating.measurement,
        verdicts={
            one.profile.id: decide_profile(one, measured, reference, recovered) for one in plan.profiles
        },
    )


def make_reference(task: Task, floating: Measured, rules: Rules, baseline: Baseline | None) -> Reference:
    """What variants are measured against.

    Args:
        task: Bound to the evaluation samples.
        floating: The float model on them.
        rules: What is asked for.
        baseline: The release not to fall behind; None for none.
    """
    return Reference(
        metric=task.metric,
        float_value=floating.measurement.value,
        float_bytes=floating.measurement.size_bytes,
        rules=rules,
        baseline_value=baseline.float_value if baseline else None,
        baseline_name=baseline.name if baseline else "",
        class_names=task.classes,
        float_classes=floating.measurement.classes,
    )


def _rungs(plan: Plan) -> list[Rung]:
    return [Rung(*key) for key in plan.measurements]


def measure_float(workshop: Workshop) -> Measured:
    """How the float model does.

    Raises:
        ManifestError: It cannot be measured, or answers no numbers.
    """
    found = workshop.measure(FLOAT_RUNG)
    if isinstance(found, str):
        raise ManifestError(f"the float model cannot be measured: {found}")
    useless = found.measurement.useless
    if useless:
        raise ManifestError(
            f"the float model answers NaN or infinity for {useless} of {found.measurement.samples} samples",
            remedy="look for overflow in the model, and for inputs outside the range that it was trained on",
        )
    return found


@dataclass(frozen=True)
class _Bench:
    """Measures rungs against one reference."""

    workshop: Workshop
    reference: Reference
    floating: Evaluation

    def measure(self, rung: Rung) -> Measurement | str:
        """What was measured, with the interval of its drop; or why there is nothing."""
        found = self.workshop.measure(rung)
        if isinstance(found, str):
            return found
        reference = self.reference
        # Of an earlier release only the value is known, not its score on each sample.
        against = reference.value if reference.is_baseline_higher else self.floating.scores
        confidence = reference.rules.confidence or SHOWN_CONFIDENCE
        interval = drop_interval(self.workshop.task, found.evaluation.scores, against, confidence)
        return dataclasses.replace(found.measurement, drop_interval=interval)

    def recover(self, rung: Rung, found: Measurement | str) -> Recovery | None:
        """Leave operators of a failing rung in float, the worst first, until it passes or nothing helps any more.

        Returns:
            None for a rung that passes, or that no recovery can help: the float model itself would not pass.
        """
        reference, trials = self.reference, self.reference.rules.recovery_trials
        if isinstance(found, str) or rung.precision not in RECOVERABLE or not trials:
            return None
        if not reference.accuracy_fault(found) or not reference.is_met(reference.float_value):
            return None
        best = _Trials()
        tried = rung
        for _ in range(trials):
            floats = self._next(tried)
            if not floats:
                break
            tried = dataclasses.replace(rung, floats=floats)
            measured = self.measure(tried)
            if isinstance(measured, str) or measured.size_bytes >= reference.float_bytes:
                break
            best = _Trials(best.count + 1, measured, len(floats))
            if not reference.accuracy_fault(measured):
                return Recovery(best.count, tried, measured, best.floats)
        return Recovery(best.count, None, best.measured, best.floats)

    def _next(self, rung: Rung) -> tuple[str, ...]:
        try:
            return next_floats(self.workshop.blame(rung).operators, set(rung.floats))
        except RejectedError as error:
            self.workshop.progress.tell(f"{rung.name} is not recovered: {error}")
            return ()


@dataclass(frozen=True)
class _Trials:
    count: int = 0
    measured: Measurement | None = None
    floats: int = 0
