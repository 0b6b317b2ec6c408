"""When an application's next answer is expected, so that it need not be woken up for it.

PURE. Rules:

1. Being woken up takes as long as a small model's whole inference, and leaves a core whose caches are cold. So an
   application sleeps by the clock until shortly before the answer, and looks for it awake from then on (hybrid polling,
   as Linux does for fast disks: Documentation/block/queue-sysfs.rst, "io_poll_delay").
2. An answer is expected when the fastest of the last few would have come: one that is late costs what it costs anyway.
3. Answers that take long are slept for: waking up is a small part of them, and they vary by more.
"""

from __future__ import annotations

from collections import deque

_REMEMBERED = 4
AWAKE_S = 400e-6
"""How long to stay awake then. Answers of one model vary by some percent."""
_LEAD_S = 250e-6
"""Awake so long before an answer is expected: a timer is late by 50 microseconds and more (prctl(2),
PR_SET_TIMERSLACK), and going through the last answer once more with cold caches takes 80."""
_LONGEST_S = 20e-3
"""Waking up costs less than a hundredth of it."""


class Expectation:
    """What one connection expects of its worker."""

    def __init__(self) -> None:
        self._took_s: deque[float] = deque(maxlen=_REMEMBERED)

    def asleep_s(self) -> float | None:
        """How long to sleep from a request on, before looking for its answer awake; None to sleep until it comes."""
        expected_s = min(self._took_s, default=_LONGEST_S)
        return max(0.0, expected_s - _LEAD_S) if expected_s < _LONGEST_S else None

    def note(self, took_s: float) -> None:
        """Remember how long an answer took, from the request to its arrival."""
        self._took_s.append(took_s)
