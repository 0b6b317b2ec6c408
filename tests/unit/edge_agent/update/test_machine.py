from __future__ import annotations

import itertools

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.deployment import ENDS, NEXT, Reason, State
from contract.errors import (
    BrokerError,
    DeviceError,
    DigestError,
    IncompatibleError,
    LitefleetError,
    NotFoundError,
    RejectedError,
    ServerUnavailableError,
    StorageError,
    TooLargeError,
    TransientError,
)
from edge_agent.update.machine import (
    DONE,
    RECORD_FORMAT,
    TABLE,
    Action,
    Outcome,
    Record,
    Trigger,
    decide,
    decide_restart,
    decide_unknown,
    failure,
    plain_text,
    reason_of,
)

OPEN = [state for state in State if state not in ENDS]
BEFORE_SWITCHING = [State.ASSIGNED, State.FETCHING, State.STAGING, State.TESTING]


def a_record(state: State = State.ASSIGNED, **changes: object) -> Record:
    record = Record(
        format=RECORD_FORMAT, deployment="d1", model="digits", version="1.1.0", trial_s=0.0, state=state
    )
    return msgspec.structs.replace(record, **changes)


def test_every_state_has_its_row_and_every_row_says_what_an_interruption_does() -> None:
    assert set(TABLE) == set(State)
    assert all(row.interruption for row in TABLE.values())


def test_every_action_belongs_to_exactly_one_state() -> None:
    assert sorted(row.action for row in TABLE.values()) == sorted(Action)


@pytest.mark.parametrize(("state", "trigger"), [*itertools.product(State, Trigger)])
def test_every_step_is_one_that_the_contract_allows(state: State, trigger: Trigger) -> None:
    after = decide(a_record(state), Outcome(trigger)).state
    assert after is state or after in NEXT[state]


@pytest.mark.parametrize("trigger", Trigger)
@pytest.mark.parametrize("state", sorted(ENDS))
def test_an_end_stays_the_end(state: State, trigger: Trigger) -> None:
    record = a_record(state, step=4)
    assert decide(record, Outcome(trigger)) == record


def test_without_trouble_a_deployment_walks_the_whole_way() -> None:
    record, walked = a_record(), [State.ASSIGNED]
    while record.is_open:
        record = decide(record, DONE)
        walked.append(record.state)
    assert walked == [
        State.ASSIGNED,
        State.FETCHING,
        State.STAGING,
        State.TESTING,
        State.SWITCHING,
        State.TRIAL,
        State.SUCCEEDED,
    ]
    assert record.step == 6
    assert record.reason is None


@pytest.mark.parametrize("state", [state for state in OPEN if state is not State.ROLLING_BACK])
def test_a_failure_rolls_back_and_keeps_its_reason_to_the_end(state: State) -> None:
    record = decide(a_record(state), Outcome(Trigger.FAILED, Reason.DIGEST, "damaged"))
    assert (record.state, record.reason, record.detail) == (State.ROLLING_BACK, Reason.DIGEST, "damaged")
    record = decide(record, DONE)
    assert (record.state, record.reason, record.detail) == (State.FAILED, Reason.DIGEST, "damaged")


def test_a_failure_without_a_reason_is_the_boards() -> None:
    assert decide(a_record(), Outcome(Trigger.FAILED)).reason is Reason.DEVICE


def test_a_roll_back_that_fails_has_its_own_reason_and_tells_the_first_one() -> None:
    record = a_record(State.ROLLING_BACK, reason=Reason.TRIAL, detail="its worker died")
    record = decide(record, Outcome(Trigger.FAILED, Reason.RUNTIME_LOAD, "the old one does not start"))
    assert record.state is State.FAILED
    assert record.reason is Reason.ROLLBACK_FAILED
    assert record.detail == "the old one does not start; it began with trial: its worker died"


def test_a_roll_back_that_is_interrupted_for_ever_is_given_up() -> None:
    record = decide(a_record(State.ROLLING_BACK), Outcome(Trigger.EXHAUSTED))
    assert (record.state, record.reason) == (State.FAILED, Reason.ROLLBACK_FAILED)
    assert record.detail == "interrupted too often; it began with no reason: "


@pytest.mark.parametrize("state", BEFORE_SWITCHING)
def test_before_switching_a_newer_document_supersedes(state: State) -> None:
    record = decide(a_record(state), Outcome(Trigger.SUPERSEDED))
    assert (record.state, record.reason) == (State.ROLLING_BACK, Reason.SUPERSEDED)


@pytest.mark.parametrize("state", [State.SWITCHING, State.TRIAL, State.ROLLING_BACK])
def test_from_switching_on_a_deployment_is_brought_to_its_end(state: State) -> None:
    assert decide(a_record(state), Outcome(Trigger.SUPERSEDED)).state is state


