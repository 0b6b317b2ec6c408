"""Workers are replaced when heat or power ask for another number of threads, and only when that harms nobody."""

from __future__ import annotations

import pytest

from contract.deployment import State
from contract.errors import RuntimeLoadError, SelfTestError
from contract.messages import DelegateReport
from tests.support.agent_world import World

FELL = DelegateReport(requested="edgetpu", actual="xnnpack", reason="the old worker holds it")


def deployed(world: World) -> int:
    """Deploy a version that runs with two threads; the key of its worker."""
    world.threads = 2
    world.desire(digits=("1.0.0", "d1"))
    world.settle()
    return world.serving["digits"].key


def test_a_worker_is_replaced_on_the_way_down_and_on_the_way_back(world: World) -> None:
    deployed(world)
    for threads in (1, 2):
        world.threads = threads
        world.settle()
        assert world.serving["digits"].spec.threads == threads
        assert world.reported is not None
        assert world.reported.models["digits"].threads == threads
        assert world.candidates == []
    world.check()


@pytest.mark.parametrize("door", ["start_in_step", "self_test", "activate"])
def test_a_worker_that_cannot_be_replaced_answers_on_and_is_tried_ever_more_rarely(
    world: World, door: str
) -> None:
    key = deployed(world)
    world.threads = 1
    world.fails[door, "1.0.0"] = (SelfTestError if door == "self_test" else RuntimeLoadError)("why")
    tried: list[int] = []
    for _ in range(20):
        before = world.tried_steps
        world.runner.turn()
        tried.append(world.tried_steps - before)
    assert [turn for turn, times in enumerate(tried, 1) if times] == [1, 2, 4, 8, 16]
    assert world.serving["digits"].key == key
    assert world.candidates == []
    del world.fails[door, "1.0.0"]
    for _ in range(12):
        world.runner.turn()
    assert world.serving["digits"].spec.threads == 1


def test_a_new_worker_that_loses_the_delegate_is_not_taken(world: World) -> None:
    key = deployed(world)
    world.delegate, world.threads = FELL, 1
    world.settle()
    assert world.serving["digits"].key == key
    assert world.candidates == []


def test_during_a_trial_and_between_tries_to_fetch_workers_are_kept_in_step(world: World) -> None:
    deployed(world)
    world.desire(digits=("1.1.0", "d2"))
    seen: list[int] = []

    def fetching() -> None:
        world.threads = 1
        seen.append(world.serving["digits"].spec.threads)

    world.during_fetch = fetching
    world.settle()
    assert seen == [2]
    assert world.end("d2").after is State.SUCCEEDED
    assert world.threads_at[State.STAGING] == 1  # progress of the fetch was a moment to look
    assert world.serving["digits"].spec.threads == 1
