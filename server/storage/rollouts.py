"""Rows about rollouts and their deployments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec
from sqlalchemy import Connection, insert, select, update
from sqlalchemy.engine import Row

from contract.deployment import Reason, State
from server.rollout.engine import RolloutState
from server.storage import schema


@dataclass(frozen=True)
class RolloutRecord:
    """A rollout.

    Attributes:
        id: Its id.
        model: Model name.
        version: Version it brings.
        trial_s: How long each device watches the new version, seconds.
        shares: Cumulative share of the devices per phase; the last is 1.
        state: Where it is.
        stop_wanted: Whether an operator stopped it.
        reason: Why it stopped; empty otherwise.
        created_at: When it was made.
        ended_at: When it ended; None while it runs.
    """

    id: str
    model: str
    version: str
    trial_s: float
    shares: tuple[float, ...]
    state: RolloutState
    stop_wanted: bool
    reason: str
    created_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True)
class DeploymentRecord:
    """One device's run of a rollout.

    Attributes:
        id: Its id.
        rollout: The rollout's.
        device: The device's.
        phase: Phase it belongs to, from 0.
        state: Where it is; None before it was assigned.
        reason: When failed.
        detail: For people.
        step: Of the newest change taken over; -1 before the first.
        bytes_done: Bytes fetched so far.
        seconds: Since it began, by the device's clock.
        previous_version: What the device ran before; empty for nothing.
        is_set_back: Whether desired was taken back after a failure.
        ended_at: When it ended; None before.
    """

    id: str
    rollout: str
    device: str
    phase: int
    state: State | None
    reason: Reason | None
    detail: str
    step: int
    bytes_done: int
    seconds: float
    previous_version: str
    is_set_back: bool
    ended_at: datetime | None


class RolloutRows:
    """Rollouts and deployments within one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, rollout: RolloutRecord, deployments: Sequence[DeploymentRecord]) -> None:
        """Record a new rollout with all its deployments."""
        row = {key: getattr(rollout, key) for key in rollout.__dataclass_fields__}
        row |= {"shares": msgspec.json.encode(rollout.shares).decode(), "state": rollout.state.value}
        self._connection.execute(insert(schema.rollouts).values(row))
        self._connection.execute(insert(schema.deployments), [_row(entry) for entry in deployments])

    def find(self, rollout: str) -> RolloutRecord | None:
        """One rollout; None when unknown."""
        table = schema.rollouts
        row = self._connection.execute(select(table).where(table.c.id == rollout)).first()
        return None if row is None else _rollout(row)

    def newest(self, limit: int) -> list[RolloutRecord]:
        """The newest rollouts, newest first."""
        statement = select(schema.rollouts).order_by(schema.rollouts.c.created_at.desc()).limit(limit)
        return [_rollout(row) for row in self._connection.execute(statement)]

    def running(self) -> list[RolloutRecord]:
        """Every rollout that has not ended, oldest first."""
        table = schema.rollouts
        statement = select(table).where(table.c.state == RolloutState.RUNNING.value)
        return [_rollout(row) for row in self._connection.execute(statement.order_by(table.c.created_at))]

    def want_stop(self, rollout: str) -> None:
        """Record that an operator stopped a rollout."""
        table = schema.rollouts
        self._connection.execute(update(table).where(table.c.id == rollout).values(stop_wanted=True))

    def end(self, rollout: str, state: RolloutState, *, reason: str, at: datetime) -> None:
        """Record a rollout's end."""
        table = schema.rollouts
        values = {"state": state.value, "reason": reason, "ended_at": at}
        self._connection.execute(update(table).where(table.c.id == rollout).values(values))

    def deployments(self, rollout: str) -> list[DeploymentRecord]:
        """All deployments of a rollout, by phase and device."""
        table = schema.deployments
        statement = select(table).where(table.c.rollout == rollout).order_by(table.c.phase, table.c.device)
        return [_deployment(row) for row in self._connection.execute(statement)]

    def deployment(self, deployment: str) -> DeploymentRecord | None:
        """One deployment; None when unknown."""
        table = schema.deployments
        row = self._connection.execute(select(table).where(table.c.id == deployment)).first()
        return None if row is None else _deployment(row)

    def set_deployment(self, record: DeploymentRecord) -> None:
        """Replace a deployment."""
        table = schema.deployments
        self._connection.execute(update(table).where(table.c.id == record.id).values(_row(record)))


def _row(record: DeploymentRecord) -> dict[str, object]:
    row = {key: getattr(record, key) for key in record.__dataclass_fields__}
    return row | {
        "state": None if record.state is None else record.state.value,
        "reason": None if record.reason is None else record.reason.value,
    }


def _rollout(row: Row[tuple[object, ...]]) -> RolloutRecord:
    fields = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's documented way to a row's mapping
    fields["shares"] = tuple(msgspec.json.decode(row.shares, type=list[float]))
    fields["state"] = RolloutState(row.state)
    return RolloutRecord(**fields)


def _deployment(row: Row[tuple[object, ...]]) -> DeploymentRecord:
    fields = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's documented way to a row's mapping
    fields["state"] = None if row.state is None else State(row.state)
    fields["reason"] = None if row.reason is None else Reason(row.reason)
    return DeploymentRecord(**fields)
