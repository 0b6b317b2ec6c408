"""What a pack run makes: the rungs of every profile's ladder, and the work they share.

PURE. Rules:

1. A ladder's order is kept; a rung that the profile's runtimes cannot run right is planned as not available.
2. A precision is made once and measured once per delegate, however many profiles want it.
3. The delegate of a rung is the one that its cost on the board is stated for (``packager.cost``): XNNPACK where the
   profile has it, except for int16 activations, which it would silently leave to the plain kernels.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from contract.compat import RuntimeFact, tflite_level
from contract.identifiers import Version
from contract.profile import DelegateName, Precision, Profile
from packager.cost import cost_of

_STATIC = frozenset((Precision.STATIC_INT8, Precision.STATIC_INT16))

MIN_TFLITE: dict[Precision, str] = {
    Precision.STATIC_INT8: "2.14.0",
    Precision.STATIC_INT16: "2.14.0",
    Precision.WEIGHT_ONLY_INT8: "2.14.0",
    Precision.FLOAT16: "2.5.0",
    Precision.FLOAT32: "2.5.0",
    Precision.DYNAMIC_INT8: "2.17.0",
    Precision.WEIGHT_ONLY_INT4: "2.17.0",
}
"""Lowest TFLite runtime per precision, as litert-quantizer 0.11 writes it. Own measurement with examples/digits:
tflite-runtime 2.14 gives the right answers for both static forms, weight-only-int8 and float16; it loads
dynamic-int8 (weights quantized per channel) and answers 9.6 % right instead of 99.8 %, because the operators keep
version 1; it refuses int4 constants. ai-edge-litert, which counts as 2.17, is right for all of them."""


@dataclass(frozen=True)
class Rung:
    """One step of a profile's ladder.

    Attributes:
        precision: What to make.
        delegate: What it runs on.
        unavailable: Why it cannot be made for this profile; empty when it can.
        floats: Operators that are left in float, by the name that the quantizer knows them by; empty for a plain rung.
    """

    precision: Precision
    delegate: DelegateName
    unavailable: str = ""
    floats: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The variant's name; a bundle holds a precision once plain and once selective at most."""
        return f"{self.precision.value}-selective" if self.floats else self.precision.value

    @property
    def key(self) -> tuple[Precision, DelegateName]:
        """What is measured once for all profiles."""
        return self.precision, self.delegate


@dataclass(frozen=True)
class ProfilePlan:
    """A profile with the rungs of its ladder in order."""

    profile: Profile
    rungs: tuple[Rung, ...]


@dataclass(frozen=True)
class Plan:
    """All of a run.

    Attributes:
        profiles: In the order asked for.
        precisions: To make, each once.
        measurements: To evaluate, each once.
    """

    profiles: tuple[ProfilePlan, ...]
    precisions: tuple[Precision, ...]
    measurements: tuple[tuple[Precision, DelegateName], ...]

    @property
    def needs_calibration(self) -> bool:
        """Whether any precision learns ranges from calibration images."""
        return not _STATIC.isdisjoint(self.precisions)


def plan_pack(profiles: Iterable[Profile]) -> Plan:
    """Plan a run over profiles, each named once."""
    plans = tuple(ProfilePlan(profile, _plan_rungs(profile)) for profile in profiles)
    wanted = [rung for plan in plans for rung in plan.rungs if not rung.unavailable]
    return Plan(
        profiles=plans,
        precisions=tuple(dict.fromkeys(rung.precision for rung in wanted)),
        measurements=tuple(dict.fromkeys(rung.key for rung in wanted)),
    )


def _plan_rungs(profile: Profile) -> tuple[Rung, ...]:
    return tuple(
        Rung(precision, cost_of(profile, precision).delegate, _runtime_fault(profile, precision))
        for precision in profile.ladder
    )


def _runtime_fault(profile: Profile, precision: Precision) -> str:
    wanted = Version(MIN_TFLITE[precision])
    # A runtime without an upper version can be brought up to any.
    levels = [
        tflite_level(RuntimeFact(name=runtime.name, version=runtime.maximum))
        for runtime in profile.runtimes
        if runtime.maximum
    ]
    if len(levels) < len(profile.runtimes) or max(levels) >= wanted:
        return ""
    return f"needs TFLite {wanted.text}, the board's runtimes have {max(levels).text} at most"
