from __future__ import annotations

import msgspec
import pytest

from contract.deployment import Reason, State
from contract.errors import (
    DigestError,
    DownloadError,
    IncompatibleError,
    LitefleetError,
    RuntimeLoadError,
    SelfTestError,
)
from contract.messages import EventKind
from edge_agent.update.slot_table import EMPTY
from edge_agent.update.slots import read_slot_table
from edge_agent.update.trial import Observation
from tests.support.agent_world import World, deployed, full_disk

WHOLE_WAY = [
    State.ASSIGNED,
    State.FETCHING,
    State.STAGING,
    State.TESTING,
    State.SWITCHING,
    State.TRIAL,
    State.SUCCEEDED,
]


def test_a_device_that_nothing_is_desired_of_reports_nothing(world: World) -> None:
    world.run()
    assert world.reported is not None
    assert (world.reported.revision, world.reported.models) == (0, {})


def test_a_first_version_is_deployed(world: World) -> None:
    deployed(world)
    assert world.states("d1") == WHOLE_WAY
    assert world.answering() == "1.0.0"
    assert world.end("d1").bytes_done == 2
    world.check()
    assert world.reported is not None
    report = world.reported.models["digits"]
    assert (report.version, report.variant, report.deployment, report.state) == (
        "1.0.0",
        "float32",
        "d1",
        State.SUCCEEDED,
    )
    assert report.delegate is not None
    assert world.reported.revision == 1


def test_a_second_version_goes_into_the_other_slot_and_the_first_stays_good(world: World) -> None:
    deployed(deployed(world), "1.1.0", "d2")
    assert world.forgotten == [("digits", ""), ("digits", "1.0.0")], "counted anew before the new one answers"
    table = read_slot_table(world.slots())
    assert (table.active, table.b.version, table.b.good) == ("b", "1.1.0", True)
    assert (table.a.version, table.a.good) == ("1.0.0", True)
    assert world.answering() == "1.1.0"
    world.check()


def test_a_version_that_runs_already_succeeds_at_once_without_a_fetch(world: World) -> None:
    deployed(world)
    world.desire(digits=("1.0.0", "d2"))
    world.settle()
    assert world.states("d2") == [State.SUCCEEDED]
    assert world.fetches == 1
    assert read_slot_table(world.slots()).running.good
    world.check()


def test_a_document_that_is_not_newer_is_ignored(world: World) -> None:
    deployed(world)
    revision = world._revision
    world._revision = 0
    world.desire(digits=("1.1.0", "d2"))
    world.settle()
    assert world.states("d2") == []
    world._revision = revision


@pytest.mark.parametrize(
    ("door", "error", "reason"),
    [
        ("fetch", DigestError("damaged"), Reason.DIGEST),
        ("fetch", IncompatibleError("too large"), Reason.INCOMPATIBLE),
        ("fetch", DownloadError("no server"), Reason.DOWNLOAD),
        ("fetch", full_disk(), Reason.STORAGE),
        ("start", RuntimeLoadError("no such op"), Reason.RUNTIME_LOAD),
        ("self_test", SelfTestError("wrong answers"), Reason.SELF_TEST),
        ("activate", RuntimeLoadError("it died"), Reason.RUNTIME_LOAD),
    ],
)
def test_what_fails_leaves_the_old_version_answering(
    world: World, door: str, error: LitefleetError, reason: Reason
) -> None:
    deployed(world)
    before = world.serving["digits"]
    world.fails[door, "1.1.0"] = error
    world.desire(digits=("1.1.0", "d2"))
    world.settle()
    end = world.end("d2")
    assert (end.after, end.reason) == (State.FAILED, reason)
    assert str(error) in end.detail
    assert world.serving["digits"] == before, "the old worker must not even be started again"
    assert world.candidates == []
    table = read_slot_table(world.slots())
    assert (table.active, table.b) == ("a", EMPTY)
    assert [path.name for path in (world.slots() / "b").rglob("*")] == ["artifacts"]
    world.check()


@pytest.mark.parametrize("door", ["fetch", "start", "self_test", "activate"])
def test_a_first_version_that_fails_leaves_nothing_answering(world: World, door: str) -> None:
    world.run()
    world.fails[door, "1.0.0"] = RuntimeLoadError("no")
    world.desire(digits=("1.0.0", "d1"))
    world.settle()
    assert world.end("d1").reason is Reason.RUNTIME_LOAD
    assert world.answering() == ""
    assert read_slot_table(world.slots()).active == ""
    world.check()


