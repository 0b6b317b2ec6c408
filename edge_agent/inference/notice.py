"""A request and its answer in shared memory, there before they are said over the socket: for who looks for them awake.

Guarantees: who sees that a request or an answer is there sees all that was written before it was posted, on processors
that reorder memory accesses too; a reader is never made to wait, nor a writer. What is said over the socket stays what
counts: whoever sleeps, or does not look here, misses nothing.

Why: docs/adr/0061 and 0062.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from edge_agent.inference.protocol import NOTICE_ASKED_AT, NOTICE_WORDS_AT, RESULT_FIXED_BYTES

if TYPE_CHECKING:
    from edge_agent.inference.area import Area

LOOKS = 8
"""Who looks here awake looks every so many times at the socket, where all else is said, and where an end shows."""
_SEQUENCE_BYTES = 4


class Notice:
    """The place. The application asks and finds answers, the worker takes requests and posts; each has one of these.

    Args:
        area: Shared with the other side.
        offset: ``protocol.StoredOutput.notice_offset``.
    """

    __slots__ = ("_asked", "_lock", "_sequence", "_words")

    def __init__(self, area: Area, offset: int) -> None:
        self._sequence = area.part(offset, _SEQUENCE_BYTES).cast("I")
        self._words = area.part(offset + NOTICE_WORDS_AT, RESULT_FIXED_BYTES)
        self._asked = area.part(offset + NOTICE_ASKED_AT, _SEQUENCE_BYTES).cast("I")
        self._lock = threading.Lock()

    def ask(self, sequence: int) -> None:
        """Say that a request's input is there.

        Args:
            sequence: Of the request.
        """
        self._keep_order()
        self._asked[0] = sequence

    def take(self, last: int) -> int:
        """The sequence of a request whose input is there; 0 where there is none since the last one.

        Args:
            last: Sequence of that one.
        """
        sequence = self._asked[0]
        if sequence == last:
            return 0
        self._keep_order()
        return sequence

    def post(self, sequence: int, words: bytes) -> None:
        """Write an answer, and then that it is there.

        Args:
            sequence: Of the request.
            words: The frame of the answer, without classes.
        """
        self._words[:] = words
        self._keep_order()
        self._sequence[0] = sequence

    def is_of(self, sequence: int) -> bool:
        """Whether the answer to a request is there."""
        return self._sequence[0] == sequence

    def read(self) -> bytes:
        """The frame of the answer that is there."""
        self._keep_order()
        return bytes(self._words)

    def _keep_order(self) -> None:
        """Let nothing after this be done in memory before all that comes before it.

        Python has no memory barrier, but its locks are made of them: what comes before a release stays before it, what
        comes after an acquire stays after it, and no processor lets an acquire pass an earlier release (Arm
        Architecture Reference Manual, "Load-Acquire, Store-Release").
        """
        lock = self._lock
        with lock:
            pass
        with lock:
            pass
