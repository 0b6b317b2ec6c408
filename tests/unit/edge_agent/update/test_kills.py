"""The power goes off at every call that a deployment makes; whatever happens, the device answers afterwards."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contract.deployment import ENDS, Reason, State
from contract.errors import DigestError, LitefleetError, RuntimeLoadError, SelfTestError
from edge_agent.update.trial import Observation
from tests.support.agent_world import RAM_DISK, Killed, World, full_disk

FAILURES: dict[tuple[str, str], LitefleetError] = {
    ("fetch", "1.1.0"): DigestError("damaged"),
    ("start", "1.1.0"): RuntimeLoadError("no such op"),
    ("self_test", "1.1.0"): SelfTestError("wrong answers"),
    ("activate", "1.1.0"): RuntimeLoadError("it died"),
}


def with_good_version(folder: str) -> World:
    world = World(Path(folder))
    world.runner.bring_up()
    world.desire(digits=("1.0.0", "d1"))
    world.settle()
    return world


MEMORY = pytest.mark.parametrize("holds_one", [False, True], ids=["beside", "with-a-gap"])


def kill_everywhere(
    prepare: Callable[[World], None], check: Callable[[World], None], *, holds_one: bool
) -> int:
    """Kill at the first call, the second, and so on, until one run is not killed; how many kills there were."""
    calls = 0
    while True:
        with tempfile.TemporaryDirectory(dir=RAM_DISK) as folder:
            world = with_good_version(folder)
            world.holds_one = holds_one
            prepare(world)
            world.desire(digits=("1.1.0", "d2"))
            world.power.calls_left = calls
            try:
                world.settle()
            except Killed:
                world.power.calls_left = None
                world.boot()
                world.runner.bring_up()
                assert world.answering() in {"1.0.0", "1.1.0"}, "after every kill something whole answers"
                world.desire(digits=("1.1.0", "d2"))  # the server sends it again
                world.settle()
                check(world)
                world.check()
            else:
                return calls
        calls += 1


@MEMORY
def test_killed_anywhere_a_deployment_goes_on_and_succeeds(*, holds_one: bool) -> None:
    def check(world: World) -> None:
        assert world.models.records["digits"].state is State.SUCCEEDED
        assert world.answering() == "1.1.0"

    assert kill_everywhere(lambda _: None, check, holds_one=holds_one) > 30


@MEMORY
def test_killed_anywhere_a_deployment_that_fails_still_fails_and_the_old_version_answers(
    *, holds_one: bool
) -> None:
    for door, error in FAILURES.items():

        def prepare(world: World, door: tuple[str, str] = door, error: LitefleetError = error) -> None:
            world.fails[door] = error

        def check(world: World) -> None:
            record = world.models.records["digits"]
            assert record.state is State.FAILED
            assert world.answering() == "1.0.0"

        assert kill_everywhere(prepare, check, holds_one=holds_one) > 8


@MEMORY
def test_killed_anywhere_a_failed_trial_brings_the_old_version_back(*, holds_one: bool) -> None:
    def prepare(world: World) -> None:
        world.observation = Observation(crashes=1, last_crash="SIGSEGV")

    def check(world: World) -> None:
        assert world.models.records["digits"].reason is Reason.TRIAL
        assert world.answering() == "1.0.0"

    assert kill_everywhere(prepare, check, holds_one=holds_one) > 30


STEPS = st.tuples(
    st.sampled_from(["1.0.0", "1.1.0", "1.2.0"]),  # what is desired next
    st.lists(st.integers(0, 60), max_size=4),  # after how many calls the power goes off, again and again
    st.sampled_from([None, "fetch", "start", "self_test", "activate", "trial", "disk"]),  # what fails
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(STEPS, min_size=1, max_size=4), st.booleans())
def test_whatever_happens_in_whatever_order_the_device_comes_to_rest_with_a_good_version(
    steps: list[tuple[str, list[int], str | None]],
    holds_one: bool,  # noqa: FBT001 - drawn by hypothesis
) -> None:
    with tempfile.TemporaryDirectory(dir=RAM_DISK) as folder:
        world = with_good_version(folder)
        world.holds_one = holds_one
        for index, (version, kills, failing) in enumerate(steps):
            deployment = f"x{index}"
            good = world.answering()
            world.fails.clear()
            world.observation = Observation()
            if failing == "trial":
                world.observation = Observation(requests=10, errors=9)
            elif failing is not None and version != good:
                door = "fetch" if failing == "disk" else failing
                world.fails[door, version] = full_disk() if failing == "disk" else RuntimeLoadError("no")
            world.desire(digits=(version, deployment))
            for calls in kills:
                world.power.calls_left = calls
                try:
                    world.settle()
                except Killed:
                    world.power.calls_left = None
                    world.boot()
                    world.runner.bring_up()
                    assert world.answering() != ""
                    world._revision -= 1
                    world.desire(digits=(version, deployment))
                world.power.calls_left = None
            world.settle()
            world.check()
            record = world.models.records["digits"]
            assert record.deployment == deployment
            assert record.state in ENDS
            assert world.answering() == (version if record.state is State.SUCCEEDED else good)
            if record.reason is not None and failing is None:
                assert record.reason is Reason.INTERRUPTED
