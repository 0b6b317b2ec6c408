from __future__ import annotations

import sqlite3
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy.exc import StatementError

from contract.delegation import DelegateReport
from contract.errors import ConflictError, StorageError
from contract.heat import HeatCause, HeatLevel, HeatReport
from contract.messages import Event, EventKind, Reported
from server.storage.database import Database
from server.storage.releases import ReleaseRecord
from server.storage.repository import Storage
from server.storage.schema import metadata
from tests.support.builders import PROFILE
from tests.support.server_device import a_window
from tests.support.server_storage import NOON, OTHER_PROFILE, a_storage


def test_the_migrations_make_what_the_schema_says(tmp_path: Path) -> None:
    database = Database(tmp_path / "litefleet.db")
    with database.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    database.close()


def test_the_database_is_its_owners_and_survives_a_power_cut(tmp_path: Path) -> None:
    path = tmp_path / "litefleet.db"
    database = Database(path)
    assert path.stat().st_mode & 0o777 == 0o600
    with database.read() as connection:
        settings = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }
    assert settings == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
    database.close()


def test_a_failed_transaction_leaves_nothing(tmp_path: Path) -> None:
    def add_and_fail(storage: Storage) -> None:
        with storage.write() as rows:
            rows.devices.add("d", profile=PROFILE, password_hash="h", at=NOON)
            raise ZeroDivisionError

    with a_storage(tmp_path) as storage:
        with pytest.raises(ZeroDivisionError):
            add_and_fail(storage)
        with storage.read() as rows:
            assert rows.devices.all() == []


def test_a_damaged_file_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "litefleet.db").write_bytes(b"this is no database" * 1000)
    with pytest.raises(StorageError, match="damaged"):
        Storage(tmp_path / "litefleet.db")


def test_a_database_that_is_held_by_another_is_a_storage_error(tmp_path: Path) -> None:
    with a_storage(tmp_path) as storage:
        other = sqlite3.connect(tmp_path / "litefleet.db", isolation_level=None)
        with storage._database._writing.connect() as connection:
            connection.exec_driver_sql("PRAGMA busy_timeout = 1")
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageError, match="locked"), storage.write():
            pytest.fail("not reached")
        other.close()


def test_a_place_that_cannot_be_written_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be opened"):
        Storage(tmp_path / "file" / "litefleet.db")


def test_a_time_without_a_zone_is_a_bug_and_not_a_storage_error(tmp_path: Path) -> None:
    naive = datetime(2026, 11, 21)  # noqa: DTZ001 - the test is that it is refused
    with (
        a_storage(tmp_path) as storage,
        storage.write() as rows,
        pytest.raises(StatementError, match="no time zone"),
    ):
        rows.devices.add("d", profile=PROFILE, password_hash="h", at=naive)


def test_times_come_back_in_utc(tmp_path: Path) -> None:
    east = datetime(2026, 11, 21, 14, tzinfo=timezone(timedelta(hours=2)))
    with a_storage(tmp_path) as storage:
        with storage.write() as rows:
            rows.devices.add("d", profile=PROFILE, password_hash="h", at=east)
        with storage.read() as rows:
            (device,) = rows.devices.all()
    assert device.created_at == NOON
    assert device.created_at.tzinfo is timezone.utc
    assert device.last_seen is None


def test_a_device_is_let_in_once(tmp_path: Path) -> None:
    with a_storage(tmp_path, "d") as storage, pytest.raises(ConflictError), storage.write() as rows:
        rows.devices.add("d", profile=PROFILE, password_hash="h", at=NOON)


FELL_BACK = DelegateReport(
    requested="edgetpu", actual="xnnpack", nodes_total=9, nodes_delegated=8, reason="no-device"
)


