"""What was refused because more was asked at a time than is taken, and when an operator has to know.

PURE. Rules:

1. Whoever refuses counts: workers, pipelines, the gateway. Counts begin with its process and only grow; one that is
   smaller than before is of a new process.
2. Trouble is told when it begins, and again only after ``QUIET_S`` without.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

import msgspec

QUIET_S = 60.0
REPORT_S = 5.0
"""How often a process tells its totals, seconds; told only when they have changed."""


class Cause(str, enum.Enum):
    """What there was too much of."""

    CLIENTS = "clients"
    WAITING = "waiting"
    CONNECTIONS = "connections"
    BODIES = "bodies"


_WORDS = {
    Cause.CLIENTS: "{} attempts to connect, as many applications are connected as are taken",
    Cause.WAITING: "{} requests over HTTP, too many were waiting",
    Cause.CONNECTIONS: "{} connections over HTTP, too many were open",
    Cause.BODIES: "{} requests over HTTP, the bodies of others took all memory there is for them",
}

Totals = dict[str, dict[Cause, int]]
"""Model, or empty for all of them, to cause to how many were refused since the process began."""


def add_refusal(totals: Totals, name: str, cause: Cause, count: int = 1) -> None:
    """Count."""
    of_name = totals.setdefault(name, {})
    of_name[cause] = of_name.get(cause, 0) + count


def encode_totals(totals: Totals) -> bytes:
    """One line for the agent."""
    return msgspec.json.encode(totals) + b"\n"


def decode_totals(line: bytes) -> Totals | None:
    """The totals of a line; None when it is none."""
    try:
        return msgspec.json.decode(line, type=Totals)
    except msgspec.DecodeError:
        return None


class Quiet:
    """Decides whether trouble is news. Not thread-safe."""

    def __init__(self) -> None:
        self._trouble_s: dict[str, float] = {}

    def is_news(self, name: str, now_s: float) -> bool:
        """Note trouble; whether it begins now, or comes back after ``QUIET_S`` without.

        Args:
            name: Whose.
            now_s: Monotonic time, seconds.
        """
        before_s = self._trouble_s.get(name)
        self._trouble_s[name] = now_s
        return before_s is None or now_s - before_s >= QUIET_S


class OverloadWatch:
    """Decides when refusals are told. Not thread-safe."""

    def __init__(self) -> None:
        self._last: Mapping[str, Mapping[Cause, int]] = {}
        self._quiet = Quiet()

    def take(self, totals: Totals, now_s: float) -> list[tuple[str, str]]:
        """Look at new totals of one process.

        Args:
            totals: All of them.
            now_s: Monotonic time, seconds.

        Returns:
            What an operator has to know: model, or empty, and words.
        """
        last, self._last = self._last, {name: dict(counts) for name, counts in totals.items()}
        news = [(name, _words(counts, last.get(name, {}))) for name, counts in sorted(totals.items())]
        return [(name, words) for name, words in news if words and self._quiet.is_news(name, now_s)]


def _words(counts: Mapping[Cause, int], last: Mapping[Cause, int]) -> str:
    parts = []
    for cause in Cause:
        count, before = counts.get(cause, 0), last.get(cause, 0)
        grown = count - before if count >= before else count
        parts += [_WORDS[cause].format(grown)] if grown else []
    return f"refused {'; '.join(parts)}" if parts else ""
