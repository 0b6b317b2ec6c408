"""Devices: let one in, and what is known of all of them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, cast

import msgspec
from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field

from contract.errors import NotFoundError
from contract.heat import HeatReport
from contract.messages import DesiredModel, Reported, ReportedModel
from server.api.auth import require_operator, require_reader
from server.api.benches import BenchView, bench_view
from server.api.delegates import DelegateView, delegate_view
from server.api.events import EventView
from server.config import ServerConfig
from server.enrolment import Enrolment
from server.storage.devices import DesiredRecord, DeviceRecord
from server.storage.repository import Storage

router = APIRouter(prefix="/api/v1/devices")

NEWEST_EVENTS = 50
NEWEST_BENCHES = 10


class NewDevice(BaseModel):
    """A device to let in."""

    model_config = ConfigDict(extra="forbid")

    id: Annotated[str, Field(max_length=128)]
    profile: Annotated[str, Field(max_length=128)]


class MqttAccess(BaseModel):
    """How a device reaches the broker."""

    host: str
    port: int
    prefix: str
    username: str
    password: str


class AddedDevice(BaseModel):
    """Everything that a new device must be given; the password is told here and never again."""

    id: str
    profile: str
    server_url: str
    root: str
    mqtt: MqttAccess


class ModelView(BaseModel):
    """One model on a device: ``desired`` is the version it is to have, the rest is what it reports.

    ``threads`` are those of its interpreter; null when no worker runs, or the agent does not say.
    """

    desired: str | None
    version: str | None
    variant: str | None
    digest: str | None
    deployment: str | None
    state: str | None
    reason: str | None
    detail: str
    delegate: DelegateView | None
    threads: int | None


class HeatView(BaseModel):
    """How much a device holds back because of heat or power, and why; figures are of when it began to."""

    level: str
    causes: list[str]
    celsius: float | None
    battery_ratio: float | None


class DeviceView(BaseModel):
    """A device as the server knows it."""

    id: str
    profile: str
    online: bool
    last_seen: datetime | None
    agent_version: str | None
    revision_desired: int
    revision_reported: int | None
    models: dict[str, ModelView]
    heat: HeatView | None


class DeviceDetails(DeviceView):
    """A device with what it said of itself, its newest events, and its newest benches."""

    created_at: datetime
    info: dict[str, Any] | None
    events: list[EventView]
    benches: list[BenchView]


@router.post("", status_code=201, dependencies=[Depends(require_operator)])
def add_device(request: Request, body: NewDevice) -> AddedDevice:
    """Let a device in."""
    enrolled = cast("Enrolment", request.app.state.enrolment).add(body.id, body.profile)
    config = cast("ServerConfig", request.app.state.config)
    return AddedDevice(
        id=enrolled.id,
        profile=enrolled.profile,
        server_url=config.http_url(),
        root=enrolled.root,
        mqtt=MqttAccess(
            host=config.mqtt.host,
            port=config.mqtt.port,
            prefix=config.mqtt.prefix,
            username=enrolled.id,
            password=enrolled.password,
        ),
    )


@router.get("", dependencies=[Depends(require_reader)])
def get_devices(request: Request) -> list[DeviceView]:
    """All devices, by id."""
    with _storage(request).read() as rows:
        devices, desired, reported = (
            rows.devices.all(),
            rows.devices.all_desired(),
            rows.devices.all_reported(),
        )
    return [
        DeviceView(**_fields(device, desired.get(device.id), reported.get(device.id))) for device in devices
    ]


@router.get("/{device}", dependencies=[Depends(require_reader)])
def get_device(request: Request, device: str) -> DeviceDetails:
    """One device."""
    with _storage(request).read() as rows:
        record = rows.devices.find(device)
        if record is None:
            raise NotFoundError(f"there is no device {device[:80]!r}", remedy="see: litefleet devices")
        fields = _fields(record, rows.devices.desired(device), rows.devices.reported(device))
        events = rows.events.newest_of(device, limit=NEWEST_EVENTS)
        benches = rows.benches.newest(device=device, limit=NEWEST_BENCHES)
    return DeviceDetails(
        **fields,
        created_at=record.created_at,
        info=None if record.info is None else msgspec.to_builtins(record.info),
        events=[EventView.model_validate(event, from_attributes=True) for event in events],
        benches=[bench_view(bench) for bench in benches],
    )


def _fields(device: DeviceRecord, desired: DesiredRecord | None, reported: Reported | None) -> dict[str, Any]:
    wanted = {} if desired is None else desired.document.models
    held = {} if reported is None else reported.models
    return {
        "id": device.id,
        "profile": device.profile,
        "online": device.online,
        "last_seen": device.last_seen,
        "agent_version": device.agent_version or None,
        "revision_desired": 0 if desired is None else desired.document.revision,
        "revision_reported": None if reported is None else reported.revision,
        "models": {name: _model(wanted.get(name), held.get(name)) for name in sorted({*wanted, *held})},
        "heat": None if reported is None else _heat(reported.heat),
    }


def _model(wanted: DesiredModel | None, held: ReportedModel | None) -> ModelView:
    held = held or ReportedModel()
    return ModelView(
        desired=None if wanted is None else wanted.version,
        version=held.version or None,
        variant=held.variant or None,
        digest=held.digest or None,
        deployment=held.deployment or None,
        state=None if held.state is None else held.state.value,
        reason=None if held.reason is None else held.reason.value,
        detail=held.detail,
        delegate=delegate_view(held.delegate),
        threads=held.threads or None,
    )


def _heat(report: HeatReport | None) -> HeatView | None:
    if report is None:
        return None
    return HeatView(
        level=report.level.value,
        causes=[cause.value for cause in report.causes],
        celsius=report.celsius,
        battery_ratio=report.battery_ratio,
    )


def _storage(request: Request) -> Storage:
    return cast("Storage", request.app.state.storage)
