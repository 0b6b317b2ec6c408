"""Many switches under load, and an agent whose workers are killed at random.

The long versions: ``LITEFLEET_SWITCHES=1000 LITEFLEET_KILLS=60 make bench AREA=agent``, some ten minutes more.
"""

from __future__ import annotations

import contextlib
import os
import random
import statistics
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from contract.deployment import State
from edge_agent.inference.pool import WorkerSpec
from tests.benchmarks.harness import Row, at_most, versions_of
from tests.support.agent_bench import Bench, bench
from tests.support.agent_releases import GOOD, releases_served
from tests.support.endurance import Survived, Switched, kill_often, switch_often
from tests.support.inference_slots import START_S, a_pool, a_slot, hammers, is_running, serve, short_folder
from tests.support.process_memory import Memory, memory_of

SWITCHES = int(os.environ.get("LITEFLEET_SWITCHES", "40"))
KILLS = int(os.environ.get("LITEFLEET_KILLS", "10"))
MODELS = tuple(f"digits-{letter}" for letter in "abcdefgh")
"""Of which one is killed each second: a single one would rest most of the time, and a second would kill nobody."""
LONGEST_S = 5.1
"""The SDK's usual deadline, and the step in which the kernel's time limits are set."""
_SWITCHES_FOR_SLOPE = 300
"""The heap finds its size within the first hundred switches, in a step or two of 40 to 160 KiB: a slope over fewer says
where the steps fell. Over the 480 after that it was 0.03 KiB a switch (own measurement, glibc 2.36, Python 3.11)."""
STEADY_S = 10.0
LOOKS = 10


def rows() -> list[Row]:
    """Measure all."""
    with short_folder() as run_dir, a_pool(run_dir) as (pool, _):
        serve(pool)
        switched = switch_often(pool, run_dir, SWITCHES)
    several = _kill_several()
    with _deployed() as device:
        steady = _steady(device)
        survived = kill_often(device.run_dir, device.agent.pid, lambda: _active(device), KILLS)
        after = _steady(device)
        log = device.agent.log
        is_untouched = device.agent.terminate() == 0 and "Traceback" not in log
    return [
        *_switch_rows(switched),
        *_several_rows(several),
        *_main_rows(steady),
        *_kill_rows(survived, steady, after, is_untouched),
    ]


def _kill_several() -> Survived:
    """Kill a worker at random each second, of as many models that some always serve."""
    chance = random.Random(7)
    with (
        short_folder() as run_dir,
        tempfile.TemporaryDirectory() as folder,
        a_pool(run_dir) as (pool, _),
    ):
        for name in MODELS:
            slot = a_slot(Path(folder) / name, model=name)
            pool.activate(pool.start_candidate(WorkerSpec(name, "1.0.0", slot, 1), START_S))

        def victim() -> int | None:
            handles = [pool.active(name) for name in MODELS]
            alive = [handle.pid for handle in handles if handle is not None and is_running(handle.pid)]
            return chance.choice(alive) if alive else None

        return kill_often(run_dir, os.getpid(), victim, KILLS, models=MODELS)


@contextlib.contextmanager
def _deployed() -> Iterator[Bench]:
    """A real agent with broker and server, to which digits was deployed."""
    with contextlib.ExitStack() as stack:
        releases = stack.enter_context(
            releases_served(Path(stack.enter_context(tempfile.TemporaryDirectory())))
        )
        device = stack.enter_context(bench(stack.enter_context(short_folder()), releases))
        device.agent.start().wait_ready()
        device.server.deploy(GOOD, "d1")
        assert device.server.wait_end("d1").after is State.SUCCEEDED
        yield device


def _active(device: Bench) -> int | None:
    return next(iter(device.workers()), None)


def _steady(device: Bench) -> Memory:
    """Median memory of the main process while applications ask and telemetry flows."""
    pause = threading.Event()
    looks: list[Memory] = []
    with hammers(device.run_dir, (0.01,)):
        for _ in range(LOOKS):
            pause.wait(STEADY_S / LOOKS)
            looks.append(memory_of(device.agent.pid))
    return Memory(
        pss=round(statistics.median(look.pss for look in looks)),
        rss=round(statistics.median(look.rss for look in looks)),
        written=round(statistics.median(look.written for look in looks)),
    )


