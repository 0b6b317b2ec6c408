"""What a pack run would do, and why: the answer of ``pack --dry-run``.

PURE. Rules:

1. It says what will be tried and in which order; what passes is known only after measuring.
2. Every rung has a reason: what it is for, or why it cannot be made for the profile.
"""

from __future__ import annotations

import msgspec

from contract.profile import DelegateName, Precision, Profile
from packager.app import Preparation
from packager.cost import cost_of
from packager.plan import MIN_TFLITE, ProfilePlan, Rung
from packager.rules import Rules
from packager.selective import RECOVERABLE

PURPOSE: dict[Precision, str] = {
    Precision.STATIC_INT8: "integers throughout, smallest and fastest; learns ranges from the calibration samples",
    Precision.STATIC_INT16: "int16 activations for models that int8 ones spoil; XNNPACK has no kernels, so it is slow",
    Precision.DYNAMIC_INT8: "int8 weights, activations quantized anew in each run; needs no calibration",
    Precision.WEIGHT_ONLY_INT8: "int8 weights, calculates in float: small, no faster than float",
    Precision.WEIGHT_ONLY_INT4: "int4 weights, calculates in float: smallest download, no faster than float",
    Precision.FLOAT16: "half the size, the float model's accuracy and speed",
    Precision.FLOAT32: "the model itself, when nothing smaller passes or for boards that run nothing else",
}
"""Why one would want a precision. Bits and kernels: https://ai.google.dev/edge/litert/models/post_training_quantization;
int16 activations without XNNPACK: own measurement (plan, rule 3)."""


class RungPreview(msgspec.Struct, frozen=True, kw_only=True):
    """A rung that will be tried, or not.

    Attributes:
        variant: Its name.
        delegate: What it is measured on.
        is_made: Whether it will be made.
        reason: What it is for; or why it is not made.
        min_tflite: Lowest runtime that runs it right.
        is_recoverable: Whether operators may be left in float when it fails the gate.
        cost: What it costs on the board.
    """

    variant: str
    delegate: str
    is_made: bool
    reason: str
    min_tflite: str
    is_recoverable: bool
    cost: str


class ProfilePreview(msgspec.Struct, frozen=True, kw_only=True):
    """A profile's ladder in order, and its budgets.

    Attributes:
        profile: Profile id.
        rungs: In the ladder's order, which is the order of preference on the device.
        peak_memory_bytes: What an interpreter may take.
        bundle_bytes: How large the bundle may be.
    """

    profile: str
    rungs: tuple[RungPreview, ...]
    peak_memory_bytes: int
    bundle_bytes: int


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    """The whole plan.

    Attributes:
        model: The source's name.
        metric: What is measured.
        samples: Over how many evaluation samples.
        calibration_samples: How many samples ranges are learnt from.
        rules: The gate, a sentence a rule.
        work: What is made and measured once for all profiles, in order.
        profiles: In the order asked for.
        warnings: What should be looked at.
    """

    model: str
    metric: str
    samples: int
    calibration_samples: int
    rules: tuple[str, ...]
    work: tuple[str, ...]
    profiles: tuple[ProfilePreview, ...]
    warnings: tuple[str, ...]


def preview(preparation: Preparation, rules: Rules) -> Preview:
    """Put a plan into words.

    Args:
        preparation: What is known before anything is made.
        rules: What a variant must fulfil.
    """
    material, plan = preparation.material, preparation.plan
    return Preview(
        model=material.model.name,
        metric=material.task.metric,
        samples=len(material.task),
        calibration_samples=len(material.calibration) if material.calibration else 0,
        rules=tuple(rule_texts(rules, material.task.metric)),
        work=tuple(
            f"{precision.value} on {'XNNPACK' if delegate is DelegateName.XNNPACK else 'plain kernels'}"
            for precision, delegate in plan.measurements
        ),
        profiles=tuple(_profile(one, rules) for one in plan.profiles),
        warnings=preparation.warnings,
    )


def rule_texts(rules: Rules, metric: str) -> list[str]:
    """The gate's rules, a sentence each."""
    texts = [
        f"{metric} may drop by {rules.max_drop} at most below the float model, or the baseline where it is higher"
    ]
    if rules.confidence is not None:
        texts.append(
            f"that must hold for the upper end of the {rules.confidence:g} bootstrap interval of the drop"
        )
    if rules.max_class_drop is not None:
        texts.append(f"no class may drop by more than {rules.max_class_drop} below the float model")
    if rules.class_floor is not None:
        texts.append(f"every class must reach {rules.class_floor:g}")
    texts.append(f"at least {rules.min_samples} evaluation samples")
    if rules.recovery_trials:
        texts.append(
            f"a rung that fails gets {rules.recovery_trials} trials with its worst operators in float"
        )
    return texts


def _profile(plan: ProfilePlan, rules: Rules) -> ProfilePreview:
    return ProfilePreview(
        profile=plan.profile.id,
        rungs=tuple(_rung(plan.profile, rung, rules) for rung in plan.rungs),
        peak_memory_bytes=plan.profile.budgets.peak_memory_bytes,
        bundle_bytes=plan.profile.budgets.bundle_bytes,
    )


def _rung(profile: Profile, rung: Rung, rules: Rules) -> RungPreview:
    cost = cost_of(profile, rung.precision)
    return RungPreview(
        variant=rung.name,
        delegate=rung.delegate.value,
        is_made=not rung.unavailable,
        reason=rung.unavailable or PURPOSE[rung.precision],
        min_tflite=MIN_TFLITE[rung.precision],
        is_recoverable=rung.precision in RECOVERABLE and rules.recovery_trials > 0,
        cost=f"{cost.speed.value}; {cost.note}",
    )
