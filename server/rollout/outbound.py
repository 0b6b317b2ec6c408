"""Sends desired documents, and drives the rollouts when something changed.

Guarantees: a document is read and sent under one lock, so that an older one never overwrites a newer one at the
broker; a device that asks again and again gets its document once in a while, not each time. After every connect to
the broker all documents go out: what the broker retains is a cache.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Protocol

from contract.errors import LitefleetError
from contract.messages import Desired, Message
from contract.topics import Kind
from server.storage.repository import Storage
from server.threads import start_thread

logger = logging.getLogger(__name__)

RESEND_AFTER_S = 5.0
"""A device that reports an older revision usually has the newer one on its way."""
TICK_S = 1.0
STOP_TIMEOUT_S = 10.0


class Sender(Protocol):
    """Sends messages to devices."""

    def send(self, kind: Kind, device: str, message: Message) -> None:
        """Send a message to a device; while there is no connection, nothing."""
        ...


class DesiredSender:
    """Sends desired documents.

    Args:
        storage: Where they are.
        sender: Takes them to the broker.
    """

    def __init__(self, storage: Storage, sender: Sender) -> None:
        self._storage = storage
        self._sender = sender
        self._lock = threading.Lock()
        self._sent: dict[str, tuple[int, float]] = {}

    def send(self, device: str) -> None:
        """Send a device's document as it is now."""
        with self._lock:
            document = self._read(device)
            if document is not None:
                self._publish(device, document)

    def resend(self, device: str) -> None:
        """Send a device's document again, unless the same was sent a moment ago."""
        with self._lock:
            document = self._read(device)
            if document is None:
                return
            revision, at = self._sent.get(device, (-1, 0.0))
            if revision != document.revision or time.monotonic() - at >= RESEND_AFTER_S:
                self._publish(device, document)

    def send_all(self) -> None:
        """Send every document."""
        with self._lock:
            with self._storage.read() as rows:
                documents = rows.devices.all_desired()
            for device, record in documents.items():
                self._publish(device, record.document)

    def _read(self, device: str) -> Desired | None:
        with self._storage.read() as rows:
            record = rows.devices.desired(device)
        return None if record is None else record.document

    def _publish(self, device: str, document: Desired) -> None:
        self._sender.send(Kind.DESIRED, device, document)
        self._sent[device] = (document.revision, time.monotonic())


class RolloutDriver:
    """The thread that lets rollouts go on.

    Args:
        advance: Does all that running rollouts ask for now.
        send_all: Sends every desired document.
        on_crash: Called when the thread itself crashed.
    """

    def __init__(
        self, advance: Callable[[], None], send_all: Callable[[], None], on_crash: Callable[[], None]
    ) -> None:
        self._advance = advance
        self._send_all = send_all
        self._on_crash = on_crash
        self._wake = threading.Event()
        self._is_connect_new = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin."""
        self._thread = start_thread("rollouts", self._run, self._on_crash)

    def wake(self) -> None:
        """Look at the rollouts now."""
        self._wake.set()

    def note_connect(self) -> None:
        """The broker may know nothing: send everything."""
        self._is_connect_new.set()
        self._wake.set()

    def stop(self) -> None:
        """End."""
        self._stopping.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(STOP_TIMEOUT_S)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wake.wait(TICK_S)
            self._wake.clear()
            is_connect_new = self._is_connect_new.is_set()
            self._is_connect_new.clear()
            try:
                if is_connect_new:
                    self._send_all()
                self._advance()
            except LitefleetError as error:
                logger.error("rollouts wait: %s", error.summary())  # noqa: TRY400 - no bug, no traceback
                if is_connect_new:
                    self._is_connect_new.set()