def _row(name: str, value: float, unit: str, samples: int, most: float | None) -> Row:
    goal = None if most is None else at_most(most)
    return Row(
        name=name, value=value, unit=unit, samples=samples, goal=goal, versions=versions_of("ai-edge-litert")
    )


def _switch_rows(done: Switched) -> list[Row]:
    failed = len(done.failures) + done.wrong
    growth = 1.0 if SWITCHES >= _SWITCHES_FOR_SLOPE else None
    return [
        _row(f"{SWITCHES} switches under load: requests failed or wrong", failed, "requests", done.asked, 0),
        _row(
            "p99 of requests during a switch over p99 between", done.p99_ratio, "ratio", done.in_switches, 2.0
        ),
        _row(
            "the same, median of blocks of 50 switches",
            done.p99_ratio_of_blocks,
            "ratio",
            done.in_switches,
            2.0,
        ),
        _row(
            "growth of memory by a switch (slope of private memory)", done.slope_kib, "KiB", SWITCHES, growth
        ),
        _row("the most that it grew at once", done.step_kib, "KiB", SWITCHES, None),
        _row("blocks that the interpreter holds more by a switch", done.blocks, "blocks", SWITCHES, 0.5),
        _row("open files more after all switches", done.last.files - done.first.files, "files", SWITCHES, 0),
        _row("shared memory more", done.last.segments - done.first.segments, "segments", SWITCHES, 0),
        _row("children more", done.last.children - done.first.children, "processes", SWITCHES, 0),
    ]


def _several_rows(done: Survived) -> list[Row]:
    before, after = done.first, done.last
    named = f"{KILLS} kills, one a second, of {len(MODELS)} models"
    return [
        _row(f"{named}: answers that were wrong", done.wrong, "requests", done.asked, 0),
        _row("workers of them that died of it", done.kills, "workers", KILLS, None),
        _row(f"{named}: failed with a clear error", len(done.failures), "requests", done.asked, None),
        _row(f"{named}: failed with any other error", len(done.unclear), "requests", done.asked, 0),
        _row(f"{named}: longest request, answered or failed", done.longest_s, "s", done.asked, LONGEST_S),
        _row(f"{named}: open files more", after.files - before.files, "files", 1, 0),
        _row(f"{named}: children more", after.children - before.children, "processes", 1, 0),
        _row(
            f"{named}: memory more by each death",
            (after.memory_kib - before.memory_kib) / max(1, done.kills),
            "KiB",
            done.kills,
            None,
        ),
    ]


def _main_rows(steady: Memory) -> list[Row]:
    return [
        _row("main process of an agent in steady state (PSS)", steady.pss / 1024, "MiB", LOOKS, 30.0),
        _row("the same (RSS, as if nobody shared anything)", steady.rss / 1024, "MiB", LOOKS, None),
    ]


def _kill_rows(done: Survived, steady: Memory, after: Memory, is_untouched: bool) -> list[Row]:  # noqa: FBT001
    before = done.first
    growth_kib = after.written - steady.written
    return [
        _row(f"{KILLS} kills, one a second: answers that were wrong", done.wrong, "requests", done.asked, 0),
        _row("workers that died of it", done.kills, "workers", KILLS, None),
        _row("requests that failed with a clear error", len(done.failures), "requests", done.asked, None),
        _row("requests that failed with any other error", len(done.unclear), "requests", done.asked, 0),
        _row("longest request, answered or failed", done.longest_s, "s", done.asked, LONGEST_S),
        _row("main process ended or told of an error of its own", not is_untouched, "times", 1, 0),
        _row("open files of the main process more", done.last.files - before.files, "files", 1, 0),
        _row("shared memory of it more", done.last.segments - before.segments, "segments", 1, 0),
        _row("growth of its memory by each death", growth_kib / max(1, done.kills), "KiB", LOOKS, None),
    ]
