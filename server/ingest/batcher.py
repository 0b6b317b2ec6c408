"""Commits messages in batches, and answers only after the commit.

Guarantees: a message is acknowledged to the broker, and telemetry to its device, once it is on disk and not before.
A batch that the database refuses for now (disk full) is tried again, with back-off, for as long as it takes; the
queue is bounded, so the broker keeps what does not fit. A message that trips a bug is logged and dropped: it must
not stop all others. Telemetry waits up to 50 ms for company; everything else is committed at once.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timezone
from typing import Protocol

from contract.errors import StorageError
from contract.topics import Kind
from server.ingest.bridge import Inbound
from server.ingest.intake import Effects, take_in
from server.storage.repository import Rows
from server.threads import start_thread

logger = logging.getLogger(__name__)

MAX_BATCH = 500
MAX_WAIT_S = 0.05
MAX_QUEUED = 2000
"""A little more than the broker sends without an acknowledgement (``MAX_INFLIGHT``)."""
RETRY_S = 1.0
STOP_TIMEOUT_S = 10.0


class Writer(Protocol):
    """Where messages are kept."""

    def write(self) -> AbstractContextManager[Rows]:
        """One transaction; commits at the end, rolls back on any exception."""
        ...


class Batcher:
    """The thread between the MQTT connection and the database.

    Args:
        storage: Where to.
        after_commit: Does what the messages of a committed batch ask for.
        on_crash: Called when the thread itself crashed.
        retry_s: Between two tries of a batch that the database refuses.
    """

    def __init__(
        self,
        storage: Writer,
        *,
        after_commit: Callable[[Effects], None],
        on_crash: Callable[[], None],
        retry_s: float = RETRY_S,
    ) -> None:
        self._retry_s = retry_s
        self._storage = storage
        self._after_commit = after_commit
        self._on_crash = on_crash
        self._queue: queue.Queue[Inbound | None] = queue.Queue(MAX_QUEUED)
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin."""
        self._thread = start_thread("ingest", self._run, self._on_crash)

    def put(self, inbound: Inbound) -> None:
        """Take a message; waits while the queue is full. After ``stop``: drops it, the broker keeps it."""
        while not self._stopping.is_set():
            try:
                self._queue.put(inbound, timeout=0.2)
            except queue.Full:
                continue
            return

    def stop(self) -> None:
        """Commit what is queued, and end."""
        if self._thread is None:
            return
        self._stopping.set()
        self._queue.put(None)
        self._thread.join(STOP_TIMEOUT_S)

    def _run(self) -> None:
        is_last = False
        while not is_last:
            batch, is_last = self._collect()
            if batch:
                self._commit(batch)

    def _collect(self) -> tuple[list[Inbound], bool]:
        """The next batch, and whether it is the last."""
        batch: list[Inbound] = []
        deadline = float("inf")
        while len(batch) < MAX_BATCH:
            try:
                remaining_s = deadline - time.monotonic()
                item = self._queue.get(timeout=max(0.0, remaining_s) if batch else None)
            except queue.Empty:
                break
            if item is None:
                return batch, True
            batch.append(item)
            wait_s = MAX_WAIT_S if item.kind is Kind.TELEMETRY else 0.0
            deadline = min(deadline, time.monotonic() + wait_s)
        return batch, False

    def _commit(self, batch: Sequence[Inbound]) -> None:
        while not self._try_commit(batch):
            if self._stopping.wait(self._retry_s):
                return

    def _try_commit(self, batch: Sequence[Inbound]) -> bool:
        """Commit a batch and answer it; False when the database refuses for now."""
        try:
            effects = self._take_in(batch)
        except StorageError as error:
            logger.error("what devices send waits: %s", error.summary())  # noqa: TRY400 - no bug, no traceback
            return False
        except Exception:
            if len(batch) > 1:
                for item in batch:
                    self._commit([item])
                return True
            logger.exception("%s of %s dropped", batch[0].kind.value, batch[0].device)
            effects = Effects()
        for item in batch:
            item.acknowledge()
        try:
            self._after_commit(effects)
        except StorageError as error:
            logger.error("answers to devices wait: %s", error.summary())  # noqa: TRY400 - no bug, no traceback
        return True

    def _take_in(self, batch: Sequence[Inbound]) -> Effects:
        now = datetime.now(timezone.utc)
        effects = Effects()
        with self._storage.write() as rows:
            for item in batch:
                take_in(rows, item, effects, now)
            rows.devices.touch(effects.seen, now)
        return effects
