"""What a source has done, as its process tells the agent, and when an operator has to know.

PURE. Rules:

1. Counts begin with the source's process and only grow.
2. A frame that a newer one replaced before it was due is ``skipped``: the rate wants it so. One that was due, and was
   replaced because the model was busy, is ``dropped``: overload.
3. Trouble is told when it begins, and again only after ``overload.QUIET_S`` without.
"""

from __future__ import annotations

import msgspec

from edge_agent.overload import Quiet

LINE_MAX_BYTES = 4096


class Counts(msgspec.Struct, kw_only=True):
    """Of one source's process.

    Attributes:
        captured: Frames that came.
        answered: Those the model answered.
        skipped: Those the rate left out.
        dropped: Those that were due and replaced by a newer one while the model was busy.
        failed: Those that got an error instead of an answer.
        sink_dropped: Answers that a sink's full queue gave up, or that it could not take.
        rate_hz: The rate in force.
    """

    captured: int = 0
    answered: int = 0
    skipped: int = 0
    dropped: int = 0
    failed: int = 0
    sink_dropped: int = 0
    rate_hz: float = 0.0


def encode_counts(counts: Counts) -> bytes:
    """One line for the agent."""
    return msgspec.json.encode(counts) + b"\n"


def decode_counts(line: bytes) -> Counts | None:
    """The counts of a line; None when it is none."""
    try:
        return msgspec.json.decode(line, type=Counts)
    except msgspec.DecodeError:
        return None


class OverloadWatch:
    """Decides when a source's losses are told. Not thread-safe."""

    def __init__(self) -> None:
        self._last = Counts()
        self._quiet = Quiet()

    def take(self, counts: Counts, now_s: float) -> str:
        """Look at new counts.

        Args:
            counts: Of a source's process.
            now_s: Monotonic time, seconds.

        Returns:
            What an operator has to know; empty for nothing.
        """
        last = Counts() if counts.captured < self._last.captured else self._last  # a new process begins anew
        self._last = counts
        dropped = counts.dropped - last.dropped
        lost = counts.sink_dropped - last.sink_dropped
        if dropped <= 0 and lost <= 0:
            return ""
        if not self._quiet.is_news("", now_s):
            return ""
        came = counts.captured - last.captured
        parts = [f"{dropped} of {came} inputs dropped, the model is slower than {counts.rate_hz:g} a second"]
        parts = parts if dropped > 0 else []
        parts += [f"{lost} answers lost at a full or failing sink"] if lost > 0 else []
        return "; ".join(parts)
