"""How long to wait before trying again.

PURE. Rules:

1. Exponential with full jitter: a uniformly random part of ``base * 2^attempt``, capped. A fleet that lost the same
   broker comes back spread out (M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
2. The random number is an argument.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Backoff:
    """A policy of waiting.

    Attributes:
        base_s: Longest wait after the first failure, seconds.
        cap_s: Longest wait after any failure, seconds.
    """

    base_s: float = 1.0
    cap_s: float = 60.0

    def delay_s(self, failures: int, chance: float) -> float:
        """Seconds to wait.

        Args:
            failures: How many there were in a row, at least 1.
            chance: Uniformly random, 0 to 1.
        """
        # Past 2^32 the cap has long been reached; the bound keeps the power a small number.
        ceiling = min(self.cap_s, self.base_s * 2.0 ** min(failures - 1, 32))
        return ceiling * chance
