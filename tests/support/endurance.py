"""Many switches, and many deaths of workers, while applications ask: what they noticed, and what was left behind.

The same code runs a short version in the tests and a long one in the benchmarks.
"""

from __future__ import annotations

import array
import bisect
import contextlib
import gc
import itertools
import math
import os
import random
import select
import signal
import statistics
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from contract.errors import AgentUnavailableError, DeadlineError
from edge_agent import connect
from edge_agent.inference.pool import Crash, Pool
from tests.support.inference_slots import START_S, children, hammers, images_of, spec_of
from tests.support.own_process import opened
from tests.support.process_memory import memory_of

VERSIONS = ("1.1.0", "1.0.0")
_PAUSES_S = (0.001, 0.005)
"""Of the applications between two requests: they ask steadily, and leave the machine room for what is measured."""
_CLEAR_CODES = {AgentUnavailableError.code, DeadlineError.code}
_REST_S = 60.0
"""Longer than a model rests."""
_WARM_UP = 50
"""Switches before anything is counted: the first ones import, allocate and cache, and the heap finds its size."""
_INTERNED = 1 << 17
"""Strings that fill the interpreter's table of interned ones before anything is counted, until it has its final size.

Each part of a path is interned (pathlib) and leaves a used place when it is forgotten; once all places are used, the
table is made anew with room for three times the strings alive, 0.9 MiB more at once for 22,000 of them, and stays
there (CPython 3.11, Objects/dictobject.c). Whether that falls into a thousand switches is chance."""
_LOOK_EVERY = 10
_BLOCK = 50
"""Switches: in fewer of them the slower application has not the hundred requests that a p99 needs."""
_QUIET_S = 0.25
"""A worker's process is gone before its supervisor has closed what it held of it."""


@dataclass(frozen=True)
class Left:
    """What a process with workers holds: memory, open files, segments of shared memory, children.

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
        p99_ratio: p99 of the requests that were under way during a switch over p99 of those in the rests between; the
            larger one of the two applications' on either side.
        p99_ratio_of_blocks: The same for every 50 switches, and the median of these: a machine's bad minute does not
            count.
        in_switches: How many requests of the application that asks less often were under way during a switch.
        slope_kib: Growth of memory by each switch, by least squares.
        step_kib: The most by which memory grew at once, in ten switches.
        blocks: By how many blocks of memory the interpreter holds more, by each switch (``sys.getallocatedblocks``).
        first: Held after the warm-up, with the applications there.
        last: Held after the last switch, with the applications still there.
    """

    asked: int
    failures: list[str]
    wrong: int
    p99_ratio: float
    p99_ratio_of_blocks: float
    in_switches: int
    slope_kib: float
    step_kib: int
    blocks: float
    first: Left
    last: Left


@dataclass(frozen=True)
class Survived:
    """What many deaths did.

    Attributes:
        asked: Requests.
        failures: Texts of those that failed.
        unclear: Texts of those that failed with another error than the two that tell the truth: no worker, no time.
        wrong: Answers with a wrong label.
        longest_s: The longest request, answered or failed, seconds.
        kills: Workers that were killed; a model that rests has none.
        first: Held by the process that starts the workers, before.
        last: The same, after.
    """

    asked: int
    failures: list[str]
    unclear: list[str]
    wrong: int
    longest_s: float
    kills: int
    first: Left
    last: Left


def look(pid: int) -> Left:
    """What a process holds now."""
    files = opened(pid)
    segments = sum("memfd:" in name for name in files)
    return Left(memory_of(pid).written, len(files), segments, len(children(pid)))


def settled(pid: int) -> Left:
    """What a process holds once nothing of it has changed for a moment but memory."""
    ends = time.monotonic() + START_S
    pause = threading.Event()
    held, since = look(pid), time.monotonic()
    while time.monotonic() - since < _QUIET_S:
        assert time.monotonic() < ends, f"process {pid} does not come to rest: {held}"
        pause.wait(0.005)
        now = look(pid)
        if (now.files, now.segments, now.children) != (held.files, held.segments, held.children):
            since = time.monotonic()
        held = now
    return held


