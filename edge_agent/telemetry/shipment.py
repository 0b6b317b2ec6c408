"""Sends the outbox: one batch on its way at a time, again until the server says that it has it.

PURE. Rules:

1. The next batch goes when the one before was acknowledged, or when there is none on its way.
2. A batch is sent again after a reconnect, and when no acknowledgement came for RESEND_S; the server knows it again
   by boot and number.
3. Only an acknowledgement takes windows out of the outbox.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from contract.messages import Ack, Telemetry

RESEND_S = 10.0


class Batches(Protocol):
    """The outbox; see ``edge_agent.telemetry.outbox``."""

    def next_batch(self) -> Telemetry | None:
        """The oldest windows; StorageError."""

    def acknowledge(self, boot: str, seq: int) -> int:
        """Give windows away; StorageError."""


class Shipment:
    """What is on its way.

    Args:
        outbox: Where the windows are.
        send: Sends a batch; False when there is no connection.
    """

    def __init__(self, outbox: Batches, send: Callable[[Telemetry], bool]) -> None:
        self._outbox = outbox
        self._send = send
        self._on_its_way: tuple[str, int] | None = None
        self._sent_s = 0.0

    def tick(self, now_s: float) -> None:
        """Send what is due.

        Args:
            now_s: Monotonic time, seconds.

        Raises:
            StorageError: The outbox cannot be read.
        """
        if self._on_its_way is not None and now_s - self._sent_s < RESEND_S:
            return
        batch = self._outbox.next_batch()
        self._on_its_way = None
        if batch is not None and self._send(batch):
            self._on_its_way = (batch.boot, batch.windows[-1].seq)
            self._sent_s = now_s

    def reconnected(self, now_s: float) -> None:
        """What was on its way may be lost: send it again.

        Raises:
            StorageError: The outbox cannot be read.
        """
        self._on_its_way = None
        self.tick(now_s)

    def acknowledged(self, ack: Ack, now_s: float) -> None:
        """The server has windows: forget them, and send the next.

        Raises:
            StorageError: The outbox cannot be written.
        """
        self._outbox.acknowledge(ack.boot, ack.seq)
        if (
            self._on_its_way is not None
            and ack.boot == self._on_its_way[0]
            and ack.seq >= self._on_its_way[1]
        ):
            self._on_its_way = None
            self.tick(now_s)