def test_windows_are_counted_once_and_their_totals_stay(tmp_path: Path) -> None:
    with a_storage(tmp_path, "d", "e") as storage:
        with storage.write() as rows:
            assert rows.telemetry.add("d", "b1", [a_window(1), a_window(0)], at=NOON) == 2
            newest = a_window(2, errors=3, delegate=FELL_BACK)
            assert rows.telemetry.add("d", "b1", [a_window(1), newest], at=NOON) == 1
            assert rows.telemetry.add("d", "b2", [a_window(1, version="1.1.0")], at=NOON) == 1
            assert rows.telemetry.add("e", "b1", [a_window(1)], at=NOON) == 1
            rows.telemetry.forget_before(NOON + timedelta(seconds=1))
        with storage.read() as rows:
            (total,) = rows.telemetry.totals(device="d", version="1.0.0", model="digits")
            everything = rows.telemetry.totals()
        assert (total.windows, total.requests, total.errors, total.latency.count) == (3, 30, 3, 30)
        assert total.rss_bytes == 50_000_002
        assert (total.delegate, everything[1].delegate) == (FELL_BACK, None)
        assert total.first == datetime(2026, 11, 21, 12, tzinfo=timezone.utc)
        assert total.last == datetime(2026, 11, 21, 12, 0, 3, tzinfo=timezone.utc)
        assert [(row.device, row.version) for row in everything] == [
            ("d", "1.0.0"),
            ("d", "1.1.0"),
            ("e", "1.0.0"),
        ]
        with storage._database.read() as connection:
            assert connection.exec_driver_sql("select count(*) from telemetry_windows").scalar() == 0


def test_throttled_windows_are_counted_apart(tmp_path: Path) -> None:
    with a_storage(tmp_path, "d") as storage:
        with storage.write() as rows:
            rows.telemetry.add("d", "b1", [a_window(0, is_throttled=True), a_window(1)], at=NOON)
            rows.telemetry.add("d", "b1", [a_window(2), a_window(3, is_throttled=True)], at=NOON)
        with storage.read() as rows:
            (total,) = rows.telemetry.totals()
        assert (total.windows, total.throttled_windows) == (4, 2)
        assert (total.requests, total.throttled_requests) == (40, 20)
        with storage._database.read() as connection:
            marked = connection.exec_driver_sql(
                "select seq from telemetry_windows where is_throttled"
            ).scalars()
            assert sorted(marked) == [0, 3]


def test_heat_is_reported_until_the_next_report(tmp_path: Path) -> None:
    heat = HeatReport(level=HeatLevel.EASED, causes=(HeatCause.SOFT_LIMIT,), celsius=81.5)
    with a_storage(tmp_path, "d") as storage:
        for held in (heat, None):
            document = Reported(v=1, revision=1, models={}, heat=held)
            with storage.write() as rows:
                rows.devices.set_reported("d", document, at=NOON)
            with storage.read() as rows:
                assert rows.devices.reported("d") == document


def test_events_are_kept_once_and_forgotten_in_time(tmp_path: Path) -> None:
    event = Event(v=1, kind=EventKind.REFUSED, at=NOON, model="digits", detail="why")
    with a_storage(tmp_path, "d") as storage:
        with storage.write() as rows:
            for _ in range(2):
                rows.events.add("d", event, at=NOON)
        with storage.write() as rows:
            (record,) = rows.events.after(0, limit=10)
            assert rows.events.newest_of("d", limit=10) == [record]
            assert rows.events.after(record.id, limit=10) == []
            rows.events.forget_before(NOON)
            assert rows.events.after(0, limit=10) == [record]
            rows.events.forget_before(NOON + timedelta(seconds=1))
            assert rows.events.after(0, limit=10) == []
    assert (record.kind, record.reason, record.detail) == ("refused", None, "why")


def test_releases_list_their_profiles_newest_first(tmp_path: Path) -> None:
    later = NOON + timedelta(days=1)
    with a_storage(tmp_path) as storage:
        with storage.write() as rows:
            rows.releases.add("digits", "2.0.0", PROFILE, manifest_sha256="a", at=later)
            rows.releases.add("digits", "2.0.0", OTHER_PROFILE, manifest_sha256="b", at=later)
            rows.releases.add("digits", "2.0.0", PROFILE, manifest_sha256="changed", at=later)
        with storage.read() as rows:
            assert rows.releases.find("digits", "2.0.0") == {PROFILE: "a", OTHER_PROFILE: "b"}
            assert rows.releases.find("digits", "9.0.0") == {}
            assert rows.releases.all()[0] == ReleaseRecord("digits", "2.0.0", (PROFILE, OTHER_PROFILE), later)