@pytest.mark.parametrize("state", OPEN)
def test_a_restart_stays_in_the_state_and_is_counted(state: State) -> None:
    record = decide_restart(a_record(state, step=3))
    assert (record.state, record.interruptions, record.step) == (state, 1, 3)


@pytest.mark.parametrize("state", OPEN)
def test_restarts_beyond_what_the_row_allows_leave_the_state(state: State) -> None:
    record = a_record(state)
    for _ in range(TABLE[state].interruptions):
        record = decide_restart(record)
    assert record.state is state
    record = decide_restart(record)
    if state is State.ROLLING_BACK:
        assert (record.state, record.reason) == (State.FAILED, Reason.ROLLBACK_FAILED)
    else:
        assert (record.state, record.reason) == (State.ROLLING_BACK, Reason.INTERRUPTED)
    assert record.interruptions == 0


@pytest.mark.parametrize("state", OPEN)
def test_an_orderly_end_of_the_agent_is_not_counted(state: State) -> None:
    stopped = a_record(state, is_stopped=True, interruptions=1)
    assert decide_restart(stopped) == a_record(state, is_stopped=False, interruptions=1)


def test_a_restart_of_an_ended_deployment_changes_nothing() -> None:
    assert decide_restart(a_record(State.SUCCEEDED, step=6)) == a_record(State.SUCCEEDED, step=6)


def test_an_unknown_state_is_rolled_back_and_an_end_stays_one() -> None:
    state, step, reason, detail = decide_unknown("verifying-twice", 7)
    assert (state, step, reason) == (State.ROLLING_BACK, 8, Reason.UNKNOWN_STATE)
    assert "verifying-twice" in detail
    assert decide_unknown("succeeded", 7) == (State.SUCCEEDED, 7, None, "")
    assert decide_unknown("failed", 7)[:3] == (State.FAILED, 7, Reason.UNKNOWN_STATE)


OUTCOMES = st.one_of(
    st.sampled_from([DONE, Outcome(Trigger.SUPERSEDED), Outcome(Trigger.EXHAUSTED)]),
    st.builds(Outcome, st.just(Trigger.FAILED), st.sampled_from(Reason), st.text(max_size=5)),
    st.just("restart"),
)


@given(st.lists(OUTCOMES, max_size=40))
def test_whatever_happens_the_steps_grow_and_the_end_has_its_reason(
    happenings: list[Outcome | str],
) -> None:
    record = a_record()
    for happening in happenings:
        after = decide_restart(record) if isinstance(happening, str) else decide(record, happening)
        assert after.step == record.step + (after.state is not record.state)
        assert record.is_open or after == record
        if after.state in {State.ROLLING_BACK, State.FAILED}:
            assert after.reason is not None
        else:
            assert after.reason is None
        record = after


@given(st.lists(st.sampled_from(["done", "failed", "restart"]), min_size=200, max_size=200))
def test_every_path_ends(happenings: list[str]) -> None:
    record = a_record()
    moves = {"done": DONE, "failed": Outcome(Trigger.FAILED, Reason.DEVICE)}
    for happening in happenings:
        record = decide(record, moves[happening]) if happening in moves else decide_restart(record)
    # 200 happenings are more than all interruptions that all rows together allow, plus the longest way.
    assert sum(row.interruptions + 1 for row in TABLE.values()) < 200
    assert not record.is_open


def test_bytes_fetched_are_taken_over() -> None:
    record = decide(a_record(State.FETCHING, bytes_done=5), Outcome(Trigger.DONE, bytes_done=99))
    assert record.bytes_done == 99
    assert decide(record, DONE).bytes_done == 99


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (DigestError("x"), Reason.DIGEST),
        (IncompatibleError("x"), Reason.INCOMPATIBLE),
        (NotFoundError("x"), Reason.NOT_FOUND),
        (TooLargeError("x"), Reason.MESSAGE),
        (RejectedError("x"), Reason.REJECTED),
        (StorageError("x"), Reason.STORAGE),
        (DeviceError("x"), Reason.DEVICE),
        (ServerUnavailableError("x"), Reason.DOWNLOAD),
        (BrokerError("x"), Reason.DOWNLOAD),
        (TransientError("x"), Reason.DOWNLOAD),
        (LitefleetError("x"), Reason.DEVICE),
    ],
)
def test_an_error_becomes_the_reason_of_its_code_or_family(error: LitefleetError, reason: Reason) -> None:
    assert reason_of(error) is reason
    assert failure(error) == Outcome(Trigger.FAILED, reason, "x")


def test_a_detail_is_cut_and_made_unicode() -> None:
    assert plain_text("a" * 3000) == "a" * 2048
    assert plain_text("file \udcff") == "file ?"
