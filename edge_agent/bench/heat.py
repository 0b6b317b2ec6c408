"""What the board says of its heat and power at the moments of a bench.

PURE. Rules:

1. Throttled is what held at a look, or happened since the look before (``edge_agent.heat.reading.why_slowed``).
2. Several looks are as bad as the worst of them.
3. Nothing is guessed: a board that shows no throttling, and has no sensor below a known soft limit, does not tell.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from contract.bench import BenchHeat
from contract.scalars import TEXT_MAX_CHARS
from edge_agent.heat.reading import Reading, why_slowed


class HeatWatch(Protocol):
    """Looks at the board again and again."""

    def glance(self) -> None:
        """Note what holds now, for the next ``look``."""

    def look(self) -> BenchHeat:
        """What holds now or was noted since the last look; what happened between them counts too."""


class SensorWatch:
    """Looks through the board's sensors. Implements ``HeatWatch``.

    Args:
        read: Reads them.
        soft_celsius: Where the board begins to slow down, °C; None when unknown.
    """

    def __init__(self, read: Callable[[], Reading], soft_celsius: float | None) -> None:
        self._read = read
        self._soft_celsius = soft_celsius
        self._before: Reading | None = None
        self._noted: list[BenchHeat] = []

    def look(self) -> BenchHeat:
        """See ``HeatWatch``."""
        self.glance()
        noted, self._noted = self._noted, []
        return worst_of(noted)

    def glance(self) -> None:
        """See ``HeatWatch``."""
        now = self._read()
        causes = why_slowed(self._before or now, now, self._soft_celsius)
        self._before = now
        is_told = bool(causes) or _tells(now, self._soft_celsius)
        heat = BenchHeat(
            is_throttled=bool(causes) if is_told else None,
            celsius=now.celsius,
            cause="; ".join(causes)[:TEXT_MAX_CHARS],
        )
        self._noted = [worst_of([*self._noted, heat])]


def _tells(reading: Reading, soft_celsius: float | None) -> bool:
    """Whether this board would show that it is throttled."""
    has_limit = soft_celsius is not None and reading.celsius is not None
    return has_limit or reading.knows_throttling


def worst_of(looks: Sequence[BenchHeat]) -> BenchHeat:
    """Several looks as one; nothing is known of none."""
    known = [look.is_throttled for look in looks if look.is_throttled is not None]
    celsius = [look.celsius for look in looks if look.celsius is not None]
    causes = dict.fromkeys(look.cause for look in looks if look.cause)
    return BenchHeat(
        is_throttled=any(known) if known else None,
        celsius=max(celsius, default=None),
        cause="; ".join(causes)[:TEXT_MAX_CHARS],
    )
