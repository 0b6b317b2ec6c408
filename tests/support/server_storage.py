"""A real database with a release and devices in it, and messages for it."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from contract.deployment import Reason, State
from contract.messages import (
    DeploymentChange,
    DeviceState,
    Message,
    Reported,
    ReportedModel,
    Telemetry,
)
from contract.topics import Kind
from server.ingest.bridge import Inbound
from server.storage.repository import Storage
from tests.support.builders import PROFILE

NOON = datetime(2026, 11, 21, 12, tzinfo=timezone.utc)
OTHER_PROFILE = "generic-x86-64-small"
KINDS: dict[type[Message], Kind] = {
    DeploymentChange: Kind.DEPLOYMENT,
    DeviceState: Kind.STATE,
    Reported: Kind.REPORTED,
    Telemetry: Kind.TELEMETRY,
}


@contextlib.contextmanager
def a_storage(folder: Path, *devices: str) -> Iterator[Storage]:
    """A database with digits 1.0.0 and 1.1.0 for one profile, and devices of that profile that are online."""
    storage = Storage(folder / "litefleet.db")
    try:
        with storage.write() as rows:
            for version in ("1.0.0", "1.1.0"):
                rows.releases.add("digits", version, PROFILE, manifest_sha256="0" * 64, at=NOON)
            for device in devices:
                rows.devices.add(device, profile=PROFILE, password_hash="h", at=NOON)
                rows.devices.set_presence(device, online=True, boot="b1", session=1, agent_version="0.1.0")
        yield storage
    finally:
        storage.close()


def nothing() -> None:
    """An acknowledgement that nobody waits for."""


def inbound(
    device: str, message: Message, acknowledge: Callable[[], None] = nothing, **changes: Any
) -> Inbound:
    """A message as the bridge gives it."""
    kind = KINDS.get(type(message), Kind.EVENT)
    made = Inbound(kind, device, message, fields=(), is_retained=False, acknowledge=acknowledge)
    return dataclasses.replace(made, **changes)


def a_change(
    deployment: str, after: State, *, step: int = 0, reason: Reason | None = None
) -> DeploymentChange:
    """A state change of a deployment of digits."""
    return DeploymentChange(
        v=1,
        deployment=deployment,
        model="digits",
        version="1.0.0",
        step=step,
        before=None,
        after=after,
        bytes_done=7,
        seconds=1.5,
        at=NOON,
        reason=reason,
        detail="said the device",
    )


def a_report(revision: int = 1, **model: Any) -> Reported:
    """A device that holds digits, or nothing when no field is given."""
    models = {"digits": ReportedModel(**model)} if model else {}
    return Reported(v=1, revision=revision, models=models)
