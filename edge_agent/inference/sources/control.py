"""What a source's process hears from the agent on its standard input, and what it tells on its report channel.

The first line is its settings, the others are orders. Guarantees: the end of input is the end of the source; an order
that cannot be understood changes nothing; no more than one line is kept. A report that the agent does not read is
thrown away, never waited for.
"""

from __future__ import annotations

import contextlib
import os
import select
import time
from typing import Annotated

import msgspec

from edge_agent.inference.sources.tally import LINE_MAX_BYTES, Counts, encode_counts

_SETTINGS_MAX_BYTES = 1 << 20


def read_settings(orders: int) -> bytes:
    """The first line of what the agent writes, and nothing after it; shorter where the agent ends before.

    Args:
        orders: File descriptor.
    """
    line = bytearray()
    while len(line) < _SETTINGS_MAX_BYTES:
        byte = os.read(orders, 1)
        if byte in {b"", b"\n"}:
            break
        line += byte
    return bytes(line)


class RateOrder(msgspec.Struct, frozen=True):
    """``{"rate_share": 0.5}``: run at this share of the configured rate."""

    rate_share: Annotated[float, msgspec.Meta(gt=0, le=1)]


class Control:
    """Not thread-safe, its owner is one thread.

    Args:
        orders: File descriptor the agent writes to.
        reports: File descriptor the agent reads from; None when nobody does.
    """

    def __init__(self, orders: int, reports: int | None = None) -> None:
        self._orders = orders
        self._reports = reports
        self._rest = b""
        self.rate_share = 1.0
        self.has_ended = False
        if reports is not None:
            os.set_blocking(reports, False)

    def wait(self, seconds: float, event: int | None = None) -> bool:
        """Wait so many seconds, or until something can be read from ``event``; True when it is time to end."""
        ends = time.monotonic() + seconds
        watched = [self._orders] if event is None else [self._orders, event]
        while not self.has_ended:
            ready = select.select(watched, [], [], max(0.0, ends - time.monotonic()))[0]
            if self._orders in ready:
                self._hear(os.read(self._orders, LINE_MAX_BYTES))
            elif not ready or event in ready:
                break
        return self.has_ended

    def _hear(self, content: bytes) -> None:
        if not content:
            self.has_ended = True
            return
        *lines, rest = (self._rest + content).split(b"\n")
        self._rest = rest[-LINE_MAX_BYTES:]
        for line in lines:
            self._obey(line)

    def _obey(self, line: bytes) -> None:
        with contextlib.suppress(msgspec.DecodeError):
            self.rate_share = msgspec.json.decode(line, type=RateOrder).rate_share

    def tell(self, counts: Counts) -> None:
        """Tell the agent."""
        if self._reports is None:
            return
        try:
            os.write(self._reports, encode_counts(counts))
        except (BlockingIOError, BrokenPipeError):
            return
