"""What the rest of the server sees of the database: transactions with rows in them.

Guarantees: nothing outside this package holds a connection or knows a table.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection

from server.storage.benches import BenchRows
from server.storage.database import Database
from server.storage.devices import DeviceRows
from server.storage.observations import EventRows, TelemetryRows
from server.storage.releases import ReleaseRows
from server.storage.rollouts import RolloutRows


@dataclass(frozen=True)
class Rows:
    """Everything stored, within one transaction."""

    devices: DeviceRows
    releases: ReleaseRows
    rollouts: RolloutRows
    telemetry: TelemetryRows
    events: EventRows
    benches: BenchRows


class Storage:
    """The server's memory.

    Args:
        path: The database file; made and migrated when needed.

    Raises:
        StorageError: It cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self._database = Database(path)

    @contextlib.contextmanager
    def read(self) -> Iterator[Rows]:
        """One consistent view."""
        with self._database.read() as connection:
            yield _rows(connection)

    @contextlib.contextmanager
    def write(self) -> Iterator[Rows]:
        """One transaction; commits at the end, rolls back on any exception; one at a time."""
        with self._database.write() as connection:
            yield _rows(connection)

    def close(self) -> None:
        """Close the database."""
        self._database.close()


def _rows(connection: Connection) -> Rows:
    return Rows(
        devices=DeviceRows(connection),
        releases=ReleaseRows(connection),
        rollouts=RolloutRows(connection),
        telemetry=TelemetryRows(connection),
        events=EventRows(connection),
        benches=BenchRows(connection),
    )
