"""Opens the SQLite database: migrations at start, one writer at a time, short transactions.

Guarantees: a committed write survives a power cut (WAL with ``synchronous=FULL``), since a device frees its outbox
on the word that its telemetry is committed; readers never wait for the writer; the database engine's own failures
come out as ``StorageError``.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import alembic.command
import alembic.config
from sqlalchemy import URL, Connection, create_engine, event
from sqlalchemy.exc import DBAPIError, OperationalError

from contract.errors import StorageError

BUSY_TIMEOUT_MS = 10_000
"""How long another process (a backup) may hold the database before a write fails."""
POOLED = 5
AT_ONCE = 60
"""Connections at once: more than the HTTP server has threads (40, anyio's default), so that none waits for one."""
_MIGRATIONS = Path(__file__).parent / "migrations"
_WRITE = "litefleet_write"


class Database:
    """One SQLite file.

    Args:
        path: Created with mode 0600 when missing.

    Raises:
        StorageError: It cannot be opened or migrated.
    """

    def __init__(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        except OSError as error:
            raise StorageError(f"database {path} cannot be opened: {error.strerror}") from error
        self._engine = create_engine(
            URL.create("sqlite", database=str(path)), pool_size=POOLED, max_overflow=AT_ONCE - POOLED
        )
        event.listen(self._engine, "connect", _set_pragmas)
        event.listen(self._engine, "begin", _begin)
        self._writing = self._engine.execution_options(**{_WRITE: True})
        self._writer = threading.Lock()
        try:
            with self.write() as connection:
                _migrate(connection)
        except BaseException:
            self.close()
            raise

    @contextlib.contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction that may change things; commits at the end, rolls back on any exception.

        Raises:
            StorageError: The disk is full or failing, or the file is damaged.
        """
        with self._writer, _wrapped(), self._writing.begin() as connection:
            yield connection

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """One consistent view.

        Raises:
            StorageError: The disk is failing, or the file is damaged.
        """
        with _wrapped(), self._engine.begin() as connection:
            yield connection

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()


def _migrate(connection: Connection) -> None:
    settings = alembic.config.Config()
    settings.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    settings.attributes["connection"] = connection
    alembic.command.upgrade(settings, "head")


@contextlib.contextmanager
def _wrapped() -> Iterator[None]:
    try:
        yield
    except OperationalError as error:
        raise StorageError(f"the database failed: {error.orig}") from error
    except DBAPIError as error:
        # Anything else that SQLite itself reports is a damaged file; wrong statements stay bugs.
        if type(error.orig).__name__ != "DatabaseError":
            raise
        raise StorageError(f"the database is damaged: {error.orig}") from error


def _set_pragmas(connection: Any, record: object) -> None:
    del record
    connection.isolation_level = None  # the driver begins nothing by itself; ``_begin`` does
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _begin(connection: Connection) -> None:
    # A write transaction takes its lock at once instead of failing half-way.
    writes = connection.get_execution_options().get(_WRITE, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
