"""What the board says of its heat and power at the moments of a bench.

PURE. Rules:

1. Throttled is what held at a moment, or happened since the moment before (``edge_agent.heat.reading.why_slowed``).
2. Nothing is guessed: a board without frequency limits, counters or a known soft limit does not tell.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from contract.bench import BenchHeat
from contract.scalars import TEXT_MAX_CHARS
from edge_agent.heat.reading import Reading, why_slowed


class HeatWatch(Protocol):
    """Looks at the board again and again."""

    def look(self) -> BenchHeat:
        """What holds now; throttled since the last look counts as throttled."""


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

    def look(self) -> BenchHeat:
        """See ``HeatWatch``."""
        now = self._read()
        causes = why_slowed(self._before or now, now, self._soft_celsius)
        self._before = now
        is_told = bool(causes) or _tells(now, self._soft_celsius)
        return BenchHeat(
            is_throttled=bool(causes) if is_told else None,
            celsius=now.celsius,
            cause="; ".join(causes)[:TEXT_MAX_CHARS],
        )


def _tells(reading: Reading, soft_celsius: float | None) -> bool:
    """Whether this board would show that it is throttled."""
    has_limit = soft_celsius is not None and reading.celsius is not None
    return has_limit or reading.frequency_ratio is not None or bool(reading.counters)
