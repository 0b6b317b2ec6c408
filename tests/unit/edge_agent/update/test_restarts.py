from __future__ import annotations

import msgspec
import pytest

from contract.deployment import Reason, State
from contract.errors import (
    RuntimeLoadError,
)
from contract.messages import EventKind
from edge_agent.update.journal import JOURNAL_FILE
from edge_agent.update.slots import read_slot_table
from tests.support.agent_world import World, deployed


def test_after_a_restart_the_models_answer_before_anything_else_happens(world: World) -> None:
    deployed(deployed(world), "1.1.0", "d2")
    world.boot()
    world.runner.bring_up()
    assert world.answering() == "1.1.0"
    assert world.reported is not None
    assert world.reported.revision == 2
    world.settle()
    world.check()


def test_a_document_taken_over_before_a_restart_is_followed_after_it(world: World) -> None:
    world.run()
    world.desire(zebras=("2.0.0", "z1"), digits=("1.0.0", "d1"))
    while not world.states("d1"):
        world.runner.turn()
    world.boot()
    world.run()
    assert world.end("d1").after is world.end("z1").after is State.SUCCEEDED


def test_an_active_slot_that_cannot_be_started_falls_back_to_the_other_good_one(world: World) -> None:
    deployed(deployed(world), "1.1.0", "d2")
    world.fails["start", "1.1.0"] = RuntimeLoadError("the runtime was upgraded")
    world.boot()
    world.run()
    assert world.answering() == "1.0.0"
    assert [(event.kind, event.version, event.reason) for event in world.events] == [
        (EventKind.ROLLED_BACK, "1.1.0", Reason.RUNTIME_LOAD)
    ]
    world.check()


def test_a_model_damaged_on_disk_falls_back_to_the_other_good_slot(world: World) -> None:
    deployed(deployed(world), "1.1.0", "d2")
    table = read_slot_table(world.slots())
    (world.slots() / "b" / "artifacts" / table.running.digest).write_bytes(b"rotten")
    world.boot()
    world.run()
    assert world.answering() == "1.0.0"
    assert world.events[0].reason is Reason.DIGEST
    world.check()


def test_a_model_that_cannot_be_started_is_tried_again_later_and_told_once(world: World) -> None:
    deployed(world)
    world.fails["start", "1.0.0"] = RuntimeLoadError("no memory")
    world.boot()
    world.run()
    world.settle()
    assert world.answering() == ""
    assert [event.kind for event in world.events] == [EventKind.WORKER_CRASHED]
    world.fails.clear()
    world.settle()
    assert world.answering() == "1.0.0"
    world.check()


@pytest.mark.parametrize("state", ["switching", "trial"])
def test_a_new_version_that_cannot_be_started_after_a_restart_is_rolled_back(
    world: World, state: str
) -> None:
    deployed(world)
    world.desire(digits=("1.1.0", "d2"))
    while world.states("d2")[-1:] != [State(state)]:
        world.runner.turn()
    if state == "switching":
        slots = world.models.slots("digits")
        slots.switch(slots.table.inactive)
    world.fails["start", "1.1.0"] = RuntimeLoadError("died at boot")
    world.boot()
    world.run()
    end = world.end("d2")
    assert (end.after, end.reason) == (State.FAILED, Reason.RUNTIME_LOAD)
    assert world.answering() == "1.0.0"
    world.check()


def test_a_version_that_brings_the_board_down_in_its_trial_is_left(world: World) -> None:
    deployed(world)
    world.desire(digits=("1.1.0", "d2"))
    while world.states("d2")[-1:] != [State.TRIAL]:
        world.runner.turn()
    for _ in range(3):
        world.boot()
        world.runner.bring_up()
    world.settle()
    assert world.end("d2").reason is Reason.INTERRUPTED
    assert world.answering() == "1.0.0"
    world.check()


def test_orderly_restarts_in_a_trial_do_not_end_it(world: World) -> None:
    deployed(world)
    world.desire(digits=("1.1.0", "d2"))
    while world.states("d2")[-1:] != [State.TRIAL]:
        world.runner.turn()
    for _ in range(5):
        world.runner._mark_stopped()
        world.boot()
        world.runner.bring_up()
    world.settle()
    assert world.end("d2").after is State.SUCCEEDED


def test_an_unknown_persisted_state_is_rolled_back(world: World) -> None:
    deployed(world)
    world.desire(digits=("1.1.0", "d2"))
    while world.states("d2")[-1:] != [State.TRIAL]:
        world.runner.turn()
    path = world.slots() / JOURNAL_FILE
    stored = msgspec.json.decode(path.read_bytes())
    path.write_bytes(msgspec.json.encode({**stored, "state": "verifying-twice", "format": 9}))
    world.boot()
    world.run()
    assert world.end("d2").reason is Reason.UNKNOWN_STATE
    assert world.answering() == "1.0.0"
    world.check()


def test_a_journal_that_is_rubbish_is_put_aside_and_the_model_answers(world: World) -> None:
    deployed(world)
    (world.slots() / JOURNAL_FILE).write_bytes(b"\0\0\0")
    world.boot()
    world.runner.bring_up()
    assert world.answering() == "1.0.0"
    assert (world.slots() / f"{JOURNAL_FILE}.damaged").exists()
    world.settle()
    assert world.states("d1")[-1] is State.SUCCEEDED, "begun again, and found to run already"
    assert world.fetches == 1


def test_damaged_slots_are_put_aside_and_the_model_is_deployed_again(world: World) -> None:
    world.run()
    world.desire(zebras=("2.0.0", "z1"), digits=("1.0.0", "d1"))
    world.settle()
    (world.slots() / "slots.json").write_bytes(b"{")
    world.boot()
    world.runner.bring_up()
    assert (world.answering(), world.answering("zebras")) == ("", "2.0.0")
    world.settle()
    assert world.answering() == "1.0.0"


def test_a_folder_that_is_no_model_is_left_alone(world: World) -> None:
    (world.folder / "models" / "Not A Model").mkdir(parents=True)
    deployed(world)
    world.boot()
    world.run()
    assert (world.folder / "models" / "Not A Model").exists()
    assert world.reported is not None
    assert list(world.reported.models) == ["digits"]


def test_a_start_that_fails_because_the_agent_stops_says_nothing_about_the_version(world: World) -> None:
    deployed(world)
    world.desire(digits=("1.1.0", "d2"))
    while world.states("d2")[-1:] != [State.TRIAL]:
        world.runner.turn()
    world.boot()
    world.fails["start", "1.1.0"] = world.fails["start", "1.0.0"] = RuntimeLoadError("the agent is ending")
    world.runner.stop()
    world.runner.bring_up()
    world.fails.clear()
    assert world.models.records["digits"].state is State.TRIAL
    assert world.events == []
    world.boot()
    world.run()
    assert world.end("d2").after is State.SUCCEEDED
