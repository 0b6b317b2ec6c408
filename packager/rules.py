"""The gate's rules as a user sets them.

PURE. Rules:

1. What may be lost is written as ``0.01`` (absolute: 0.90 may fall to 0.89) or ``1%`` (of the reference: 0.90 may fall
   to 0.891). Nothing else is guessed.
2. Every default has its reason beside it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from contract.errors import ConfigError

DEFAULT_MIN_SAMPLES = 100
"""With fewer samples a single one is worth more than the default allowance of 0.01, so the gate would judge noise."""
DEFAULT_RECOVERY_TRIALS = 8
"""Each trial quantizes and measures once more. Where few operators are to blame, two or three suffice; where eight are
not enough, most of the model would be float and a lower rung is the better answer."""


@dataclass(frozen=True)
class Allowance:
    """How much may be lost.

    Attributes:
        amount: 0 to 1.
        is_relative: Whether it is a share of the reference.
    """

    amount: float
    is_relative: bool = False

    def of(self, reference: float) -> float:
        """What may be lost of a reference value, as an absolute amount."""
        return self.amount * reference if self.is_relative else self.amount

    def __str__(self) -> str:
        return f"{self.amount * 100:g}%" if self.is_relative else f"{self.amount:g}"


@dataclass(frozen=True)
class Rules:
    """What a variant must fulfil.

    Attributes:
        max_drop: How far below the reference it may be.
        max_class_drop: How far below the float model it may be in any single class; None for no such rule.
        class_floor: The least that it must reach in every class, 0 to 1; None for no such rule.
        confidence: With which probability the true drop is to be within ``max_drop``, above 0.5 and below 1; None to
            judge by the measured drop alone.
        min_samples: How many evaluation samples there must be.
        recovery_trials: How often a rung that fails may be tried again with more operators in float; 0 for never.
    """

    max_drop: Allowance = Allowance(0.01)
    max_class_drop: Allowance | None = None
    class_floor: float | None = None
    confidence: float | None = None
    min_samples: int = DEFAULT_MIN_SAMPLES
    recovery_trials: int = DEFAULT_RECOVERY_TRIALS


def parse_allowance(text: str) -> Allowance:
    """Read ``0.01`` or ``1%``.

    Raises:
        ConfigError: It is neither, or not within 0 to 1 (0% to 100%).
    """
    stripped = text.strip()
    is_relative = stripped.endswith("%")
    try:
        amount = float(stripped.removesuffix("%"))
    except ValueError:
        amount = math.nan
    if is_relative:
        amount /= 100
    if not 0 <= amount <= 1:
        raise ConfigError(
            f"{text!r} is no allowed loss", remedy="write 0.01 for one point, or 1% of the reference"
        )
    return Allowance(amount, is_relative)
