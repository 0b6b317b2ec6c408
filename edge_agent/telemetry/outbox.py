"""The outbox: windows on disk until the server says that it has them. The agent's one door to SQLite.

Guarantees: a window is given away only by ``acknowledge``; windows of one boot keep their order and number; there are
never more than a given number. When there are too many, the oldest ones that were never sent are merged in pairs: what
is long ago gets coarser, and no request is forgotten. Only when nothing is left to merge are the oldest dropped.

Write-ahead log with ``synchronous=NORMAL``: a killed agent loses nothing, a power cut may lose the last seconds but
never damages the file (https://sqlite.org/pragma.html#pragma_synchronous), and an SD card is not synced every window.
That loss is harmless: sequence numbers start anew with every boot, so none is ever used twice.

Not thread-safe: its owner is one thread.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import msgspec

from contract.errors import StorageError
from contract.messages import WIRE_VERSION, SequencedWindow, Telemetry, TelemetryWindow
from edge_agent.telemetry.windows import Key, merge_windows, window_key

BATCH_WINDOWS = 20
"""Most windows in one message: about 4.5 KB of JSON, 0.3 with zlib, for a batch of small samples (docs/adr/0004)."""
_MERGE_ROWS = 2_000
"""Windows looked at in one go when the outbox is full: at most 2 MB of memory, and room for half as many."""
_BUSY_S = 5.0
_SCHEMA = """
create table if not exists windows (
    id integer primary key,
    boot text not null,
    seq integer not null,
    is_sent integer not null default 0,
    window blob not null,
    unique (boot, seq)
)
"""

logger = logging.getLogger(__name__)


class Outbox:
    """Windows of this boot and of earlier ones.

    Args:
        path: The database file; made when missing, replaced when it is damaged.
        boot: This start of the agent.
        max_windows: Most windows that are kept.

    Raises:
        StorageError: The file cannot be used.
    """

    def __init__(self, path: Path, boot: str, max_windows: int) -> None:
        self._boot = boot
        self._max = max_windows
        self._path = path
        self._connection = self._open()
        with self._storage_errors("count"):
            self._count = int(self._connection.execute("select count(*) from windows").fetchone()[0])
        self._next_seq = 0

    def _open(self) -> sqlite3.Connection:
        try:
            return _connect(self._path)
        except sqlite3.DatabaseError as error:
            if not isinstance(error, sqlite3.OperationalError):
                logger.warning("outbox %s is damaged (%s), put aside", self._path, error)
                with contextlib.suppress(OSError, sqlite3.Error):
                    self._path.replace(self._path.with_name(self._path.name + ".damaged"))
                    return _connect(self._path)
            raise StorageError(f"outbox {self._path} cannot be opened: {error}") from error

    @contextlib.contextmanager
    def _storage_errors(self, what: str) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StorageError(f"outbox {self._path}: cannot {what}: {error}") from error

    def __len__(self) -> int:
        return self._count

    def add(self, windows: list[TelemetryWindow]) -> int:
        """Put windows in, in order.

        Returns:
            How many old ones were dropped for them; 0 unless it is full of windows that cannot be merged.

        Raises:
            StorageError: None of them is in.
        """
        rows = [
            (self._boot, self._next_seq + index, msgspec.json.encode(window))
            for index, window in enumerate(windows)
        ]
        with self._storage_errors("add windows"), self._connection:
            self._connection.executemany("insert into windows (boot, seq, window) values (?, ?, ?)", rows)
        self._next_seq += len(rows)
        self._count += len(rows)
        return self._shrink() if self._count > self._max else 0

    def next_batch(self) -> Telemetry | None:
        """The oldest windows, all of one boot; None when there are none. They stay in until acknowledged.

        Raises:
            StorageError: The file cannot be used.
        """
        with self._storage_errors("read windows"), self._connection:
            rows = self._connection.execute(
                "select id, boot, seq, window from windows"
                " where boot = (select boot from windows order by id limit 1) order by id limit ?",
                (BATCH_WINDOWS,),
            ).fetchall()
            if not rows:
                return None
            windows = [(row, seq, _parse_window(content)) for row, _, seq, content in rows]
            self._connection.execute("update windows set is_sent = 1 where id <= ?", (rows[-1][0],))
            damaged = [(row,) for row, _, window in windows if window is None]
            self._connection.executemany("delete from windows where id = ?", damaged)
        self._count -= len(damaged)
        readable = [
            SequencedWindow(seq=seq, window=window) for _, seq, window in windows if window is not None
        ]
        if not readable:
            return self.next_batch()
        return Telemetry(v=WIRE_VERSION, boot=rows[0][1], windows=tuple(readable))

    def acknowledge(self, boot: str, seq: int) -> int:
        """Give away what the server has: windows of a boot up to a number, and only such that were sent.

        Returns:
            How many there were.

        Raises:
            StorageError: They are still in.
        """
        with self._storage_errors("give windows away"), self._connection:
            freed = self._connection.execute(
                "delete from windows where boot = ? and seq <= ? and is_sent = 1", (boot, seq)
            ).rowcount
        self._count -= freed
        return freed

    def _shrink(self) -> int:
        """Merge old windows; drop the oldest where that does not help. How many were dropped."""
        with self._storage_errors("merge windows"), self._connection:
            self._merge_oldest()
            self._count = int(self._connection.execute("select count(*) from windows").fetchone()[0])
            excess = max(0, self._count - self._max)
            self._connection.execute(
                "delete from windows where id in (select id from windows order by id limit ?)", (excess,)
            )
            self._count -= excess
        return excess

    def _merge_oldest(self) -> None:
        """Merge the oldest windows that were never sent, each with the next one of its kind.

        The later number stays: it was never sent, so the server cannot take the merged window for one it has.
        """
        rows = self._connection.execute(
            "select id, boot, window from windows where is_sent = 0 order by id limit ?", (_MERGE_ROWS,)
        )
        waiting: dict[tuple[str, Key], tuple[int, TelemetryWindow]] = {}
        merged: list[tuple[bytes, int]] = []
        gone: list[tuple[int]] = []
        for row, boot, content in rows:
            window = _parse_window(content)
            if window is None:
                continue
            earlier = waiting.pop((boot, window_key(window)), None)
            if earlier is None:
                waiting[boot, window_key(window)] = (row, window)
            else:
                gone.append((earlier[0],))
                merged.append((msgspec.json.encode(merge_windows(earlier[1], window)), row))
        self._connection.executemany("delete from windows where id = ?", gone)
        self._connection.executemany("update windows set window = ? where id = ?", merged)

    def close(self) -> None:
        """Close the file; what is in stays for the next start."""
        self._connection.close()


def _parse_window(content: bytes) -> TelemetryWindow | None:
    """A stored window; None when the disk has damaged it."""
    try:
        return msgspec.json.decode(content, type=TelemetryWindow)
    except msgspec.DecodeError as error:
        logger.warning("a window is damaged and dropped: %s", error)
        return None


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_BUSY_S)
    try:
        connection.execute("pragma journal_mode = wal")
        connection.execute("pragma synchronous = normal")
        connection.execute(_SCHEMA)
        connection.execute("select count(*) from windows").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection
