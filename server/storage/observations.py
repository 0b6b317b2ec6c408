"""Rows about what devices observed: telemetry windows, their totals, and events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import msgspec
from sqlalchemy import Connection, and_, delete, select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.engine import Row

from contract.delegation import DelegateReport
from contract.histogram import LatencyHistogram
from contract.messages import Event, SequencedWindow, TelemetryWindow
from server.storage import schema

NAME_MAX_CHARS = 64


@dataclass(frozen=True)
class TelemetryTotal:
    """What one variant did on one device, over all windows.

    Attributes:
        device: Device id.
        model: Model name.
        version: Version.
        variant: Variant.
        windows: Number of windows.
        requests: Requests answered, errors included.
        errors: Requests answered with an error.
        latency: Service time of requests without error.
        rss_bytes: Resident memory of the worker at the end of the newest window.
        first: Begin of the oldest window.
        last: End of the newest window.
        delegate: Asked for and got, in the newest window; None when none was told.
        throttled_windows: Number of windows in which heat or power slowed the board.
        throttled_requests: Requests of those.
    """

    device: str
    model: str
    version: str
    variant: str
    windows: int
    requests: int
    errors: int
    latency: LatencyHistogram
    rss_bytes: int
    first: datetime
    last: datetime
    delegate: DelegateReport | None = None
    throttled_windows: int = 0
    throttled_requests: int = 0


@dataclass(frozen=True)
class EventRecord:
    """An event of a device; ``id`` grows with every event."""

    id: int
    device: str
    kind: str
    at: datetime
    model: str
    version: str
    reason: str | None
    detail: str


class TelemetryRows:
    """Telemetry within one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, device: str, boot: str, windows: Sequence[SequencedWindow], *, at: datetime) -> int:
        """Record windows that are not there yet, and count them into the totals.

        Returns:
            How many were new; the others came before.
        """
        totals: dict[tuple[str, str, str], TelemetryTotal] = {}
        new = 0
        for entry in windows:
            if not self._insert(device, boot, entry, at):
                continue
            new += 1
            window = entry.window
            key = (window.model, window.version, window.variant)
            before = totals.get(key) or self._total(device, key)
            totals[key] = _counted(before, device, window)
        for total in totals.values():
            self._set_total(total)
        return new

    def totals(
        self, *, model: str | None = None, device: str | None = None, version: str | None = None
    ) -> list[TelemetryTotal]:
        """All totals, or those of a model, device or version."""
        table = schema.telemetry_totals
        statement = select(table).order_by(*table.primary_key.columns)
        for column, wanted in ((table.c.model, model), (table.c.device, device), (table.c.version, version)):
            if wanted is not None:
                statement = statement.where(column == wanted)
        return [_total(row) for row in self._connection.execute(statement)]

    def forget_before(self, at: datetime) -> None:
        """Delete windows received before a time; their totals stay."""
        table = schema.telemetry_windows
        self._connection.execute(delete(table).where(table.c.received_at < at))

    def _insert(self, device: str, boot: str, entry: SequencedWindow, at: datetime) -> bool:
        window = entry.window
        row = {key: getattr(window, key) for key in window.__struct_fields__}
        row |= {"device": device, "boot": boot, "seq": entry.seq, "received_at": at}
        row["latency"] = msgspec.json.encode(window.latency).decode()
        row["delegate"] = _delegate_text(window.delegate)
        statement = insert(schema.telemetry_windows).values(row).on_conflict_do_nothing()
        return self._connection.execute(statement).rowcount == 1

    def _total(self, device: str, key: tuple[str, str, str]) -> TelemetryTotal | None:
        table = schema.telemetry_totals
        model, version, variant = key
        place = and_(
            table.c.device == device,
            table.c.model == model,
            table.c.version == version,
            table.c.variant == variant,
        )
        row = self._connection.execute(select(table).where(place)).first()
        return None if row is None else _total(row)

    def _set_total(self, total: TelemetryTotal) -> None:
        row = {key: getattr(total, key) for key in total.__dataclass_fields__}
        row["latency"] = msgspec.json.encode(total.latency).decode()
        row["delegate"] = _delegate_text(total.delegate)
        table = schema.telemetry_totals
        places = [column.name for column in table.primary_key.columns]
        changed = {key: value for key, value in row.items() if key not in places}
        statement = insert(table).values(row)
        self._connection.execute(statement.on_conflict_do_update(index_elements=places, set_=changed))


class EventRows:
    """Events within one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, device: str, event: Event, *, at: datetime) -> None:
        """Record an event once: the broker may deliver it twice."""
        row = {
            "device": device,
            "kind": event.kind.value,
            "at": event.at,
            "model": event.model[:NAME_MAX_CHARS],
            "version": event.version[:NAME_MAX_CHARS],
            "reason": None if event.reason is None else event.reason.value,
            "detail": event.detail,
            "received_at": at,
        }
        self._connection.execute(insert(schema.events).values(row).on_conflict_do_nothing())

    def after(self, event: int, *, limit: int) -> list[EventRecord]:
        """Events with a higher id than ``event``, oldest first."""
        table = schema.events
        statement = select(table).where(table.c.id > event).order_by(table.c.id).limit(limit)
        return [_event(row) for row in self._connection.execute(statement)]

    def newest_of(self, device: str, *, limit: int) -> list[EventRecord]:
        """The newest events of a device, newest first."""
        table = schema.events
        statement = select(table).where(table.c.device == device).order_by(table.c.id.desc()).limit(limit)
        return [_event(row) for row in self._connection.execute(statement)]

    def forget_before(self, at: datetime) -> None:
        """Delete events received before a time."""
        table = schema.events
        self._connection.execute(delete(table).where(table.c.received_at < at))


def _counted(total: TelemetryTotal | None, device: str, window: TelemetryWindow) -> TelemetryTotal:
    end = window.start + timedelta(seconds=window.duration_s)
    if total is None:
        return TelemetryTotal(
            device=device,
            model=window.model,
            version=window.version,
            variant=window.variant,
            windows=1,
            requests=window.requests,
            errors=window.errors,
            latency=window.latency,
            rss_bytes=window.rss_bytes,
            first=window.start,
            last=end,
            delegate=window.delegate,
            throttled_windows=int(window.is_throttled),
            throttled_requests=window.requests if window.is_throttled else 0,
        )
    return replace(
        total,
        windows=total.windows + 1,
        requests=total.requests + window.requests,
        errors=total.errors + window.errors,
        latency=total.latency.merged(window.latency),
        rss_bytes=window.rss_bytes if end >= total.last else total.rss_bytes,
        first=min(total.first, window.start),
        last=max(total.last, end),
        delegate=window.delegate if end >= total.last else total.delegate,
        throttled_windows=total.throttled_windows + window.is_throttled,
        throttled_requests=total.throttled_requests + (window.requests if window.is_throttled else 0),
    )


def _total(row: Row[tuple[object, ...]]) -> TelemetryTotal:
    fields = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's documented way to a row's mapping
    fields["latency"] = msgspec.json.decode(row.latency, type=LatencyHistogram)
    fields["delegate"] = (
        None if row.delegate is None else msgspec.json.decode(row.delegate, type=DelegateReport)
    )
    return TelemetryTotal(**fields)


def _delegate_text(report: DelegateReport | None) -> str | None:
    return None if report is None else msgspec.json.encode(report).decode()


def _event(row: Row[tuple[object, ...]]) -> EventRecord:
    return EventRecord(
        id=row.id,
        device=row.device,
        kind=row.kind,
        at=row.at,
        model=row.model,
        version=row.version,
        reason=row.reason,
        detail=row.detail,
    )
