"""Where memory holds one worker of a model at a time: the old version ends first, and comes back when it must."""

from __future__ import annotations

import pytest

from contract.deployment import Reason, State
from contract.errors import DeviceError, LitefleetError, RuntimeLoadError, SelfTestError
from contract.messages import DeploymentChange
from edge_agent.update.journal import JOURNAL_FILE
from edge_agent.update.trial import Observation
from tests.support.agent_world import World, deployed


@pytest.fixture
def small(world: World) -> World:
    """A device with a good version, whose memory holds one worker of a model."""
    deployed(world)
    world.holds_one = True
    return world


def test_a_version_follows_with_a_gap(small: World) -> None:
    small.desire(digits=("1.1.0", "d2"))
    small.settle()
    assert small.end("d2").after is State.SUCCEEDED
    assert small.answering() == "1.1.0"
    small.check()


@pytest.mark.parametrize(
    ("door", "error"),
    [
        ("start", RuntimeLoadError("no such op")),
        ("self_test", SelfTestError("wrong answers")),
        ("activate", RuntimeLoadError("it died")),
    ],
)
def test_a_candidate_that_fails_in_the_gap_brings_the_old_version_back(
    small: World, door: str, error: LitefleetError
) -> None:
    small.fails[door, "1.1.0"] = error
    small.desire(digits=("1.1.0", "d2"))
    small.settle()
    assert small.end("d2").after is State.FAILED
    assert small.answering() == "1.0.0"
    assert small.candidates == []
    small.check()


def test_a_version_that_fails_its_trial_makes_room_for_the_old_one(small: World) -> None:
    small.observation = Observation(crashes=1, last_crash="SIGSEGV")
    small.desire(digits=("1.1.0", "d2"))
    small.settle()
    assert small.end("d2").reason is Reason.TRIAL
    assert small.answering() == "1.0.0"
    small.check()


def test_the_old_version_comes_back_also_where_memory_is_said_not_to_hold_it(world: World) -> None:
    deployed(world)
    world.observation = Observation(crashes=1, last_crash="SIGSEGV")
    world.fails["admit", "1.0.0"] = DeviceError("takes 40 MiB, 30 MiB can be had")
    world.desire(digits=("1.1.0", "d2"))
    world.settle()
    assert world.end("d2").reason is Reason.TRIAL
    assert world.answering() == "1.0.0"


def test_a_disk_that_fails_in_the_gap_leaves_nobody_without_an_answer(small: World) -> None:
    draft = small.slots() / f"{JOURNAL_FILE}.draft"

    def fail_in_testing(change: DeploymentChange) -> None:
        if change.after is State.TESTING:
            draft.mkdir()  # every write of the journal fails from now on

    small.on_change = fail_in_testing
    small.desire(digits=("1.1.0", "d2"))
    small.settle()
    assert small.answering() == "1.0.0"
    assert small.candidates == []
    draft.rmdir()
    small.settle()
    assert small.end("d2").after is State.SUCCEEDED
    assert small.answering() == "1.1.0"
    small.check()


def test_a_model_that_is_removed_in_its_gap_is_gone(small: World) -> None:
    small.fails["start", "1.0.0"] = small.fails["start", "1.1.0"] = RuntimeLoadError("no memory at all")
    small.desire(digits=("1.1.0", "d2"))
    small.settle()
    assert small.end("d2").reason is Reason.ROLLBACK_FAILED
    assert small.answering() == ""
    small.desire()
    small.settle()
    assert not small.slots().exists()
    assert small.reported is not None
    assert small.reported.models == {}
