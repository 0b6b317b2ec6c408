"""Tells operators what happened on this device, stamped and bounded. Thread-safe where what sends is."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone

from contract.messages import WIRE_VERSION, Event, EventKind
from edge_agent.update.machine import plain_text


class Events:
    """Makes events of words.

    Args:
        send: Sends one; never blocks, offline or not.
    """

    def __init__(self, send: Callable[[Event], None]) -> None:
        self._send = send

    def tell(self, kind: EventKind, detail: str, *, model: str = "", version: str = "") -> None:
        """Tell of something that happened now.

        Args:
            kind: What happened.
            detail: The same for people; cut where it is too long.
            model: Whom it happened to; empty for the whole device.
            version: Its version; empty where that does not matter.
        """
        self._send(
            Event(
                v=WIRE_VERSION,
                kind=kind,
                at=datetime.now(timezone.utc),
                model=model,
                version=version,
                detail=plain_text(detail),
            )
        )

    def tell_gap(self, model: str, version: str, words: str) -> None:
        """Tell that a gap between two versions begins, or is over."""
        self.tell(EventKind.SWAP_GAP, words, model=model, version=version)
