"""What the agent does about heat and power, and the thread that looks at the sensors."""

from __future__ import annotations

import queue
from pathlib import Path

import pytest

from contract.heat import HeatLevel
from contract.messages import Event, EventKind, Reported
from edge_agent.heat.guard import HeatGuard
from edge_agent.heat.reading import Reading
from edge_agent.heat.reporter import HeatReporter
from edge_agent.heat.settings import HeatSettings
from edge_agent.heat.watch import HeatWatch
from firmware_profiles import load_profile
from tests.support.agent_world import World
from tests.support.contract_builders import AT

PI = load_profile("raspberry-pi-4")
COOL, HOT = Reading(celsius=50.0), Reading(celsius=90.0)


def test_a_hot_board_is_told_once_and_its_sources_run_slower() -> None:
    guard = HeatGuard(HeatSettings(), PI)
    assert guard.report() is None
    assert guard.take(COOL, 0.0)  # the first reading is news: now the board has looked
    assert (guard.rate_share, guard.is_held_back, guard.news()) == (1.0, False, "")
    assert not guard.take(COOL, 1.0)
    assert guard.take(HOT, 2.0)
    assert (guard.rate_share, guard.is_held_back) == (0.2, True)
    words = guard.news()
    assert words.startswith("least: ")
    assert words.endswith("90.0 °C; sources run at 20% of their rates, models with 1 threads at most")
    assert guard.news() == ""
    report = guard.report()
    assert report is not None
    assert (report.level, report.celsius) == (HeatLevel.LEAST, 90.0)
    assert guard.take(COOL, 3.0)  # its causes are gone, its level is not
    assert guard.news() == ""


def test_threads_and_variants_follow_the_level() -> None:
    guard = HeatGuard(HeatSettings(cheaper_variant=True), PI)
    assert (guard.threads_cap(), guard.is_saving()) == (0, False)
    guard.take(HOT, 0.0)
    assert (guard.threads_cap(), guard.is_saving()) == (1, True)
    assert guard.news().endswith(", those with a cheaper variant as that")
    unasked = HeatGuard(HeatSettings(), PI)
    unasked.take(HOT, 0.0)
    assert (unasked.threads_cap(), unasked.is_saving()) == (1, False)


def test_with_the_policy_off_nothing_is_held_back_and_everything_is_told() -> None:
    guard = HeatGuard(HeatSettings(enabled=False), PI)
    assert guard.take(HOT, 0.0)
    assert (guard.rate_share, guard.threads_cap(), guard.is_held_back) == (1.0, 0, True)
    assert "nothing is done" in guard.news()


def test_the_watch_hands_over_the_newest_reading_once() -> None:
    read: queue.SimpleQueue[None] = queue.SimpleQueue()
    ended: queue.SimpleQueue[BaseException] = queue.SimpleQueue()
    watch = HeatWatch(lambda: HOT, 0.001, on_reading=lambda: read.put(None), on_end=ended.put)
    assert watch.take() is None
    watch.start()
    for _ in range(3):
        read.get(timeout=10)
    watch.stop()
    watch.join(10)
    assert watch.take() == HOT
    assert watch.take() is None
    assert ended.empty()


def test_a_bug_in_reading_is_handed_on() -> None:
    ended: queue.SimpleQueue[BaseException] = queue.SimpleQueue()

    def broken() -> Reading:
        raise ZeroDivisionError

    watch = HeatWatch(broken, 60.0, on_reading=pytest.fail, on_end=ended.put)
    watch.join(0.0)  # one that was never started
    watch.start()
    assert isinstance(ended.get(timeout=10), ZeroDivisionError)
    watch.join(10)


def test_reports_of_the_update_part_carry_heat(tmp_path: Path) -> None:
    guard, world = HeatGuard(HeatSettings(), PI), World(tmp_path)
    reporter = HeatReporter(world, guard.report)
    reporter.tell_again()
    told = world.reported
    assert told is None  # there was no report to send again
    reporter.send_reported(Reported(v=1, revision=3, models={}))
    assert world.reported == Reported(v=1, revision=3, models={})
    guard.take(HOT, 0.0)
    reporter.tell_again()
    assert world.reported == Reported(v=1, revision=3, models={}, heat=guard.report())
    reporter.send_reported(Reported(v=1, revision=4, models={}))
    assert world.reported == Reported(v=1, revision=4, models={}, heat=guard.report())
    event = Event(v=1, kind=EventKind.THROTTLED, at=AT)
    reporter.send_event(event)
    assert world.events == [event]
