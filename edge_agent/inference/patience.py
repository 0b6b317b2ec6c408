"""Whether one side of a conversation stays awake for the other's next word, or sleeps until it comes.

PURE. Rules:

1. Sleeping and waking up costs more than a small model's whole inference, so staying awake pays where the word comes
   within ``protocol.SPIN_S``; on a single core the other side could not even run meanwhile. A worker whose request
   took longer waits longer for the next one: the application finds its caches as cold.
2. Who stays awake keeps its core. Giving it up for a moment (sched_yield(2)) is no alternative: it gives it to whoever
   waits for it, for a whole slice. Beside a starting candidate that was 2 to 3 ms, also where the candidate has the
   lowest priority there is (own measurement, Linux 6.18: nearly all waits of over 0.5 ms began with a yield).
3. The other side may be waiting for this very core. It shows: staying awake is in vain. After the second time in
   a row sleep, 4 times, then 16, then 64 times, before the next attempt; one that is not in vain begins anew.
"""

from __future__ import annotations

from edge_agent.inference.protocol import SPIN_S, may_spin

_RESTS = (0, 4, 16, 64)
_SHARE = 1 / 4
_MOST_S = 1.5e-3
"""From an answer to the next request through HTTP takes up to so long, through the SDK 0.2 to 0.5 ms."""


def worth_awake_s(took_s: float) -> float:
    """How long a worker stays awake for the next request.

    Args:
        took_s: Of the last one.
    """
    return max(SPIN_S, min(took_s * _SHARE, _MOST_S))


class Patience:
    """What one side has learned. Not thread-safe, its owner is one thread.

    Args:
        cores: That this process may run on.
        threads: That the other side works with.
    """

    def __init__(self, cores: int, threads: int = 1) -> None:
        self._may_ever = may_spin(cores, threads)
        self._in_vain = 0
        self._rests = 0

    def try_awake(self) -> bool:
        """Whether to stay awake this time; whoever does says with ``note`` how it went."""
        if self._rests:
            self._rests -= 1
            return False
        return self._may_ever

    def note(self, *, has_come: bool) -> None:
        """Learn whether the word came while awake."""
        if has_come:
            self._in_vain = 0
            return
        self._rests = _RESTS[min(self._in_vain, len(_RESTS) - 1)]
        self._in_vain += 1
