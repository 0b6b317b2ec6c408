"""Decides what a rollout does next.

PURE. Rules:

1. A phase's devices are assigned when every device of the phases before it has succeeded, never sooner.
2. After the first failure, or when an operator stopped the rollout, nothing is assigned any more.
3. After a failure the rollout waits for the deployments that run. One that has not begun on a device that is
   offline is withdrawn: nobody wants it to begin tomorrow. Then the rollout stops with the first failure's reason.
4. An operator's stop withdraws every deployment that has not ended, and ends the rollout at once.
5. A device that already runs the version, settled, succeeds at once.
6. A deployment that failed or was withdrawn is set back exactly once: its device is to have again what it had.
7. Each decision follows from the facts alone, so the server may die between any two of them.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from contract.deployment import ENDS, Reason, State
from server.rollout.gates import Verdict, judge_phase

STOPPED_BY_OPERATOR = "operator"
"""Reason of a rollout that an operator stopped; every other reason is that of its first failed deployment."""


class RolloutState(str, enum.Enum):
    """Where a rollout is; only ``running`` is no end."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    STOPPED = "stopped"


@dataclass(frozen=True)
class Standing:
    """How one device stands in a rollout.

    Attributes:
        device: Its id.
        phase: Its phase, from 0.
        state: Of its deployment; None before it was assigned.
        reason: When failed.
        ended_at: When its deployment ended.
        is_set_back: Whether desired was taken back after a failure.
        is_online: Whether its connection stands.
        runs_version: Whether it already runs the version, and nothing is going on; counts before assignment only.
    """

    device: str
    phase: int
    state: State | None = None
    reason: Reason | None = None
    ended_at: datetime | None = None
    is_set_back: bool = False
    is_online: bool = True
    runs_version: bool = False


@dataclass(frozen=True)
class Assign:
    """Set the device's desired document to the version."""

    device: str


@dataclass(frozen=True)
class Accept:
    """As ``Assign``, and count the device as succeeded: it already runs the version."""

    device: str


@dataclass(frozen=True)
class Withdraw:
    """End the device's deployment as failed, superseded."""

    device: str


@dataclass(frozen=True)
class SetBack:
    """Set the device's desired document back to what it had before."""

    device: str


@dataclass(frozen=True)
class End:
    """End the rollout."""

    state: RolloutState
    reason: str = ""


Action: TypeAlias = Assign | Accept | Withdraw | SetBack | End


def decide(
    state: RolloutState, standings: Sequence[Standing], *, is_stop_wanted: bool = False
) -> tuple[Action, ...]:
    """What to do now; perform it, then ask again. Empty: wait for devices.

    Args:
        state: Of the rollout.
        standings: Of all its devices.
        is_stop_wanted: Whether an operator stopped it.
    """
    set_back: tuple[Action, ...] = tuple(
        SetBack(each.device) for each in standings if each.state is State.FAILED and not each.is_set_back
    )
    if set_back or state is not RolloutState.RUNNING:
        return set_back
    running = [each for each in standings if each.state is not None and each.state not in ENDS]
    if is_stop_wanted:
        return tuple(Withdraw(each.device) for each in running) or (
            End(RolloutState.STOPPED, STOPPED_BY_OPERATOR),
        )
    if any(each.state is State.FAILED for each in standings):
        return _wind_up(standings, running)
    return _go_on(standings)


def current_phase(standings: Sequence[Standing]) -> int:
    """The first phase whose devices have not all succeeded; the last when all have."""
    open_phases = [each.phase for each in standings if each.state is not State.SUCCEEDED]
    return min(open_phases, default=max(each.phase for each in standings))


def _wind_up(standings: Sequence[Standing], running: Sequence[Standing]) -> tuple[Action, ...]:
    if not running:
        return (End(RolloutState.STOPPED, _first_reason(standings)),)
    return tuple(
        Withdraw(each.device) for each in running if each.state is State.ASSIGNED and not each.is_online
    )


def _go_on(standings: Sequence[Standing]) -> tuple[Action, ...]:
    phase = current_phase(standings)
    members = [each for each in standings if each.phase == phase]
    if judge_phase([each.state for each in members]) is Verdict.PASSED:
        return (End(RolloutState.SUCCEEDED),)
    return tuple(
        Accept(each.device) if each.runs_version else Assign(each.device)
        for each in members
        if each.state is None
    )


def _first_reason(standings: Sequence[Standing]) -> str:
    failed = [each for each in standings if each.state is State.FAILED and each.ended_at is not None]
    first = min(failed, key=lambda each: (each.reason is Reason.SUPERSEDED, each.ended_at, each.device))
    return first.reason.value if first.reason is not None else Reason.DEVICE.value