def test_a_failed_trial_brings_the_old_version_back_and_tells_an_event(world: World) -> None:
    deployed(world)
    world.observation = Observation(requests=3, crashes=1, last_crash="SIGSEGV")
    world.desire(digits=("1.1.0", "d2"))
    world.settle()
    end = world.end("d2")
    assert (end.reason, end.detail) == (Reason.TRIAL, "its worker died: SIGSEGV")
    assert world.states("d2")[-3:] == [State.TRIAL, State.ROLLING_BACK, State.FAILED]
    assert world.answering() == "1.0.0"
    assert [(event.kind, event.version, event.reason) for event in world.events] == [
        (EventKind.ROLLED_BACK, "1.1.0", Reason.TRIAL)
    ]
    world.check()


def test_a_refused_release_tells_an_event_and_a_slow_server_does_not(world: World) -> None:
    world.run()
    world.fails["fetch", "1.0.0"] = DigestError("damaged")
    world.desire(digits=("1.0.0", "d1"))
    world.settle()
    world.fails["fetch", "1.0.0"] = DownloadError("later")
    world.desire(digits=("1.0.0", "d2"))
    world.settle()
    assert [(event.kind, event.reason) for event in world.events] == [(EventKind.REFUSED, Reason.DIGEST)]


def test_a_roll_back_that_fails_has_its_own_reason_and_leaves_the_new_worker_answering(world: World) -> None:
    deployed(world)
    world.observation = Observation(requests=10, errors=10)
    world.fails["start", "1.0.0"] = RuntimeLoadError("not any more")
    world.desire(digits=("1.1.0", "d2"))
    world.settle()
    end = world.end("d2")
    assert end.reason is Reason.ROLLBACK_FAILED
    assert "not any more" in end.detail
    assert "10 of 10 requests" in end.detail
    assert read_slot_table(world.slots()).active == "a", "after a restart the good slot is tried first"
    assert world.answering() == "1.1.0", "something that answers is better than nothing"
    assert (world.slots() / "b" / "manifest.json").exists(), "a worker still runs from it"


def test_a_newer_document_supersedes_what_is_being_fetched(world: World) -> None:
    deployed(world)
    world.during_fetch = lambda: world.desire(digits=("1.2.0", "d3"))
    world.desire(digits=("1.1.0", "d2"))
    world.runner.turn()
    world.runner.turn()
    world.runner.turn()
    world.during_fetch = lambda: None
    world.settle()
    assert world.end("d2").reason is Reason.SUPERSEDED
    assert world.end("d3").after is State.SUCCEEDED
    assert world.answering() == "1.2.0"
    assert world.events == []
    world.check()


def test_a_trial_is_brought_to_its_end_before_a_newer_document_is_followed(world: World) -> None:
    deployed(world)
    world._revision += 1
    world.desire(digits=("1.1.0", "d2"))
    while world.states("d2")[-1:] != [State.TRIAL]:
        world.runner.turn()
    world.desire(digits=("1.2.0", "d3"))
    world.settle()
    assert world.end("d2").after is State.SUCCEEDED
    assert world.answering() == "1.2.0"


def test_a_model_that_is_not_desired_any_more_is_stopped_and_deleted(world: World) -> None:
    deployed(world)
    world.desire()
    world.settle()
    assert world.answering() == ""
    assert not world.slots().exists()
    assert world.reported is not None
    assert (world.reported.revision, world.reported.models) == (2, {})


def test_two_models_are_deployed_one_after_the_other(world: World) -> None:
    world.run()
    world.desire(zebras=("2.0.0", "z1"), digits=("1.0.0", "d1"))
    world.settle()
    assert [change.deployment for change in world.changes if change.before is None] == ["d1", "z1"]
    assert world.end("d1").after is world.end("z1").after is State.SUCCEEDED
    world.check()


def test_progress_is_told_with_growing_steps_and_not_too_often(world: World) -> None:
    world.progress_s = 0.0
    world.boot()
    deployed(world)
    during = [change for change in world.changes if change.before is State.FETCHING is change.after]
    assert [change.bytes_done for change in during] == [1, 2]
    world.progress_s = 60.0
    world.boot()
    world.runner.bring_up()
    deployed(world, "1.1.0", "d2")
    assert not [
        change for change in world.changes if change.deployment == "d2" and change.before is change.after
    ]
    world.check()


def test_a_trial_of_some_length_goes_on_until_its_time_is_over(world: World) -> None:
    deployed(world)
    world.desire(digits=("1.1.0", "d2"))
    record = None
    while record is None or record.state is not State.TRIAL:
        world.runner.turn()
        record = world.models.records["digits"]
    world.models.save(msgspec.structs.replace(record, trial_s=60.0))
    assert 0.0 < world.runner.turn() < 1.0
    assert world.states("d2")[-1] is State.TRIAL
    world.observation = Observation(crashes=1, last_crash="SIGBUS")
    world.settle()
    assert world.end("d2").reason is Reason.TRIAL
