"""The tables, as the newest migration leaves them.

Every time is stored in UTC; documents that the server only hands on are JSON text. A test compares this with what
the migrations make.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    false,
)


class UtcDateTime(TypeDecorator[datetime]):
    """Aware datetimes, stored in UTC: SQLite keeps no time zone."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """From any time zone to naive UTC; naive input is a bug."""
        del dialect
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value} has no time zone")
        return value.astimezone(timezone.utc).replace(tzinfo=None)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Back to aware UTC."""
        del dialect
        return None if value is None else value.replace(tzinfo=timezone.utc)


metadata = MetaData()

devices = Table(
    "devices",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("profile", String(63), nullable=False),
    Column("password_hash", Text, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("online", Boolean, nullable=False),
    Column("boot", String(64), nullable=False),
    Column("session", Integer, nullable=False),
    Column("agent_version", String(64), nullable=False),
    Column("last_seen", UtcDateTime),
    Column("info", Text),
)

desired = Table(
    "desired",
    metadata,
    Column("device", String(64), ForeignKey("devices.id"), primary_key=True),
    Column("revision", Integer, nullable=False),
    Column("models", Text, nullable=False),
    Column("changed_at", UtcDateTime, nullable=False),
)

reported = Table(
    "reported",
    metadata,
    Column("device", String(64), ForeignKey("devices.id"), primary_key=True),
    Column("revision", Integer, nullable=False),
    Column("models", Text, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("heat", Text),
)

releases = Table(
    "releases",
    metadata,
    Column("model", String(63), primary_key=True),
    Column("version", String(64), primary_key=True),
    Column("profile", String(63), primary_key=True),
    Column("manifest_sha256", String(64), nullable=False),
    Column("published_at", UtcDateTime, nullable=False),
)

rollouts = Table(
    "rollouts",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("model", String(63), nullable=False),
    Column("version", String(64), nullable=False),
    Column("trial_s", Float, nullable=False),
    Column("shares", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("stop_wanted", Boolean, nullable=False),
    Column("reason", String(32), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("ended_at", UtcDateTime),
    Index("ix_rollouts_state", "state"),
)

deployments = Table(
    "deployments",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("rollout", String(64), ForeignKey("rollouts.id"), nullable=False),
    Column("device", String(64), ForeignKey("devices.id"), nullable=False),
    Column("phase", Integer, nullable=False),
    Column("state", String(16)),
    Column("reason", String(32)),
    Column("detail", Text, nullable=False),
    Column("step", Integer, nullable=False),
    Column("bytes_done", Integer, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("previous_version", String(64), nullable=False),
    Column("is_set_back", Boolean, nullable=False),
    Column("ended_at", UtcDateTime),
    UniqueConstraint("rollout", "device", name="uq_deployments_rollout_device"),
)

telemetry_windows = Table(
    "telemetry_windows",
    metadata,
    Column("device", String(64), ForeignKey("devices.id"), primary_key=True),
    Column("boot", String(64), primary_key=True),
    Column("seq", Integer, primary_key=True),
    Column("model", String(64), nullable=False),
    Column("version", String(64), nullable=False),
    Column("variant", String(64), nullable=False),
    Column("start", UtcDateTime, nullable=False),
    Column("duration_s", Float, nullable=False),
    Column("requests", Integer, nullable=False),
    Column("errors", Integer, nullable=False),
    Column("latency", Text, nullable=False),
    Column("rss_bytes", Integer, nullable=False),
    Column("received_at", UtcDateTime, nullable=False),
    Column("delegate", Text),
    Column("is_throttled", Boolean, nullable=False, server_default=false()),
    Index("ix_telemetry_windows_received_at", "received_at"),
)

telemetry_totals = Table(
    "telemetry_totals",
    metadata,
    Column("device", String(64), ForeignKey("devices.id"), primary_key=True),
    Column("model", String(64), primary_key=True),
    Column("version", String(64), primary_key=True),
    Column("variant", String(64), primary_key=True),
    Column("windows", Integer, nullable=False),
    Column("requests", Integer, nullable=False),
    Column("errors", Integer, nullable=False),
    Column("latency", Text, nullable=False),
    Column("rss_bytes", Integer, nullable=False),
    Column("first", UtcDateTime, nullable=False),
    Column("last", UtcDateTime, nullable=False),
    Column("delegate", Text),
    Column("throttled_windows", Integer, nullable=False, server_default="0"),
    Column("throttled_requests", Integer, nullable=False, server_default="0"),
)

events = Table(
    "events",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("device", String(64), ForeignKey("devices.id"), nullable=False),
    Column("kind", String(32), nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("model", String(64), nullable=False),
    Column("version", String(64), nullable=False),
    Column("reason", String(32)),
    Column("detail", Text, nullable=False),
    Column("received_at", UtcDateTime, nullable=False),
    UniqueConstraint("device", "kind", "at", "model", "version", name="uq_events_occurrence"),
    Index("ix_events_received_at", "received_at"),
    sqlite_autoincrement=True,
)

benches = Table(
    "benches",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("device", String(64), ForeignKey("devices.id"), nullable=False),
    Column("id", String(64), nullable=False),
    Column("model", String(64), nullable=False),
    Column("version", String(64), nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("received_at", UtcDateTime, nullable=False),
    Column("document", Text, nullable=False),
    UniqueConstraint("device", "id", name="uq_benches_device_id"),
    sqlite_autoincrement=True,
)
