"""Rows about devices: who they are, what they are to have, what they have."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

import msgspec
from sqlalchemy import Connection, insert, select, update
from sqlalchemy.dialects.sqlite import insert as upsert
from sqlalchemy.engine import Row
from sqlalchemy.exc import IntegrityError

from contract.errors import ConflictError
from contract.heat import HeatReport
from contract.messages import WIRE_VERSION, Desired, DesiredModel, DeviceInfo, Reported, ReportedModel
from server.storage import schema

_DESIRED = msgspec.json.Decoder(dict[str, DesiredModel])
_REPORTED = msgspec.json.Decoder(dict[str, ReportedModel])


@dataclass(frozen=True)
class DeviceRecord:
    """A device as the server knows it.

    Attributes:
        id: Its id.
        profile: Its profile.
        online: Whether its newest connection stands, as far as is known.
        boot: Of its newest birth; empty before the first.
        session: Of its newest birth.
        agent_version: Of its newest birth; empty before the first.
        last_seen: When its newest message came; None before the first.
        created_at: When it was added.
        info: What it said of itself; None before it did.
    """

    id: str
    profile: str
    online: bool
    boot: str
    session: int
    agent_version: str
    last_seen: datetime | None
    created_at: datetime
    info: DeviceInfo | None


@dataclass(frozen=True)
class DesiredRecord:
    """A desired document, and when it last changed."""

    document: Desired
    changed_at: datetime


class DeviceRows:
    """Devices within one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, device: str, *, profile: str, password_hash: str, at: datetime) -> None:
        """Let a device in, with an empty desired document.

        Raises:
            ConflictError: There is one of this id.
        """
        row = {"id": device, "profile": profile, "password_hash": password_hash, "created_at": at}
        unknown = {"online": False, "boot": "", "session": 0, "agent_version": ""}
        try:
            self._connection.execute(insert(schema.devices).values(row | unknown))
        except IntegrityError as error:
            raise ConflictError(
                f"device {device!r} is already known", remedy="choose another id; ids are never used again"
            ) from error
        self.set_desired(device, Desired(v=WIRE_VERSION, revision=0, models={}), at=at)

    def find(self, device: str) -> DeviceRecord | None:
        """One device; None when unknown."""
        row = self._connection.execute(select(schema.devices).where(schema.devices.c.id == device)).first()
        return None if row is None else _device(row)

    def all(self) -> list[DeviceRecord]:
        """Every device, by id."""
        return [_device(row) for row in self._connection.execute(_ALL_DEVICES)]

    def online(self) -> set[str]:
        """Ids of all devices whose connection stands."""
        table = schema.devices
        return {row.id for row in self._connection.execute(select(table.c.id).where(table.c.online))}

    def password_hashes(self) -> dict[str, str]:
        """The broker's password hash of every device."""
        table = schema.devices
        rows = self._connection.execute(select(table.c.id, table.c.password_hash).order_by(table.c.id))
        return {row.id: row.password_hash for row in rows}

    def of_profiles(self, profiles: Collection[str]) -> list[str]:
        """Ids of all devices with one of these profiles, by id."""
        table = schema.devices
        rows = self._connection.execute(
            select(table.c.id).where(table.c.profile.in_(profiles)).order_by(table.c.id)
        )
        return [row.id for row in rows]

    def set_presence(self, device: str, *, online: bool, boot: str, session: int, agent_version: str) -> None:
        """Record a birth or death."""
        self._update(
            device, {"online": online, "boot": boot, "session": session, "agent_version": agent_version}
        )

    def set_info(self, device: str, info: DeviceInfo) -> None:
        """Record what a device says of itself."""
        self._update(device, {"info": msgspec.json.encode(info).decode()})

    def touch(self, devices: Collection[str], at: datetime) -> None:
        """Record that messages of these devices came."""
        table = schema.devices
        self._connection.execute(update(table).where(table.c.id.in_(devices)).values(last_seen=at))

    def set_all_offline(self) -> None:
        """No connection stands any more: the broker was started anew."""
        self._connection.execute(update(schema.devices).values(online=False))

    def desired(self, device: str) -> DesiredRecord | None:
        """The desired document of a device; None when it is unknown."""
        table = schema.desired
        row = self._connection.execute(select(table).where(table.c.device == device)).first()
        return None if row is None else _desired(row)

    def all_desired(self) -> dict[str, DesiredRecord]:
        """The desired document of every device."""
        return {row.device: _desired(row) for row in self._connection.execute(select(schema.desired))}

    def set_desired(self, device: str, document: Desired, *, at: datetime) -> None:
        """Replace the desired document of a device."""
        row = {
            "revision": document.revision,
            "models": msgspec.json.encode(document.models, order="deterministic").decode(),
            "changed_at": at,
        }
        statement = upsert(schema.desired).values({"device": device} | row)
        self._connection.execute(statement.on_conflict_do_update(index_elements=["device"], set_=row))

    def reported(self, device: str) -> Reported | None:
        """What a device has; None before it said so."""
        table = schema.reported
        row = self._connection.execute(select(table).where(table.c.device == device)).first()
        return None if row is None else _reported(row)

    def all_reported(self) -> dict[str, Reported]:
        """What every device has, as far as it said so."""
        return {row.device: _reported(row) for row in self._connection.execute(select(schema.reported))}

    def set_reported(self, device: str, document: Reported, *, at: datetime) -> None:
        """Record what a device has."""
        row = {
            "revision": document.revision,
            "models": msgspec.json.encode(document.models).decode(),
            "heat": None if document.heat is None else msgspec.json.encode(document.heat).decode(),
            "at": at,
        }
        statement = upsert(schema.reported).values({"device": device} | row)
        self._connection.execute(statement.on_conflict_do_update(index_elements=["device"], set_=row))

    def _update(self, device: str, values: dict[str, object]) -> None:
        table = schema.devices
        self._connection.execute(update(table).where(table.c.id == device).values(values))


_ALL_DEVICES = select(schema.devices).order_by(schema.devices.c.id)


def _device(row: Row[tuple[object, ...]]) -> DeviceRecord:
    return DeviceRecord(
        id=row.id,
        profile=row.profile,
        online=row.online,
        boot=row.boot,
        session=row.session,
        agent_version=row.agent_version,
        last_seen=row.last_seen,
        created_at=row.created_at,
        info=None if row.info is None else msgspec.json.decode(row.info, type=DeviceInfo),
    )


def _desired(row: Row[tuple[object, ...]]) -> DesiredRecord:
    models = _DESIRED.decode(row.models)
    return DesiredRecord(Desired(v=WIRE_VERSION, revision=row.revision, models=models), row.changed_at)


def _reported(row: Row[tuple[object, ...]]) -> Reported:
    heat = None if row.heat is None else msgspec.json.decode(row.heat, type=HeatReport)
    return Reported(v=WIRE_VERSION, revision=row.revision, models=_REPORTED.decode(row.models), heat=heat)
