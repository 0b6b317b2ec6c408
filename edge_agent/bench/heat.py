"""What the board says of its heat and power between two moments of a bench.

Guarantees: nothing is guessed: where the board does not tell whether it is throttled, that is what is said.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from contract.bench import BenchHeat
from edge_agent.inference.board import Temperature
from edge_agent.inference.facts import read_facts


class HeatWatch(Protocol):
    """Looks at the board again and again."""

    def look(self) -> BenchHeat:
        """What holds now; throttled since the last look counts as throttled."""


class Thermometer:
    """Reads temperatures, and no more. Implements ``HeatWatch``."""

    def __init__(self, temperatures: Callable[[], tuple[Temperature, ...]] | None = None) -> None:
        self._temperatures = temperatures or (lambda: read_facts().temperatures)

    def look(self) -> BenchHeat:
        """See ``HeatWatch``."""
        known = [zone.celsius for zone in self._temperatures()]
        return BenchHeat(celsius=max(known, default=None))
