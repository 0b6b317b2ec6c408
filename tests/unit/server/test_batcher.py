from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import msgspec
import pytest

from contract.errors import StorageError
from contract.messages import Event, EventKind, Telemetry
from server.ingest.batcher import Batcher, Writer
from server.ingest.intake import Effects
from server.storage.repository import Rows, Storage
from tests.support.server_device import a_window
from tests.support.server_process import wait_until
from tests.support.server_storage import NOON, a_storage, inbound


class Trace:
    """What the batcher did, in order."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.done: list[str] = []
        self.windows_at_ack: list[int] = []
        self.crashed = threading.Event()

    def acknowledge(self) -> None:
        with self.storage.read() as rows:
            self.windows_at_ack.append(sum(total.windows for total in rows.telemetry.totals()))
        self.done.append("acknowledged")

    def after_commit(self, effects: Effects) -> None:
        self.done.append(f"answered {sorted(ack.seq for ack in effects.acks.values())}")


class RefusesAtFirst:
    """A disk that is full for a while."""

    def __init__(self, storage: Storage, refusals: int) -> None:
        self.storage = storage
        self.refusals = refusals

    def write(self) -> AbstractContextManager[Rows]:
        if self.refusals > 0:
            self.refusals -= 1
            raise StorageError("disk full")
        return self.storage.write()


@pytest.fixture
def trace(tmp_path: Path) -> Iterator[Trace]:
    with a_storage(tmp_path, "d") as storage:
        yield Trace(storage)


@contextlib.contextmanager
def running(trace: Trace, storage: Writer | None = None, *, retry_s: float = 0.01) -> Iterator[Batcher]:
    batcher = Batcher(
        storage or trace.storage,
        after_commit=trace.after_commit,
        on_crash=trace.crashed.set,
        retry_s=retry_s,
    )
    batcher.start()
    yield batcher
    batcher.stop()
    assert not trace.crashed.is_set()


def telemetry(*seqs: int) -> Telemetry:
    return Telemetry(v=1, boot="b1", windows=tuple(a_window(seq) for seq in seqs))


def test_nothing_is_acknowledged_before_it_is_committed(trace: Trace) -> None:
    with running(trace) as batcher:
        batcher.put(inbound("d", telemetry(0, 1), trace.acknowledge))
        wait_until(lambda: len(trace.done) == 2, what="the answer")
    assert trace.done == ["acknowledged", "answered [1]"]
    assert trace.windows_at_ack == [2]


def test_telemetry_waits_for_company_and_is_committed_together(trace: Trace) -> None:
    with running(trace) as batcher:
        for seq in range(3):
            batcher.put(inbound("d", telemetry(seq), trace.acknowledge))
        wait_until(lambda: len(trace.done) == 4, what="the answer")
    assert trace.done == ["acknowledged"] * 3 + ["answered [2]"]


def test_what_is_queued_at_the_end_is_committed(trace: Trace) -> None:
    with running(trace) as batcher:
        batcher.put(inbound("d", telemetry(0), trace.acknowledge))
    assert trace.done == ["acknowledged", "answered [0]"]
    batcher.put(inbound("d", telemetry(1), trace.acknowledge))
    assert trace.done == ["acknowledged", "answered [0]"]


def test_a_full_disk_delays_and_loses_nothing(trace: Trace) -> None:
    full = RefusesAtFirst(trace.storage, refusals=3)
    with running(trace, full) as batcher:
        batcher.put(inbound("d", telemetry(0), trace.acknowledge))
        wait_until(lambda: trace.done, what="the commit after the disk has room")
    assert trace.windows_at_ack == [1]
    assert full.refusals == 0


def test_the_end_does_not_wait_for_a_disk_that_stays_full(trace: Trace) -> None:
    full = RefusesAtFirst(trace.storage, refusals=1000)
    with running(trace, full, retry_s=60) as batcher:
        batcher.put(inbound("d", telemetry(0), trace.acknowledge))
        wait_until(lambda: full.refusals < 1000, what="the first try")
    assert trace.done == []


def test_a_message_that_trips_a_bug_is_dropped_alone(trace: Trace) -> None:
    # No device can send such a number; the door refuses it. Here it stands for any bug.
    poison = msgspec.structs.replace(a_window(1), seq=1 << 70)
    with running(trace) as batcher:
        batcher.put(inbound("d", telemetry(0), trace.acknowledge))
        batcher.put(inbound("d", Telemetry(v=1, boot="b1", windows=(poison,)), trace.acknowledge))
        batcher.put(inbound("d", telemetry(2), trace.acknowledge))
        wait_until(lambda: trace.done.count("acknowledged") >= 3, what="all three")
    assert trace.done.count("acknowledged") == 3
    with trace.storage.read() as rows:
        assert rows.telemetry.totals()[0].windows == 2
        device = rows.devices.find("d")
    assert device is not None
    assert device.last_seen is not None


def test_an_answer_that_fails_does_not_end_the_thread(tmp_path: Path) -> None:
    answered: list[Effects] = []

    def fail(effects: Effects) -> None:
        answered.append(effects)
        raise StorageError("cannot be read now")

    with a_storage(tmp_path, "d") as storage:
        crashed = threading.Event()
        batcher = Batcher(storage, after_commit=fail, on_crash=crashed.set)
        batcher.start()
        batcher.put(inbound("d", Event(v=1, kind=EventKind.REFUSED, at=NOON)))
        wait_until(lambda: answered, what="the first answer")
        batcher.put(inbound("d", Event(v=1, kind=EventKind.REFUSED, at=NOON)))
        wait_until(lambda: len(answered) == 2, what="the second answer")
        batcher.stop()
        assert not crashed.is_set()


def test_ending_what_never_began_is_nothing(tmp_path: Path) -> None:
    with a_storage(tmp_path) as storage:
        Batcher(storage, after_commit=lambda _: None, on_crash=lambda: None).stop()
