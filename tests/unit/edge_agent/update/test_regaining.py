"""A model whose delegate was taken when its worker started is moved there when it is free."""

from __future__ import annotations

from contract.errors import RuntimeLoadError, SelfTestError
from contract.messages import DelegateReport
from edge_agent.update.models import REGAIN_TRIES
from tests.support.agent_world import World

FELL = DelegateReport(requested="edgetpu", actual="xnnpack", reason="the old version holds it")
ENGAGED = DelegateReport(requested="edgetpu", actual="edgetpu")


def on_its_fallback(world: World) -> int:
    """Deploy a version that starts on its fall-back; the key of its worker."""
    world.delegate = FELL
    world.desire(digits=("1.0.0", "d1"))
    world.settle()
    return world.serving["digits"].key


def reported_delegate(world: World) -> str:
    assert world.reported is not None
    report = world.reported.models["digits"].delegate
    assert report is not None
    return report.actual


def test_a_delegate_that_is_free_again_is_taken(world: World) -> None:
    on_its_fallback(world)
    assert reported_delegate(world) == "xnnpack"
    world.delegate = ENGAGED
    world.settle()
    assert reported_delegate(world) == "edgetpu"
    assert world.candidates == []
    world.check()


def test_a_delegate_that_stays_taken_is_asked_for_a_few_times_only(world: World) -> None:
    key = on_its_fallback(world)
    for _ in range(2 * REGAIN_TRIES):
        world.settle()
    assert world.serving["digits"].key == key
    assert world.started <= key + REGAIN_TRIES
    assert world.candidates == []


def test_a_delegate_that_answers_wrongly_is_not_taken(world: World) -> None:
    key = on_its_fallback(world)
    world.delegate = ENGAGED
    world.fails["self_test", "1.0.0"] = SelfTestError("wrong")
    world.settle()
    assert world.serving["digits"].key == key
    assert world.candidates == []


def test_a_worker_that_does_not_start_leaves_the_one_that_answers(world: World) -> None:
    key = on_its_fallback(world)
    world.fails["start", "1.0.0"] = RuntimeLoadError("died")
    world.settle()
    assert world.serving["digits"].key == key
