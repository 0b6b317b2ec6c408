"""Rollouts: start, watch and stop them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, cast

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field

from contract.deployment import State
from server.api.auth import require_operator, require_reader
from server.rollout.cohorts import MAX_PHASES
from server.rollout.engine import Standing, current_phase
from server.rollout.orders import MAX_TRIAL_S, RolloutOrder
from server.rollout.service import RolloutService
from server.storage.repository import Rows, Storage
from server.storage.rollouts import DeploymentRecord, RolloutRecord

router = APIRouter(prefix="/api/v1/rollouts")

NEWEST_ROLLOUTS = 100
MAX_DEVICES = 10_000


class NewRollout(BaseModel):
    """A rollout to start. ``devices`` null: all whose profile the release has. ``phases``: cumulative shares."""

    model_config = ConfigDict(extra="forbid")

    model: Annotated[str, Field(max_length=128)]
    version: Annotated[str, Field(max_length=128)]
    devices: Annotated[list[str], Field(max_length=MAX_DEVICES)] | None = None
    phases: Annotated[list[float], Field(max_length=MAX_PHASES)] = [1.0]
    trial_s: Annotated[float, Field(ge=0, le=MAX_TRIAL_S)] = 0.0


class PhaseView(BaseModel):
    """A phase: its cumulative share, how many devices it holds, and how many of them ended how."""

    share: float
    devices: int
    succeeded: int
    failed: int


class DeploymentView(BaseModel):
    """One device's run of the rollout; ``state`` is null before it was assigned."""

    deployment: str
    device: str
    phase: int
    state: str | None
    reason: str | None
    detail: str
    seconds: float
    bytes_done: int


class RolloutView(BaseModel):
    """A rollout with all its deployments; phases count from 0."""

    id: str
    model: str
    version: str
    state: str
    reason: str
    phase: int
    phases: list[PhaseView]
    trial_s: float
    created_at: datetime
    ended_at: datetime | None
    deployments: list[DeploymentView]


@router.post("", status_code=201, dependencies=[Depends(require_operator)])
def start_rollout(request: Request, body: NewRollout) -> RolloutView:
    """Start a rollout; its first phase is assigned at once."""
    order = RolloutOrder(
        model=body.model,
        version=body.version,
        devices=body.devices,
        shares=tuple(body.phases),
        trial_s=body.trial_s,
    )
    rollout = _service(request).create(order)
    with _storage(request).read() as rows:
        return _view(rows, rollout)


@router.get("", dependencies=[Depends(require_reader)])
def get_rollouts(request: Request) -> list[RolloutView]:
    """The newest hundred rollouts, newest first."""
    with _storage(request).read() as rows:
        return [_view(rows, rollout) for rollout in rows.rollouts.newest(NEWEST_ROLLOUTS)]


@router.get("/{rollout}", dependencies=[Depends(require_reader)])
def get_rollout(request: Request, rollout: str) -> RolloutView:
    """One rollout."""
    found = _service(request).find(rollout)
    with _storage(request).read() as rows:
        return _view(rows, found)


@router.post("/{rollout}/stop", dependencies=[Depends(require_operator)])
def stop_rollout(request: Request, rollout: str) -> RolloutView:
    """Stop a rollout: assign nothing more, take back what has not ended."""
    stopped = _service(request).stop(rollout)
    with _storage(request).read() as rows:
        return _view(rows, stopped)


def _view(rows: Rows, rollout: RolloutRecord) -> RolloutView:
    deployments = rows.rollouts.deployments(rollout.id)
    standings = [Standing(entry.device, entry.phase, entry.state) for entry in deployments]
    return RolloutView(
        id=rollout.id,
        model=rollout.model,
        version=rollout.version,
        state=rollout.state.value,
        reason=rollout.reason,
        phase=current_phase(standings),
        phases=[
            _phase(share, [entry for entry in deployments if entry.phase == index])
            for index, share in enumerate(rollout.shares)
        ],
        trial_s=rollout.trial_s,
        created_at=rollout.created_at,
        ended_at=rollout.ended_at,
        deployments=[_deployment(entry) for entry in deployments],
    )


def _phase(share: float, members: list[DeploymentRecord]) -> PhaseView:
    return PhaseView(
        share=share,
        devices=len(members),
        succeeded=sum(entry.state is State.SUCCEEDED for entry in members),
        failed=sum(entry.state is State.FAILED for entry in members),
    )


def _deployment(record: DeploymentRecord) -> DeploymentView:
    return DeploymentView(
        deployment=record.id,
        device=record.device,
        phase=record.phase,
        state=None if record.state is None else record.state.value,
        reason=None if record.reason is None else record.reason.value,
        detail=record.detail,
        seconds=record.seconds,
        bytes_done=record.bytes_done,
    )


def _service(request: Request) -> RolloutService:
    return cast("RolloutService", request.app.state.rollouts)


def _storage(request: Request) -> Storage:
    return cast("Storage", request.app.state.storage)
