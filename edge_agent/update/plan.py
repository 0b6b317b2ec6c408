"""What the device has to do so that it becomes what is desired.

PURE. Rules:

1. One deployment is under way at a time, models in alphabetical order.
2. A newer desired document supersedes a deployment that has not begun to switch; after that it ends first.
3. A model that is no longer desired is removed once its deployment has ended.
4. A deployment is never started twice: its id in the journal tells.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from contract.deployment import State
from contract.messages import Desired, DesiredModel
from edge_agent.update.machine import RECORD_FORMAT, TABLE, Record


@dataclass(frozen=True)
class Device:
    """What the plan looks at.

    Attributes:
        desired: The newest document taken over; None before the first.
        records: The last deployment of each model.
        running: Version in the active slot of each model on this device, when that slot is good; else empty.
    """

    desired: Desired | None
    records: Mapping[str, Record]
    running: Mapping[str, str]


@dataclass(frozen=True)
class Continue:
    """Do the action of a deployment's state."""

    record: Record


@dataclass(frozen=True)
class Supersede:
    """End a deployment because something else is desired."""

    record: Record


@dataclass(frozen=True)
class Begin:
    """Start a deployment with this record."""

    record: Record


@dataclass(frozen=True)
class Remove:
    """Stop a model and delete what is stored of it."""

    model: str


Task = Continue | Supersede | Begin | Remove


def is_superseded(record: Record, desired: Desired | None) -> bool:
    """Whether something else is desired than a deployment, and it may still be given up."""
    if desired is None or not record.is_open or TABLE[record.state].superseded is record.state:
        return False
    wanted = desired.models.get(record.model)
    return wanted is None or wanted.deployment != record.deployment


def plan_next(device: Device) -> Task | None:
    """The next thing to do; None when the device is what is desired."""
    for _, record in sorted(device.records.items()):
        if record.is_open:
            return Supersede(record) if is_superseded(record, device.desired) else Continue(record)
    if device.desired is None:
        return None
    for model in sorted({*device.records, *device.running} - set(device.desired.models)):
        return Remove(model)
    for model, wanted in sorted(device.desired.models.items()):
        known = device.records.get(model)
        if known is None or known.deployment != wanted.deployment:
            return Begin(_first_record(model, wanted, device.running.get(model, "")))
    return None


def _first_record(model: str, wanted: DesiredModel, running: str) -> Record:
    """A device that already runs the version has succeeded at once, without a download."""
    return Record(
        format=RECORD_FORMAT,
        deployment=wanted.deployment,
        model=model,
        version=wanted.version,
        trial_s=wanted.trial_s,
        state=State.SUCCEEDED if running == wanted.version else State.ASSIGNED,
    )
