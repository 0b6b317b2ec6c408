from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.deployment import ENDS, Reason, State
from server.rollout.engine import (
    Accept,
    Action,
    Assign,
    End,
    RolloutState,
    SetBack,
    Standing,
    Withdraw,
    current_phase,
    decide,
)

NOON = datetime(2026, 11, 21, 12, tzinfo=timezone.utc)
RUNNING = RolloutState.RUNNING


def failed(device: str, phase: int = 0, reason: Reason = Reason.SELF_TEST, minute: int = 0) -> Standing:
    at = NOON + timedelta(minutes=minute)
    return Standing(device, phase, State.FAILED, reason, at, is_set_back=True)


def standing(device: str, phase: int = 0, state: State | None = None) -> Standing:
    return Standing(device, phase, state, ended_at=NOON if state in ENDS else None)


@pytest.mark.parametrize(
    ("situation", "standings", "expected"),
    [
        (
            "a new rollout assigns its canary only",
            [standing("a"), standing("b", 1)],
            (Assign("a"),),
        ),
        (
            "all devices of a phase are assigned at once",
            [standing("a"), standing("b")],
            (Assign("a"), Assign("b")),
        ),
        (
            "a device that runs the version is accepted",
            [replace(standing("a"), runs_version=True)],
            (Accept("a"),),
        ),
        (
            "an offline device is assigned too",
            [replace(standing("a"), is_online=False)],
            (Assign("a"),),
        ),
        (
            "an assigned device is waited for",
            [standing("a", 0, State.ASSIGNED), standing("b", 1)],
            (),
        ),
        (
            "an offline device keeps its phase waiting",
            [replace(standing("a", 0, State.ASSIGNED), is_online=False), standing("b", 1)],
            (),
        ),
        (
            "one of two has succeeded: the next phase waits",
            [standing("a", 0, State.SUCCEEDED), standing("b", 0, State.TRIAL), standing("c", 1)],
            (),
        ),
        (
            "the canary succeeded: the next phase begins",
            [standing("a", 0, State.SUCCEEDED), standing("b", 1), standing("c", 2)],
            (Assign("b"),),
        ),
        (
            "a phase without devices is passed over",
            [standing("a", 0, State.SUCCEEDED), standing("c", 2)],
            (Assign("c"),),
        ),
        (
            "everything succeeded",
            [standing("a", 0, State.SUCCEEDED), standing("b", 1, State.SUCCEEDED)],
            (End(RolloutState.SUCCEEDED),),
        ),
        (
            "a failed device is set back before anything else",
            [replace(failed("a"), is_set_back=False), standing("b")],
            (SetBack("a"),),
        ),
        (
            "the canary failed",
            [failed("a"), standing("b", 1)],
            (End(RolloutState.STOPPED, "self-test"),),
        ),
        (
            "after a failure what runs is waited for, and nothing is assigned",
            [failed("a"), standing("b", 0, State.TRIAL), standing("c")],
            (),
        ),
        (
            "after a failure an assigned device that is online is waited for",
            [failed("a"), standing("b", 0, State.ASSIGNED)],
            (),
        ),
        (
            "after a failure an assigned device that is offline is withdrawn",
            [failed("a"), replace(standing("b", 0, State.ASSIGNED), is_online=False)],
            (Withdraw("b"),),
        ),
        (
            "after a failure a device that went offline while it ran is waited for",
            [failed("a"), replace(standing("b", 0, State.TRIAL), is_online=False)],
            (),
        ),
        (
            "the first failure gives the reason",
            [failed("a", reason=Reason.TRIAL, minute=2), failed("b", reason=Reason.DIGEST, minute=1)],
            (End(RolloutState.STOPPED, "digest"),),
        ),
        (
            "a withdrawn deployment does not give the reason",
            [failed("a", reason=Reason.SUPERSEDED), failed("b", reason=Reason.DIGEST, minute=1)],
            (End(RolloutState.STOPPED, "digest"),),
        ),
        (
            "a failure whose reason was lost",
            [replace(failed("a"), reason=None)],
            (End(RolloutState.STOPPED, "device"),),
        ),
    ],
)
def test_decision_of_a_running_rollout(
    situation: str, standings: list[Standing], expected: tuple[Action, ...]
) -> None:
    assert decide(RUNNING, standings) == expected


def test_stopped_by_an_operator_takes_back_everything_that_has_not_ended() -> None:
    standings = [
        standing("a", 0, State.SUCCEEDED),
        standing("b", 1, State.TRIAL),
        standing("c", 1, State.ASSIGNED),
        standing("d", 2),
    ]
    assert decide(RUNNING, standings, is_stop_wanted=True) == (Withdraw("b"), Withdraw("c"))


