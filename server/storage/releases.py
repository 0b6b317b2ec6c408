"""Rows about releases: which manifest stands for a model, version and profile."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select
from sqlalchemy.dialects.sqlite import insert

from server.storage import schema


@dataclass(frozen=True)
class ReleaseRecord:
    """A release: the profiles that a version of a model has bundles for, and when the first was published."""

    model: str
    version: str
    profiles: tuple[str, ...]
    published_at: datetime


class ReleaseRows:
    """Releases within one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def find(self, model: str, version: str) -> dict[str, str]:
        """Profile to manifest sha256 of a release; empty when there is none."""
        table = schema.releases
        statement = select(table).where(table.c.model == model, table.c.version == version)
        return {row.profile: row.manifest_sha256 for row in self._connection.execute(statement)}

    def add(self, model: str, version: str, profile: str, *, manifest_sha256: str, at: datetime) -> None:
        """Record one profile of a release; what is there already stays."""
        statement = insert(schema.releases).values(
            model=model,
            version=version,
            profile=profile,
            manifest_sha256=manifest_sha256,
            published_at=at,
        )
        self._connection.execute(statement.on_conflict_do_nothing())

    def all(self) -> list[ReleaseRecord]:
        """Every release, newest first."""
        found: dict[tuple[str, str], ReleaseRecord] = {}
        table = schema.releases
        for row in self._connection.execute(select(table).order_by(table.c.published_at, table.c.profile)):
            known = found.get((row.model, row.version))
            profiles = () if known is None else known.profiles
            at = row.published_at if known is None else known.published_at
            found[row.model, row.version] = ReleaseRecord(
                row.model, row.version, (*profiles, row.profile), at
            )
        return sorted(found.values(), key=lambda record: record.published_at, reverse=True)
