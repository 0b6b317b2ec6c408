"""What a deployment does next: the one table of the update machine.

PURE. Rules:

1. ``TABLE`` has one row per state of ``contract.deployment``: what is done there, where everything that can happen
   leads, and what
   an interruption there does. Nothing else decides a step.
2. A state is persisted before its action runs, so every action may run twice.
3. A slot becomes good only by the action of ``succeeded``; rolling back makes a good slot the active one. So the
   active slot of an ended deployment is always a good one, or there never was one.
4. Being restarted in one state more often than its row allows ends the deployment: a version that brings the board
   down again and again is left.
5. A persisted state that this agent does not know is rolled back.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import msgspec

from contract.deployment import ENDS, Reason, State
from contract.errors import LitefleetError, TransientError
from contract.scalars import TEXT_MAX_CHARS, Count, ModelStr, OpaqueStr, Seconds, Text, VersionStr

RECORD_FORMAT = 1


class Trigger(str, enum.Enum):
    """What can happen to a deployment."""

    DONE = "done"  # the state's action ended well
    FAILED = "failed"  # it failed for good
    SUPERSEDED = "superseded"  # a newer desired document wants something else
    RESTARTED = "restarted"  # the agent started again and found this state
    EXHAUSTED = "exhausted"  # the same, once too often


class Action(str, enum.Enum):
    """What is done in a state. Each may run twice."""

    PREPARE = "empty the inactive slot"
    FETCH = "fetch the release into the inactive slot"
    CHECK = "check the slot's files against the manifest"
    TEST = "start a candidate worker and let it answer the golden inputs"
    SWITCH = "make the slot active, then let the candidate answer"
    WATCH = "watch the new version's errors and crashes"
    KEEP = "mark the slot good"
    RESTORE = "make a good slot active again, and its worker answer"
    CLEAR = "empty the slot that failed"


@dataclass(frozen=True)
class Row:
    """A state's row.

    Attributes:
        action: What is done there.
        done: Next state when that ended well.
        failed: Next state when it failed.
        superseded: Next state when a newer desired document wants something else; the same state: not any more.
        exhausted: Next state after too many interruptions.
        interruptions: How many are allowed in a row.
        interruption: What one there does.
    """

    action: Action
    done: State
    failed: State
    superseded: State
    exhausted: State
    interruptions: int
    interruption: str


_BACK = State.ROLLING_BACK

TABLE: Mapping[State, Row] = MappingProxyType(
    {
        State.ASSIGNED: Row(
            action=Action.PREPARE,
            done=State.FETCHING,
            failed=_BACK,
            superseded=_BACK,
            exhausted=_BACK,
            interruptions=3,
            interruption="the inactive slot is emptied again",
        ),
        State.FETCHING: Row(
            action=Action.FETCH,
            done=State.STAGING,
            failed=_BACK,
            superseded=_BACK,
            exhausted=_BACK,
            interruptions=100,  # a board that is switched off every night must still get a large model
            interruption="fetching goes on with the parts that are there",
        ),
        State.STAGING: Row(
            action=Action.CHECK,
            done=State.TESTING,
            failed=_BACK,
            superseded=_BACK,
            exhausted=_BACK,
            interruptions=3,
            interruption="the slot is checked again",
        ),
        State.TESTING: Row(
            action=Action.TEST,
            done=State.SWITCHING,
            failed=_BACK,
            superseded=_BACK,
            exhausted=_BACK,
            interruptions=2,
            interruption="a new candidate is tested; the active version answers, as soon as the agent does",
        ),
        State.SWITCHING: Row(
            action=Action.SWITCH,
            done=State.TRIAL,
            failed=_BACK,
            superseded=State.SWITCHING,
            exhausted=_BACK,
            interruptions=2,
            interruption="the old or the new version answers, whole; then the switch is made again",
        ),
        State.TRIAL: Row(
            action=Action.WATCH,
            done=State.SUCCEEDED,
            failed=_BACK,
            superseded=State.TRIAL,
            exhausted=_BACK,
            interruptions=2,
            interruption="the new version answers, and its trial starts again",
        ),
        State.SUCCEEDED: Row(
            action=Action.KEEP,
            done=State.SUCCEEDED,
            failed=State.SUCCEEDED,
            superseded=State.SUCCEEDED,
            exhausted=State.SUCCEEDED,
            interruptions=0,
            interruption="the slot is marked good again",
        ),
        State.ROLLING_BACK: Row(
            action=Action.RESTORE,
            done=State.FAILED,
            failed=State.FAILED,
            superseded=_BACK,
            exhausted=State.FAILED,
            interruptions=10,
            interruption="rolling back starts again",
        ),
        State.FAILED: Row(
            action=Action.CLEAR,
            done=State.FAILED,
            failed=State.FAILED,
            superseded=State.FAILED,
            exhausted=State.FAILED,
            interruptions=0,
            interruption="the failed slot is emptied again",
        ),
    }
)


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """A deployment as the journal keeps it.

    Attributes:
        format: Of this file; RECORD_FORMAT.
        deployment: Its id.
        model: Model name.
        version: Version it brings.
        trial_s: Length of its trial, seconds.
        state: Where it is.
        step: Grows by one with every state.
        interruptions: Restarts found in this state, in a row; orderly ends of the agent do not count.
        is_stopped: The agent was ended in an orderly way in this state.
        reason: Why it fails; set when it starts to roll back.
        detail: The same for people.
        bytes_done: Bytes fetched so far.
        seconds: Time spent so far, restarts not counted, monotonic.
    """

    format: int
    deployment: OpaqueStr
    model: ModelStr
    version: VersionStr
    trial_s: Seconds
    state: State
    step: Count = 0
    interruptions: Count = 0
    is_stopped: bool = False
    reason: Reason | None = None
    detail: Text = ""
    bytes_done: Count = 0
    seconds: Seconds = 0.0

    @property
    def is_open(self) -> bool:
        """Whether it has not ended."""
        return self.state not in ENDS


@dataclass(frozen=True)
class Outcome:
    """What happened to a deployment: its reason where it has one, and bytes fetched where that is news."""

    trigger: Trigger
    reason: Reason | None = None
    detail: str = ""
    bytes_done: int | None = None


DONE = Outcome(Trigger.DONE)


def decide(record: Record, outcome: Outcome) -> Record:
    """The record after what happened: the next state, or the same one.

    Only the reason and detail that started a roll back are kept, but for a roll back that fails itself.
    """
    if not record.is_open:
        return record
    row = TABLE[record.state]
    after = {
        Trigger.DONE: row.done,
        Trigger.FAILED: row.failed,
        Trigger.SUPERSEDED: row.superseded,
        Trigger.EXHAUSTED: row.exhausted,
        Trigger.RESTARTED: record.state,
    }[outcome.trigger]
    if after is record.state:
        more = 1 if outcome.trigger is Trigger.RESTARTED else 0
        return msgspec.structs.replace(record, interruptions=record.interruptions + more)
    reason, detail = record.reason, record.detail
    if after is State.ROLLING_BACK:
        reason, detail = _why(outcome)
    elif after is State.FAILED and outcome.trigger is not Trigger.DONE:
        detail = f"{outcome.detail or 'interrupted too often'}; it began with {_name(reason)}: {detail}"
        reason = Reason.ROLLBACK_FAILED
    return msgspec.structs.replace(
        record,
        state=after,
        step=record.step + 1,
        interruptions=0,
        reason=reason,
        detail=plain_text(detail),
        bytes_done=record.bytes_done if outcome.bytes_done is None else outcome.bytes_done,
    )


def decide_restart(record: Record) -> Record:
    """The record after the agent found it at its start."""
    if record.is_stopped or not record.is_open:
        return msgspec.structs.replace(record, is_stopped=False)
    is_exhausted = record.interruptions >= TABLE[record.state].interruptions
    return decide(record, Outcome(Trigger.EXHAUSTED if is_exhausted else Trigger.RESTARTED))


def decide_unknown(found: str, step: int) -> tuple[State, int, Reason | None, str]:
    """Where a deployment is whose persisted record this agent does not understand.

    Args:
        found: The state as it stands in the file.
        step: The step as it stands in the file.

    Returns:
        State, step, reason and detail: an end stays one, everything else is rolled back.
    """
    if found == State.SUCCEEDED.value:
        return State.SUCCEEDED, step, None, ""
    reason, detail = Reason.UNKNOWN_STATE, f"the journal says {found[:64]!r}"
    if found == State.FAILED.value:
        return State.FAILED, step, reason, detail
    return State.ROLLING_BACK, step + 1, reason, detail


def _why(outcome: Outcome) -> tuple[Reason, str]:
    if outcome.trigger is Trigger.SUPERSEDED:
        return Reason.SUPERSEDED, outcome.detail or "a newer desired document wants something else"
    if outcome.trigger is Trigger.EXHAUSTED:
        return Reason.INTERRUPTED, outcome.detail or "the agent was restarted in this state too often"
    return outcome.reason or Reason.DEVICE, outcome.detail


def _name(reason: Reason | None) -> str:
    return reason.value if reason is not None else "no reason"


def failure(error: LitefleetError) -> Outcome:
    """The outcome that an expected failure is."""
    return Outcome(Trigger.FAILED, reason_of(error), plain_text(error.summary()))


def plain_text(text: str) -> str:
    """Text as a message can carry it: not too long, and Unicode also where it came from a file name."""
    return text.encode("utf-8", "replace").decode("utf-8")[:TEXT_MAX_CHARS]


def reason_of(error: LitefleetError) -> Reason:
    """The reason that stands for an error: its code, else that of its nearest family."""
    codes = [getattr(family, "code", "") for family in type(error).__mro__]
    return next((_REASONS[code] for code in codes if code in _REASONS), Reason.DEVICE)


_REASONS: Mapping[str, Reason] = MappingProxyType(
    {**{reason.value: reason for reason in Reason}, TransientError.code: Reason.DOWNLOAD}
)