def test_stopped_by_an_operator_ends_once_nothing_runs() -> None:
    standings = [standing("a", 0, State.SUCCEEDED), failed("b", 1, Reason.SUPERSEDED), standing("c", 2)]
    assert decide(RUNNING, standings, is_stop_wanted=True) == (End(RolloutState.STOPPED, "operator"),)


@pytest.mark.parametrize("state", [RolloutState.SUCCEEDED, RolloutState.STOPPED])
def test_an_ended_rollout_does_nothing(state: RolloutState) -> None:
    assert decide(state, [failed("a"), standing("b")]) == ()


def test_an_ended_rollout_still_sets_failed_devices_back() -> None:
    standings = [replace(failed("a"), is_set_back=False)]
    assert decide(RolloutState.STOPPED, standings) == (SetBack("a"),)


def test_current_phase_is_the_first_that_has_not_succeeded() -> None:
    assert current_phase([standing("a", 0, State.SUCCEEDED), standing("b", 1), standing("c", 2)]) == 1
    assert current_phase([standing("a", 0, State.SUCCEEDED), standing("b", 1, State.SUCCEEDED)]) == 1


class Fleet:
    """Performs decisions, and answers as devices that draw their lots would."""

    def __init__(self, standings: list[Standing], data: st.DataObject) -> None:
        self.standings = {each.device: each for each in standings}
        self.state = RUNNING
        self.assigned: list[str] = []
        self.set_back: list[str] = []
        self._data = data

    def perform(self, action: Action) -> None:
        if isinstance(action, End):
            self.state = action.state
            return
        each = self.standings[action.device]
        if isinstance(action, SetBack):
            self.set_back.append(each.device)
            each = replace(each, is_set_back=True)
        elif isinstance(action, Withdraw):
            each = replace(each, state=State.FAILED, reason=Reason.SUPERSEDED, ended_at=NOON)
        else:
            assert State.FAILED not in {other.state for other in self.standings.values()}
            assert all(
                other.state is State.SUCCEEDED
                for other in self.standings.values()
                if other.phase < each.phase
            )
            self.assigned.append(each.device)
            done = isinstance(action, Accept)
            each = replace(
                each,
                state=State.SUCCEEDED if done else State.ASSIGNED,
                ended_at=NOON if done else None,
            )
        self.standings[each.device] = each

    def let_one_device_go_on(self) -> bool:
        running = [each for each in self.standings.values() if each.state not in {None, *ENDS}]
        able = [each for each in running if each.is_online]
        if not able:
            return False
        each = self._data.draw(st.sampled_from(able))
        ends = [State.SUCCEEDED, State.FAILED]
        lots = [State.TRIAL, *ends] if each.state is State.ASSIGNED else ends
        state = self._data.draw(st.sampled_from(lots))
        self.standings[each.device] = replace(
            each,
            state=state,
            reason=Reason.TRIAL if state is State.FAILED else None,
            ended_at=NOON if state in ENDS else None,
        )
        return True


@given(
    phases=st.lists(st.integers(0, 3), min_size=1, max_size=8),
    lots=st.lists(st.tuples(st.booleans(), st.booleans()), min_size=8, max_size=8),
    stop_after=st.none() | st.integers(0, 10),
    data=st.data(),
)
def test_any_rollout_ends_and_never_assigns_too_much(
    phases: list[int], lots: list[tuple[bool, bool]], stop_after: int | None, data: st.DataObject
) -> None:
    standings = [
        Standing(f"d{index}", phase, is_online=lot[0], runs_version=lot[1])
        for index, (phase, lot) in enumerate(zip(phases, lots, strict=False))
    ]
    fleet = Fleet(standings, data)
    for turn in range(100):
        is_stop_wanted = stop_after is not None and turn >= stop_after
        actions = decide(fleet.state, list(fleet.standings.values()), is_stop_wanted=is_stop_wanted)
        for action in actions:
            fleet.perform(action)
        if not actions and not fleet.let_one_device_go_on():
            break
    else:
        pytest.fail("the rollout does not come to rest")
    assert len(fleet.assigned) == len(set(fleet.assigned))
    assert len(fleet.set_back) == len(set(fleet.set_back))
    ended = [each for each in fleet.standings.values() if each.state is State.FAILED]
    assert sorted(fleet.set_back) == sorted(each.device for each in ended)
    if fleet.state is RUNNING:
        assert any(
            each.state not in {None, *ENDS} and not each.is_online for each in fleet.standings.values()
        )