def switch_often(pool: Pool, run_dir: Path, switches: int, *, rest_s: float = 0.25) -> Switched:
    """Switch versions while two applications ask; digits must be served.

    A switch lasts from the order to start the candidate to the end of the worker before, which its applications have
    left by then.

    Args:
        pool: Of this process.
        run_dir: Its run folder.
        switches: How many.
        rest_s: Time between one switch and the next, seconds.
    """
    for number in range(_WARM_UP):
        _switch(pool, number)
    for number in range(_INTERNED):
        sys.intern(f"warm-up {number}")
    pool.take_windows()
    held = array.array("q", bytes(8 * (switches // _LOOK_EVERY)))  # nothing that grows while it is measured
    began_at = array.array("d", bytes(8 * switches))
    ended_at = array.array("d", bytes(8 * switches))
    pause = threading.Event()
    with hammers(run_dir, _PAUSES_S, has_spans=True) as results:
        blocks = _blocks()
        first = settled(os.getpid())
        for number in range(switches):
            began_at[number] = time.perf_counter()
            _switch(pool, _WARM_UP + number)
            ended_at[number] = time.perf_counter()
            pause.wait(rest_s)
            if number % _LOOK_EVERY == _LOOK_EVERY - 1:
                pool.take_windows()
                held[number // _LOOK_EVERY] = look(os.getpid()).memory_kib
        blocks = _blocks() - blocks
        last = settled(os.getpid())  # before the applications' answers, which take memory
        answers = results()
    spans = list(zip(began_at, ended_at, strict=True))
    requests = [each["spans"] for each in answers]
    during = [_part(each, spans)[0] for each in requests]
    return Switched(
        asked=sum(each["requests"] for each in answers),
        failures=[text for each in answers for _, text in each["failures"]],
        wrong=sum(each["wrong"] for each in answers),
        p99_ratio=_p99_ratio(requests, spans),
        p99_ratio_of_blocks=_p99_ratio_of_blocks(requests, spans),
        in_switches=min(len(each) for each in during),
        slope_kib=_slope(held) / _LOOK_EVERY,
        step_kib=max((after - before for before, after in itertools.pairwise(held)), default=0),
        blocks=blocks / switches,
        first=first,
        last=last,
    )


def _part(
    requests: Sequence[tuple[float, float]], switches: Sequence[tuple[float, float]]
) -> tuple[list[float], list[float]]:
    """How long the requests during switches took, and how long the others did.

    Args:
        requests: Beginning and duration of each, in order.
        switches: Beginning and end of each, in order.
    """
    during: list[float] = []
    between: list[float] = []
    ends = [end for _, end in switches]
    for began, took in requests:
        place = bisect.bisect(ends, began)  # the first switch that was not over
        is_during = place < len(switches) and switches[place][0] < began + took
        (during if is_during else between).append(took)
    return during, between


def _blocks() -> int:
    gc.collect()
    return sys.getallocatedblocks()


def _p99_ratio(
    requests: Sequence[Sequence[tuple[float, float]]], switches: Sequence[tuple[float, float]]
) -> float:
    """See ``Switched.p99_ratio``; the requests of each application, and the switches."""
    parted = [_part(each, switches) for each in requests]
    return max(_p99(during) for during, _ in parted) / max(_p99(between) for _, between in parted)


def _p99_ratio_of_blocks(
    requests: Sequence[Sequence[tuple[float, float]]], switches: Sequence[tuple[float, float]]
) -> float:
    ratios: list[float] = []
    for first in range(0, max(1, len(switches) - _BLOCK + 1), _BLOCK):
        block = switches[first : first + _BLOCK]
        ends = switches[first + _BLOCK][0] if first + _BLOCK < len(switches) else math.inf
        inside = [[each for each in asked if block[0][0] <= each[0] < ends] for asked in requests]
        ratios.append(_p99_ratio(inside, block))
    return statistics.median(ratios)


def _p99(values: Sequence[float]) -> float:
    return sorted(values)[len(values) * 99 // 100]


def kill_often(
    run_dir: Path,
    main: int,
    victim: Callable[[], int | None],
    kills: int,
    *,
    every_s: float = 1.0,
    models: Sequence[str] = ("digits",),
) -> Survived:
    """Kill an active worker again and again, at random moments, while an application or two ask each model.

    Args:
        run_dir: Run folder of an agent that serves digits.
        main: Process that starts the workers.
        victim: A worker that serves now; None while none does.
        kills: How many attempts.
        every_s: Mean time from one to the next.
        models: All of digits.
    """
    pause = threading.Event()
    chance = random.Random(11)
    killed = 0

    def kill() -> None:
        nonlocal killed
        for _ in range(kills):
            pause.wait(chance.uniform(0.5, 1.5) * every_s)
            pid = victim()
            if pid is not None:
                with contextlib.suppress(ProcessLookupError):  # dead already, its restart is due
                    os.kill(pid, signal.SIGKILL)
                    killed += 1

    first = settled(main)
    with hammers(run_dir, [_PAUSES_S[place % 2] for place in range(max(2, len(models)))], models) as results:
        kill()
        answers = results()
    for model in models:
        _await_end_of_rest(run_dir, model)
    failures = [(code, text) for each in answers for code, text in each["failures"]]
    return Survived(
        asked=sum(each["requests"] for each in answers),
        failures=[text for _, text in failures],
        unclear=[text for code, text in failures if code not in _CLEAR_CODES],
        wrong=sum(each["wrong"] for each in answers),
        longest_s=max(each["longest_s"] for each in answers),
        kills=killed,
        first=first,
        last=settled(main),
    )


def _await_end_of_rest(run_dir: Path, name: str) -> None:
    """Wait until a model is served again, however long it rests after so many deaths."""
    with connect(run_dir).model(name, wait_s=_REST_S) as model:
        model.infer(images_of(3)[0], deadline_s=_REST_S)


def deaths(crashes: Sequence[Crash]) -> int:
    """How many workers died of SIGKILL."""
    return sum(crash.signal == "SIGKILL" for crash in crashes)


def _switch(pool: Pool, number: int) -> None:
    """Switch, and wait for the end of the worker before."""
    before = pool.active("digits")
    assert before is not None
    end = os.pidfd_open(before.pid)
    try:
        pool.activate(pool.start_candidate(spec_of(VERSIONS[number % 2]), START_S))
        assert select.select([end], [], [], START_S)[0], "the worker before does not end"
    finally:
        os.close(end)


def _slope(values: Sequence[int]) -> float:
    """Growth from one value to the next, by least squares; 0 for fewer than three."""
    if len(values) < 3:
        return 0.0
    middle, mean = (len(values) - 1) / 2, statistics.fmean(values)
    over = sum((place - middle) * (value - mean) for place, value in enumerate(values))
    return over / sum((place - middle) ** 2 for place in range(len(values)))
