"""What the device tells about its models and deployments.

PURE. Rules:

1. ``Reported`` says what the disk and the workers say, not what was once intended.
2. The record of a deployment and the report of it never disagree: both are made from the same record.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from contract.deployment import Reason, State
from contract.messages import (
    WIRE_VERSION,
    DeploymentChange,
    Event,
    EventKind,
    Reported,
    ReportedModel,
)
from edge_agent.inference.workers import WorkerHandle
from edge_agent.update.machine import Record
from edge_agent.update.slot_table import SlotContent

_SWITCHED = frozenset({State.SWITCHING, State.TRIAL})
_REFUSALS = frozenset(
    {
        Reason.REJECTED,
        Reason.MANIFEST,
        Reason.SIGNATURE,
        Reason.DIGEST,
        Reason.INCOMPATIBLE,
        Reason.ROLLBACK_ATTACK,
        Reason.MESSAGE,
        Reason.NOT_FOUND,
        Reason.SELF_TEST,
    }
)


def report_model(record: Record | None, running: SlotContent, worker: WorkerHandle | None) -> ReportedModel:
    """One model: what its active slot holds, how its worker runs, and its last deployment.

    A worker may run the slot's fallback: then that is the variant that is told.
    """
    is_same = worker is not None and worker.spec.version == running.version
    return ReportedModel(
        version=running.version,
        variant=worker.variant if worker is not None and is_same else running.variant,
        digest=worker.digest if worker is not None and is_same else running.digest,
        delegate=worker.delegate if worker is not None else None,
        threads=worker.spec.threads if worker is not None else 0,
        deployment=record.deployment if record else "",
        state=record.state if record else None,
        reason=record.reason if record and record.state is State.FAILED else None,
        detail=record.detail if record and record.state is State.FAILED else "",
    )


def report_device(revision: int, models: Mapping[str, ReportedModel]) -> Reported:
    """The whole device."""
    return Reported(v=WIRE_VERSION, revision=revision, models=dict(sorted(models.items())))


def report_change(before: State | None, record: Record, at: datetime) -> DeploymentChange:
    """One state change; the reason is told from the roll back on."""
    return DeploymentChange(
        v=WIRE_VERSION,
        deployment=record.deployment,
        model=record.model,
        version=record.version,
        step=record.step,
        before=before,
        after=record.state,
        bytes_done=record.bytes_done,
        seconds=round(record.seconds, 3),
        at=at,
        reason=record.reason,
        detail=record.detail,
    )


def report_event(before: State | None, record: Record, at: datetime) -> Event | None:
    """What an operator should hear of a change at once: a roll back after the switch, or a refusal."""
    if record.state is not State.ROLLING_BACK or before is State.ROLLING_BACK:
        return None
    if before in _SWITCHED:
        kind = EventKind.ROLLED_BACK
    elif record.reason in _REFUSALS:
        kind = EventKind.REFUSED
    else:
        return None
    return Event(
        v=WIRE_VERSION,
        kind=kind,
        at=at,
        model=record.model,
        version=record.version,
        reason=record.reason,
        detail=record.detail,
    )
