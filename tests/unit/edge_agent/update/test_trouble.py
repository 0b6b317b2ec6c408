from __future__ import annotations

import threading

from contract.deployment import Reason, State
from contract.messages import DeploymentChange
from edge_agent.update.journal import JOURNAL_FILE
from edge_agent.update.slot_table import EMPTY, SlotContent
from edge_agent.update.slots import read_slot_table
from tests.support.agent_world import World, deployed, full_disk

NEW = SlotContent(version="1.1.0", variant="float32", digest="b" * 64)


def test_a_disk_that_cannot_be_written_stops_nothing_that_answers(world: World) -> None:
    deployed(world)
    journal = world.slots() / JOURNAL_FILE
    (world.slots() / f"{JOURNAL_FILE}.draft").mkdir()  # every write of the journal fails from now on
    world.desire(digits=("1.1.0", "d2"))
    world.settle()
    assert world.states("d2") == []
    assert world.answering() == "1.0.0"
    (world.slots() / f"{JOURNAL_FILE}.draft").rmdir()
    world.settle()
    assert world.end("d2").after is State.SUCCEEDED
    assert journal.exists()


def test_a_disk_that_is_full_of_what_was_fetched_is_emptied_before_the_failure_is_written_down(
    world: World,
) -> None:
    deployed(world)
    left: list[list[str]] = []
    world.fails["fetch", "1.1.0"] = full_disk()
    world.on_change = lambda change: left.append(
        [path.name for path in world.slots().glob("[bp]*/*/*")] if change.reason else []
    )
    world.desire(digits=("1.1.0", "d2"))
    world.settle()
    assert world.end("d2").reason is Reason.STORAGE
    assert left[-2:] == [[], []]


def test_a_slot_that_cannot_be_marked_good_is_settled_later(world: World) -> None:
    world.run()
    world.desire(digits=("1.0.0", "d1"))
    while world.states("d1")[-1:] != [State.TRIAL]:
        world.runner.turn()
    draft = world.slots() / "slots.json.draft"
    draft.mkdir()
    world.settle()
    assert world.end("d1").after is State.SUCCEEDED
    assert not read_slot_table(world.slots()).running.good
    world.desire(digits=("1.1.0", "d2"))
    world.settle()
    assert world.states("d2") == [], "nothing begins while the only version is not kept"
    draft.rmdir()
    world.settle()
    assert world.end("d2").after is State.SUCCEEDED
    world.check()


def test_in_a_thread_of_its_own_it_brings_up_follows_documents_and_stops_in_good_order(world: World) -> None:
    arrived = threading.Event()
    world.on_change = lambda change: arrived.set() if change.after is State.SUCCEEDED else None
    world.runner.start()
    assert world.up.wait(10)
    world.desire(digits=("1.0.0", "d1"))
    assert arrived.wait(10)
    arrived.clear()
    world.during_fetch = world.runner.stop
    world.desire(digits=("1.1.0", "d2"))
    assert world.runner.join(10)
    record = world.models.records["digits"]
    assert (record.deployment, record.state, record.is_stopped) == ("d2", State.FETCHING, True)
    assert world.ended.empty()


def test_a_runner_that_was_never_started_has_ended(world: World) -> None:
    assert world.runner.join(0.0)


def test_a_bug_ends_the_thread_and_is_handed_over(world: World) -> None:
    def bug(_: DeploymentChange) -> None:
        raise ZeroDivisionError

    world.on_change = bug
    world.runner.start()
    assert world.up.wait(10)
    world.desire(digits=("1.0.0", "d1"))
    assert isinstance(world.ended.get(timeout=10), ZeroDivisionError)
    assert world.runner.join(10)


def test_a_crash_that_is_told_is_looked_at_at_once(world: World) -> None:
    deployed(world)
    world.runner.start()
    assert world.up.wait(10)
    del world.serving["digits"]
    answering = threading.Event()
    world.on_reported = lambda: answering.set() if "digits" in world.serving else None
    world.runner.refresh()
    assert answering.wait(10)
    world.runner.stop()
    assert world.runner.join(10)


def test_a_slot_that_is_lost_before_the_switch_fails_the_deployment(world: World) -> None:
    deployed(world)
    world.desire(digits=("1.1.0", "d2"))
    while world.states("d2")[-1:] != [State.SWITCHING]:
        world.runner.turn()
    world.models.slots("digits").record_staged("b", EMPTY)
    world.settle()
    assert world.end("d2").reason is Reason.STORAGE
    assert world.answering() == "1.0.0"
    assert world.candidates == []


def test_space_that_cannot_be_given_back_is_no_reason_to_hang(world: World) -> None:
    deployed(world)
    world.fails["fetch", "1.1.0"] = full_disk()
    world.during_fetch = (world.slots() / "slots.json.draft").mkdir
    slots = world.models.slots("digits")
    world.desire(digits=("1.1.0", "d2"))
    while world.states("d2")[-1:] != [State.FETCHING]:
        world.runner.turn()
    slots.record_staged("b", NEW)
    world.settle()
    assert world.end("d2").reason is Reason.STORAGE
