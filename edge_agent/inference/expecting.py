"""When an application's next answer is expected, so that it need not be woken up for it.

PURE. Rules:

1. Being woken up takes as long as a small model's whole inference, and leaves a core whose caches are cold. So an
   application sleeps by the clock until shortly before the answer, and looks for it awake from then on (hybrid polling,
   as Linux does for fast disks: Documentation/block/queue-sysfs.rst, "io_poll_delay").
2. Sleep ends when the fastest of the last few answers would nearly have come, and earlier by what waking up and getting
   ready took the last times: on a virtual machine that is 0.1 to 0.4 ms, and most answers came before it was over.
3. Being awake ends when the slowest of the last sixteen would have come: where neighbours use the machine too, answers
   of one model vary by a third from one second to the next. It ends earlier where that would take more than a third of
   the expected time, or 2 ms: one that is later costs what it costs anyway.
4. Answers that take long are slept for: waking up is a small part of them.
"""

from __future__ import annotations

from collections import deque

_FAST_OF = 4
_SLOW_OF = 16
AWAKE_S = 400e-6
"""How long to stay awake then, at least. On a calm machine answers of one model vary by some percent."""
_MARGIN_S = 50e-6
"""Awake for a little longer than the slowest answer took."""
_SPREAD_SHARE = 1 / 3
_SPREAD_MAX_S = 2e-3
_LEAD_S = 250e-6
"""How long before an answer is expected its time begins."""
_LATE_S = 100e-6
"""How late an application looks for it after that, at first: a timer is late by 50 microseconds and more (prctl(2),
PR_SET_TIMERSLACK), and going through the last answer once more with cold caches takes 80."""
_LATE_MAX_S = 500e-6
_LATE_OF = 8
_LONGEST_S = 20e-3
"""Waking up costs less than a hundredth of it."""


class Expectation:
    """What one connection expects of its worker."""

    def __init__(self) -> None:
        self._took_s: deque[float] = deque(maxlen=_SLOW_OF)
        self._fast_s: deque[float] = deque(maxlen=_FAST_OF)
        self._late_s: deque[float] = deque(maxlen=_LATE_OF)

    def asleep_s(self) -> float | None:
        """How long to sleep from a request on, before looking for its answer awake; None to sleep until it comes."""
        expected_s = min(self._fast_s, default=_LONGEST_S)
        return max(0.0, expected_s - _LEAD_S - self._more_s()) if expected_s < _LONGEST_S else None

    def awake_s(self) -> float:
        """How long to look for the answer after ``asleep_s``."""
        expected_s = min(self._fast_s, default=0.0)
        spread_s = max(self._took_s, default=0.0) + _MARGIN_S - expected_s
        most_s = min(expected_s * _SPREAD_SHARE, _SPREAD_MAX_S)
        return max(AWAKE_S, min(expected_s, _LEAD_S) + min(spread_s, most_s))

    def note_late(self, late_s: float) -> None:
        """Remember how long after the end of ``asleep_s`` an application was ready to look for its answer."""
        self._late_s.append(late_s)

    def _more_s(self) -> float:
        """How much earlier to wake up than by ``_LEAD_S``: by the third largest lateness of the last eight."""
        if len(self._late_s) < _LATE_OF:
            return 0.0
        return min(max(0.0, sorted(self._late_s)[-3] - _LATE_S), _LATE_MAX_S)

    def note(self, took_s: float) -> None:
        """Remember how long an answer took, from the request to its arrival."""
        self._took_s.append(took_s)
        self._fast_s.append(took_s)
