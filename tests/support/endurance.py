"""Many switches, and many deaths of workers, while applications ask: what they noticed, and what was left behind.

The same code runs a short version in the tests and a long one in the benchmarks.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from edge_agent.inference.pool import Crash, Pool
from tests.support.inference_slots import START_S, children, hammers, serve, spec_of

VERSIONS = ("1.1.0", "1.0.0")
_PAUSES_S = (0.001, 0.005)
"""Of the applications between two requests: they ask steadily, and leave the machine room for what is measured."""
_WARM_UP = 5
"""Switches before anything is counted: the first ones import, allocate and cache."""


@dataclass(frozen=True)
class Left:
    """What the process with the pool holds: memory, open files, segments of shared memory, children.

    Memory is what it has to itself and has written (proc(5), Private_Dirty, KiB): the proportional set size also grows
    when another process of the machine that shares its libraries ends.
    """

    memory_kib: int
    files: int
    segments: int
    children: int


@dataclass(frozen=True)
class Switched:
    """What many switches did.

    Attributes:
        asked: Requests during switches.
        failures: Texts of those that failed.
        wrong: Answers with a wrong label.
        p99_ratio: Median over blocks: p99 while switching over p99 in the peaceful block beside it.
        slope_kib: Growth of memory by each switch, by least squares.
        first: Held after the warm-up.
        last: Held at the end.
    """

    asked: int
    failures: list[str]
    wrong: int
    p99_ratio: float
    slope_kib: float
    first: Left
    last: Left


@dataclass(frozen=True)
class Survived:
    """What applications saw of many deaths: requests, texts of those that failed, the longest one in seconds."""

    asked: int
    failures: list[str]
    wrong: int
    longest_s: float
    kills: int


def look() -> Left:
    """What this process holds now."""
    rollup = Path("/proc/self/smaps_rollup").read_text(encoding="ascii")
    memory = next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Private_Dirty:"))
    files = 0
    segments = 0
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            files += 1
            segments += "memfd:" in str(link.readlink())
    return Left(memory, files, segments, len(children()))


def switch_often(
    pool: Pool, run_dir: Path, switches: int, *, block: int = 10, peace_s: float = 5.0
) -> Switched:
    """Switch versions while two applications ask; digits must be served.

    Args:
        pool: Of this process.
        run_dir: Its run folder.
        switches: How many.
        block: After so many come as much time in peace, and a look at what is held.
        peace_s: The longest such time, seconds.
    """
    for number in range(_WARM_UP):
        _switch(pool, number)
    _settle(pool)
    first = look()
    answers: list[dict[str, Any]] = []
    ratios: list[float] = []
    held: list[int] = []
    for start in range(0, switches, block):
        count = min(block, switches - start)
        during, seconds = _under_load(run_dir, partial(_switch_times, pool, count))
        peaceful, _ = _under_load(run_dir, partial(threading.Event().wait, min(seconds, peace_s)))
        answers += during
        ratios.append(max(d["p99_s"] for d in during) / max(p["p99_s"] for p in peaceful))
        _settle(pool)
        held.append(look().memory_kib)
    return Switched(
        asked=sum(each["requests"] for each in answers),
        failures=[text for each in answers for text in each["failures"]],
        wrong=sum(each["wrong"] for each in answers),
        p99_ratio=statistics.median(ratios),
        slope_kib=_slope(held) / block,
        first=first,
        last=look(),
    )


def kill_often(pool: Pool, run_dir: Path, kills: int, *, every_s: float = 1.0) -> Survived:
    """Kill the active worker again and again, at random moments, while two applications ask."""
    pause = threading.Event()
    chance = random.Random(11)

    def kill() -> None:
        for _ in range(kills):
            pause.wait(chance.uniform(0.5, 1.5) * every_s)
            handle = pool.active("digits")
            assert handle is not None
            with contextlib.suppress(ProcessLookupError):  # dead already, its restart is due
                os.kill(handle.pid, signal.SIGKILL)

    answers, _ = _under_load(run_dir, kill)
    return Survived(
        asked=sum(each["requests"] for each in answers),
        failures=[text for each in answers for text in each["failures"]],
        wrong=sum(each["wrong"] for each in answers),
        longest_s=max(each["longest_s"] for each in answers),
        kills=kills,
    )


def deaths(crashes: Sequence[Crash]) -> int:
    """How many workers died of SIGKILL."""
    return sum(crash.signal == "SIGKILL" for crash in crashes)


def _switch(pool: Pool, number: int) -> None:
    pool.activate(pool.start_candidate(spec_of(VERSIONS[number % 2]), START_S))


def _switch_times(pool: Pool, count: int) -> None:
    for number in range(count):
        _switch(pool, number)


def _settle(pool: Pool) -> None:
    """Wait until the only child is the active worker, and take what was counted."""
    serve(pool)
    ends = threading.Event()
    for _ in range(1000):
        if len(children()) <= 1:
            break
        ends.wait(0.01)
    pool.take_windows()


def _under_load(run_dir: Path, work: Callable[[], object]) -> tuple[list[dict[str, Any]], float]:
    with hammers(run_dir, _PAUSES_S) as results:
        began = time.monotonic()
        work()
        seconds = time.monotonic() - began
        return results(), seconds


def _slope(values: Sequence[int]) -> float:
    """Growth from one value to the next, by least squares; 0 for fewer than three."""
    if len(values) < 3:
        return 0.0
    middle, mean = (len(values) - 1) / 2, statistics.fmean(values)
    over = sum((place - middle) * (value - mean) for place, value in enumerate(values))
    return over / sum((place - middle) ** 2 for place in range(len(values)))
