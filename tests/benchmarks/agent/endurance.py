"""Many switches under load, and workers killed at random.

The long versions: ``LITEFLEET_SWITCHES=1000 LITEFLEET_KILLS=60 make bench AREA=agent``, about half an hour.
"""

from __future__ import annotations

import os

from tests.benchmarks.harness import Row, at_most, versions_of
from tests.support.endurance import Survived, Switched, kill_often, switch_often
from tests.support.inference_slots import a_pool, serve, short_folder

SWITCHES = int(os.environ.get("LITEFLEET_SWITCHES", "40"))
KILLS = int(os.environ.get("LITEFLEET_KILLS", "10"))
DEADLINE_S = 5.0


def rows() -> list[Row]:
    """Measure both."""
    with short_folder() as run_dir, a_pool(run_dir) as (pool, _):
        serve(pool)
        switched = switch_often(pool, run_dir, SWITCHES)
    with short_folder() as run_dir, a_pool(run_dir) as (pool, _):
        serve(pool)
        survived = kill_often(pool, run_dir, KILLS)
    return [*_switch_rows(switched), *_kill_rows(survived)]


def _row(name: str, value: float, unit: str, samples: int, most: float | None) -> Row:
    goal = None if most is None else at_most(most)
    return Row(
        name=name, value=value, unit=unit, samples=samples, goal=goal, versions=versions_of("ai-edge-litert")
    )


def _switch_rows(done: Switched) -> list[Row]:
    failed = len(done.failures) + done.wrong
    return [
        _row(f"{SWITCHES} switches under load: requests failed or wrong", failed, "requests", done.asked, 0),
        _row("p99 while switching over p99 in peace", done.p99_ratio, "ratio", SWITCHES, 2.0),
        _row("growth of memory by a switch (slope of private memory)", done.slope_kib, "KiB", SWITCHES, 1.0),
        _row("open files more after all switches", done.last.files - done.first.files, "files", SWITCHES, 0),
        _row("shared memory more", done.last.segments - done.first.segments, "segments", SWITCHES, 0),
        _row("children more", done.last.children - done.first.children, "processes", SWITCHES, 0),
    ]


def _kill_rows(done: Survived) -> list[Row]:
    return [
        _row(f"{KILLS} kills: answers that were wrong", done.wrong, "requests", done.asked, 0),
        _row("requests that failed with a clear error", len(done.failures), "requests", done.asked, None),
        _row("longest answered request", done.longest_s, "s", done.asked, DEADLINE_S),
    ]
