"""Rows about benches: what one model did on one board, as the device sent it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import msgspec
from sqlalchemy import Connection, delete, select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.engine import Row

from contract.bench import Bench, BenchResult
from server.storage import schema

KEPT = 50
"""Benches kept per device and model, the newest; one takes some 2 KiB."""
KEPT_OF_DEVICE = 500
"""Benches kept per device, whatever names of models it sends."""


@dataclass(frozen=True)
class BenchRecord:
    """A bench.

    Attributes:
        id: As the device calls it.
        device: Device id.
        at: When it began, by the device's clock.
        received_at: When it came.
        result: What was seen.
    """

    id: str
    device: str
    at: datetime
    received_at: datetime
    result: BenchResult


class BenchRows:
    """Benches within one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, device: str, bench: Bench, *, at: datetime) -> bool:
        """Record a bench once, however often it is sent; false when it was known.

        Of one device and model the newest ``KEPT`` stay, of one device the newest ``KEPT_OF_DEVICE``.
        """
        table = schema.benches
        row = {
            "device": device,
            "id": bench.id,
            "model": bench.result.model,
            "version": bench.result.version,
            "at": bench.at,
            "received_at": at,
            "document": msgspec.json.encode(bench.result).decode(),
        }
        statement = insert(table).values(row).on_conflict_do_nothing()
        if self._connection.execute(statement).rowcount != 1:
            return False
        of_device = table.c.device == device
        for place, most in (
            (of_device & (table.c.model == bench.result.model), KEPT),
            (of_device, KEPT_OF_DEVICE),
        ):
            newest = select(table.c.number).where(place).order_by(table.c.number.desc()).limit(most)
            self._connection.execute(delete(table).where(place, table.c.number.not_in(newest)))
        return True

    def newest(
        self,
        *,
        limit: int,
        model: str | None = None,
        device: str | None = None,
        version: str | None = None,
    ) -> list[BenchRecord]:
        """The newest benches, or those of a model, device or version, newest first."""
        table = schema.benches
        statement = select(table).order_by(table.c.number.desc()).limit(limit)
        for column, wanted in ((table.c.model, model), (table.c.device, device), (table.c.version, version)):
            if wanted is not None:
                statement = statement.where(column == wanted)
        return [_bench(row) for row in self._connection.execute(statement)]

    def find(self, device: str, bench: str) -> BenchRecord | None:
        """One bench of a device; None when there is none."""
        table = schema.benches
        place = (table.c.device == device) & (table.c.id == bench)
        row = self._connection.execute(select(table).where(place)).first()
        return None if row is None else _bench(row)


def _bench(row: Row[tuple[object, ...]]) -> BenchRecord:
    return BenchRecord(
        id=row.id,
        device=row.device,
        at=row.at,
        received_at=row.received_at,
        result=msgspec.json.decode(row.document, type=BenchResult),
    )
