"""What a rung of a ladder costs on a board, in words and as the kernels that run it.

PURE. Rules:

1. A cost is stated for every precision on every board: which kernels run it, and what that means for its speed.
2. A rung that XNNPACK does not run is never chosen for speed: it is planned on the plain kernels, and is said to be
   there for its accuracy.
3. Sources: ``packager.coverage.rules.XNNPACK_RULES`` for what XNNPACK takes, the profile for what the board has.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from contract.profile import DelegateName, Precision, Profile

FASTER_CORES = frozenset(("asimddp", "i8mm", "avx512_vnni", "avx_vnni", "avxvnni"))
"""Processor features with instructions that multiply and add four int8 pairs at once, as the kernel names them."""


class Speed(enum.Enum):
    """What a precision is good for on a board."""

    FASTEST = "fastest"
    FAST = "fast"
    FLOAT = "as float"
    SLOW = "slow"


@dataclass(frozen=True)
class Cost:
    """What a rung costs.

    Attributes:
        delegate: What runs it on the CPU.
        speed: Compared with the other rungs of the same board.
        note: Why, in a sentence.
    """

    delegate: DelegateName
    speed: Speed
    note: str

    @property
    def is_on_xnnpack(self) -> bool:
        """Whether XNNPACK runs it."""
        return self.delegate is DelegateName.XNNPACK

    @property
    def is_for_speed(self) -> bool:
        """Whether a board that wants answers quickly may take it for that reason."""
        return self.speed in {Speed.FASTEST, Speed.FAST}


def cost_of(profile: Profile, precision: Precision) -> Cost:
    """State the cost of a precision on a board."""
    has_xnnpack = any(delegate.name is DelegateName.XNNPACK for delegate in profile.delegates)
    if precision is Precision.STATIC_INT16:
        return Cost(
            DelegateName.NONE,
            Speed.SLOW,
            "int16 activations get no XNNPACK: plain kernels run it, so it is for accuracy and never for speed",
        )
    if not has_xnnpack:
        return Cost(DelegateName.NONE, Speed.SLOW, "this board has no XNNPACK: plain kernels run it")
    dot = sorted(FASTER_CORES & set(profile.cpu.features))
    speed, note = _ON_XNNPACK[precision]
    if precision in _INTEGER:
        note += f", with the int8 dot product ({dot[0]})" if dot else ", without an int8 dot product"
    return Cost(DelegateName.XNNPACK, speed, note)


_INTEGER = frozenset((Precision.STATIC_INT8, Precision.DYNAMIC_INT8))
_ON_XNNPACK: dict[Precision, tuple[Speed, str]] = {
    Precision.STATIC_INT8: (Speed.FASTEST, "XNNPACK computes in int8"),
    Precision.DYNAMIC_INT8: (
        Speed.FAST,
        "XNNPACK quantizes activations as it runs, depthwise convolutions excepted, and computes in int8",
    ),
    Precision.WEIGHT_ONLY_INT8: (Speed.FLOAT, "XNNPACK unpacks the weights once and computes in float"),
    Precision.WEIGHT_ONLY_INT4: (Speed.SLOW, "weights of 4 bits are unpacked on each run by plain kernels"),
    Precision.FLOAT16: (Speed.FLOAT, "XNNPACK keeps or unpacks the weights once and computes in float"),
    Precision.FLOAT32: (Speed.FLOAT, "XNNPACK computes in float"),
}
