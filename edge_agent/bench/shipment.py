"""Sends the benches that wait: the oldest, again until the server says that it has it, then the next.

PURE. Rules:

1. One is on its way at a time. It is sent again after a reconnect, and with growing pauses when no acknowledgement
   comes: a server that is older than benches never answers, and is not to be pestered.
2. Only the acknowledgement of its id takes a bench off the disk.
3. The folder is looked at every ``LOOK_S``: another process fills it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from contract.bench import Bench, BenchAck

LOOK_S = 2.0
RESEND_S = 10.0
RESEND_MAX_S = 3600.0
REST_S = 300.0
"""After a disk that failed."""


class Benches(Protocol):
    """Where benches wait; see ``edge_agent.bench.waiting``."""

    def oldest(self) -> Bench | None:
        """The bench that waits longest; StorageError."""

    def remove(self, bench_id: str) -> None:
        """Forget a bench; StorageError."""


class BenchShipment:
    """What is on its way. Not thread-safe, its owner is one thread.

    Args:
        benches: Where they wait.
        send: Sends one; False when there is no connection.
    """

    def __init__(self, benches: Benches, send: Callable[[Bench], bool]) -> None:
        self._benches = benches
        self._send = send
        self._on_its_way = ""
        self._pause_s = RESEND_S
        self._next_s = 0.0

    def tick(self, now_s: float) -> None:
        """Send what is due.

        Args:
            now_s: Monotonic time, seconds.

        Raises:
            StorageError: The folder cannot be read.
        """
        if now_s < self._next_s:
            return
        self._next_s = now_s + REST_S  # where the disk fails, which is logged
        bench = self._benches.oldest()
        self._next_s = now_s + LOOK_S
        if bench is None or not self._send(bench):
            return
        self._pause_s = min(2 * self._pause_s, RESEND_MAX_S) if bench.id == self._on_its_way else RESEND_S
        self._on_its_way = bench.id
        self._next_s = now_s + self._pause_s

    def reconnected(self, now_s: float) -> None:
        """What was on its way may be lost: send it again.

        Raises:
            StorageError: The folder cannot be read.
        """
        self._on_its_way = ""
        self._next_s = now_s
        self.tick(now_s)

    def acknowledged(self, ack: BenchAck, now_s: float) -> None:
        """The server has a bench: forget it, and send the next.

        Raises:
            StorageError: It is still there.
        """
        self._benches.remove(ack.id)
        if ack.id == self._on_its_way:
            self.reconnected(now_s)
