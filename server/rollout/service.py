"""Performs what the rollout engine decides: the only writer of rollouts and desired documents.

Guarantees: every step reads all facts from the database and writes its outcome in one transaction, one step at a
time; a desired document is committed before it is sent. A server that dies anywhere goes on where it was.
Does not decide: see ``engine``, ``cohorts``, ``gates`` and ``desired``.
"""

from __future__ import annotations

import dataclasses
import logging
import secrets
import threading
from collections.abc import Callable, Collection
from datetime import datetime, timezone

from contract.deployment import Reason, State
from contract.errors import NotFoundError
from contract.messages import DesiredModel
from server.rollout.desired import is_busy, runs_version, with_model, without_model
from server.rollout.engine import (
    Accept,
    Action,
    Assign,
    End,
    SetBack,
    Standing,
    Withdraw,
    current_phase,
    decide,
)
from server.rollout.orders import RolloutOrder, desired_document, place_order, wanted_model
from server.storage.repository import Rows, Storage
from server.storage.rollouts import DeploymentRecord, RolloutRecord

logger = logging.getLogger(__name__)


class RolloutService:
    """Creates, drives and stops rollouts.

    Args:
        storage: Where everything is.
        send: Sends a device's desired document as it is committed at that moment.
    """

    def __init__(self, storage: Storage, send: Callable[[str], None]) -> None:
        self._storage = storage
        self._send = send
        self._turn = threading.Lock()

    def create(self, order: RolloutOrder) -> RolloutRecord:
        """Make a rollout and begin its first phase.

        Raises:
            LitefleetError: As ``place_order``.
        """
        with self._storage.write() as rows:
            rollout = place_order(rows, order, _now())
        logger.info("rollout %s: %s %s begins", rollout.id, rollout.model, rollout.version)
        self.advance(rollout.id)
        return self.find(rollout.id)

    def find(self, rollout: str) -> RolloutRecord:
        """One rollout.

        Raises:
            NotFoundError: There is none.
        """
        with self._storage.read() as rows:
            found = rows.rollouts.find(rollout)
        if found is None:
            raise NotFoundError(f"there is no rollout {rollout[:80]!r}", remedy="see: litefleet rollouts")
        return found

    def stop(self, rollout: str) -> RolloutRecord:
        """Stop a rollout: assign nothing more, withdraw what has not ended. Once ended, nothing changes.

        Raises:
            NotFoundError: There is none.
        """
        self.find(rollout)
        with self._storage.write() as rows:
            rows.rollouts.want_stop(rollout)
        self.advance(rollout)
        return self.find(rollout)

    def advance_all(self) -> None:
        """Do all that running rollouts ask for now."""
        with self._storage.read() as rows:
            running = [rollout.id for rollout in rows.rollouts.running()]
        for rollout in running:
            self.advance(rollout)

    def advance(self, rollout: str) -> None:
        """Do all that one rollout asks for now, then send the documents that changed."""
        changed: set[str] = set()
        with self._turn:
            is_waiting = False
            while not is_waiting:
                with self._storage.write() as rows:
                    is_waiting = not _step(rows, rollout, changed)
        for device in sorted(changed):
            self._send(device)


def _now() -> datetime:
    return datetime.now(timezone.utc)


def _step(rows: Rows, rollout_id: str, changed: set[str]) -> tuple[Action, ...]:
    rollout = rows.rollouts.find(rollout_id)
    if rollout is None:
        raise NotFoundError(f"there is no rollout {rollout_id!r}")
    deployments = {entry.device: entry for entry in rows.rollouts.deployments(rollout_id)}
    standings = _standings(rows, rollout, deployments.values())
    actions = decide(rollout.state, standings, is_stop_wanted=rollout.stop_wanted)
    for action in actions:
        if isinstance(action, End):
            rows.rollouts.end(rollout.id, action.state, reason=action.reason, at=_now())
            logger.info("rollout %s: running -> %s %s", rollout.id, action.state.value, action.reason)
        elif _perform(rows, rollout, deployments[action.device], action):
            changed.add(action.device)
    return actions


def _standings(
    rows: Rows, rollout: RolloutRecord, deployments: Collection[DeploymentRecord]
) -> list[Standing]:
    online = rows.devices.online()
    standings = [
        Standing(
            device=entry.device,
            phase=entry.phase,
            state=entry.state,
            reason=entry.reason,
            ended_at=entry.ended_at,
            is_set_back=entry.is_set_back,
            is_online=entry.device in online,
        )
        for entry in deployments
    ]
    # What a device reports is read only where it matters: before it is assigned.
    phase = current_phase(standings)
    return [
        dataclasses.replace(each, runs_version=_runs_version(rows, rollout, each.device))
        if each.state is None and each.phase == phase
        else each
        for each in standings
    ]


def _runs_version(rows: Rows, rollout: RolloutRecord, device: str) -> bool:
    return runs_version(rows.devices.reported(device), rollout.model, rollout.version)


def _perform(
    rows: Rows,
    rollout: RolloutRecord,
    deployment: DeploymentRecord,
    action: Assign | Accept | Withdraw | SetBack,
) -> bool:
    """Perform an action on one device; whether its desired document changed."""
    now = _now()
    if isinstance(action, Withdraw):
        _withdraw(rows, deployment, now)
        return False
    if isinstance(action, SetBack):
        rows.rollouts.set_deployment(dataclasses.replace(deployment, is_set_back=True))
        return _set_back(rows, rollout, deployment, now)
    document = desired_document(rows, deployment.device)
    is_done = isinstance(action, Accept)
    state = State.SUCCEEDED if is_done else State.ASSIGNED
    _log(deployment, state, None)
    rows.rollouts.set_deployment(
        dataclasses.replace(
            deployment,
            state=state,
            previous_version=_previous_version(rows, deployment.device, rollout.model),
            ended_at=now if is_done else None,
        )
    )
    changed = with_model(document, rollout.model, wanted_model(rollout, deployment))
    rows.devices.set_desired(deployment.device, changed, at=now)
    return True


def _withdraw(rows: Rows, deployment: DeploymentRecord, now: datetime) -> None:
    _log(deployment, State.FAILED, Reason.SUPERSEDED)
    rows.rollouts.set_deployment(
        dataclasses.replace(
            deployment,
            state=State.FAILED,
            reason=Reason.SUPERSEDED,
            detail="withdrawn because the rollout stopped",
            ended_at=now,
        )
    )


def _previous_version(rows: Rows, device: str, model: str) -> str:
    """What the device ran before: what it reports, unless it is in the middle of becoming something else."""
    report = rows.devices.reported(device)
    held = None if report is None else report.models.get(model)
    if held is None:
        return ""
    wanted = desired_document(rows, device).models.get(model)
    return wanted.version if is_busy(held) and wanted is not None else held.version


def _set_back(rows: Rows, rollout: RolloutRecord, deployment: DeploymentRecord, now: datetime) -> bool:
    document = desired_document(rows, deployment.device)
    wanted = document.models.get(rollout.model)
    if wanted is None or wanted.deployment != deployment.id:
        return False  # a newer rollout took over meanwhile
    if deployment.previous_version:
        before = DesiredModel(version=deployment.previous_version, deployment=secrets.token_hex(8))
        changed = with_model(document, rollout.model, before)
    else:
        changed = without_model(document, rollout.model)
    rows.devices.set_desired(deployment.device, changed, at=now)
    shown = deployment.previous_version or "nothing"
    logger.info("device %s: desired %s set back to %s", deployment.device, rollout.model, shown)
    return True


def _log(deployment: DeploymentRecord, after: State, reason: Reason | None) -> None:
    before = "none" if deployment.state is None else deployment.state.value
    shown = "" if reason is None else reason.value
    logger.info(
        "device %s, deployment %s: %s -> %s %s", deployment.device, deployment.id, before, after.value, shown
    )
