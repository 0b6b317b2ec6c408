"""Thirty switches and five deaths under load; a thousand and sixty by ``make bench``, see its ``endurance``."""

from __future__ import annotations

import contextlib
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from edge_agent import connect
from edge_agent.inference.asking import DEFAULT_DEADLINE_S
from edge_agent.inference.pool import Pool, PoolLimits
from tests.support.endurance import Survived, Switched, deaths, kill_often, switch_often
from tests.support.inference_slots import (
    START_S,
    a_pool,
    children,
    images_of,
    is_running,
    serve,
    spec_of,
    told,
    wait_until,
)
from tests.support.own_process import in_own_process

GROWTH_KIB = 64
"""Of this process by each switch; a handle, a socket path and a window are far below it."""
LATE_S = 0.2
"""The kernel's time limits are set in steps of 0.1 s; the rest is for a busy machine."""


def _switched(run_dir: Path) -> Switched:
    with a_pool(run_dir) as (pool, _):
        serve(pool)
        return switch_often(pool, run_dir, 30, rest_s=0.05)


def _killed(run_dir: Path) -> tuple[Survived, int]:
    """Also how many of the deaths the pool told of."""
    with a_pool(run_dir) as (pool, crashes):
        serve(pool)

        def active() -> int | None:
            handle = pool.active("digits")
            return None if handle is None else handle.pid

        return kill_often(run_dir, os.getpid(), active, 5, every_s=0.6), deaths(crashes)


@pytest.mark.timeout(300)
def test_thirty_switches_under_load_fail_no_request_and_leave_nothing(run_dir: Path) -> None:
    done = in_own_process(_switched, run_dir)

    assert done.asked > done.in_switches > 30
    assert done.failures == []
    assert done.wrong == 0
    assert done.last.files == done.first.files
    assert done.last.segments == done.first.segments
    assert done.last.children == done.first.children
    assert done.last.memory_kib - done.first.memory_kib < 30 * GROWTH_KIB


def test_workers_killed_at_random_cost_no_wrong_and_no_late_answer_and_leave_nothing(run_dir: Path) -> None:
    survived, died = in_own_process(_killed, run_dir)

    assert survived.kills >= died >= 1
    assert survived.wrong == 0
    assert survived.unclear == []
    assert survived.asked > len(survived.failures)
    assert survived.longest_s < DEFAULT_DEADLINE_S + LATE_S
    assert survived.last.files == survived.first.files
    assert survived.last.segments == survived.first.segments
    assert survived.last.children == survived.first.children == 2, "a worker and its fork server"


def test_an_executed_candidate_beside_an_active_worker_serves_with_the_priority_of_the_agent(
    run_dir: Path,
) -> None:
    with a_pool(run_dir, may_fork=False) as (pool, crashes):
        first = serve(pool)
        with ThreadPoolExecutor(1) as aside:
            starting = aside.submit(pool.start_candidate, spec_of("1.1.0"), START_S)
            wait_until(lambda: any("--gently" in told(pid, "cmdline") for pid in children()), "its beginning")
            second = starting.result()
        pool.activate(second)

        assert "--gently" not in told(first.pid, "cmdline")
        wait_until(lambda: len(_policies(second.pid)) == 1, "the end of the thread that imported")
        assert _policies(second.pid) == {os.sched_getscheduler(0)}
        assert is_running(second.pid)
        assert crashes == []


def test_a_candidate_that_waits_too_long_for_the_processor_begins_again_without_manners(
    run_dir: Path,
) -> None:
    with a_pool(run_dir, PoolLimits(gentle_s=0.001), may_fork=False) as (pool, crashes):
        serve(pool)
        second = serve(pool, "1.1.0")

        assert "--gently" not in told(second.pid, "cmdline")
        assert _policies(second.pid) == {os.sched_getscheduler(0)}
        with connect(run_dir).model("digits") as model:
            assert model.infer(images_of(3)[0]).version == "1.1.0"
        assert crashes == []


def test_a_fresh_worker_has_rehearsed_without_a_trace(pool: Pool) -> None:
    worker = serve(pool)

    held = [os.fspath(link.readlink()) for link in Path(f"/proc/{worker.pid}/fd").iterdir()]
    mapped = Path(f"/proc/{worker.pid}/maps").read_text()

    assert [(window.requests, window.errors) for window in pool.take_windows()] == [(0, 0)]
    assert sum(name.startswith("socket:") for name in held) == 2, (
        "to the main process, and where clients come in"
    )
    assert "memfd:" not in mapped


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_for_the_whole_agent_is_left_to_the_main_process(
    pool: Pool, run_dir: Path, number: signal.Signals
) -> None:
    worker = serve(pool)

    os.kill(worker.pid, number)

    with connect(run_dir).model("digits") as model:
        assert model.infer(images_of(3)[0]).label == "3"
    assert is_running(worker.pid)
    assert pool.active("digits") == worker
    assert number not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def _policies(pid: int) -> set[int]:
    """Scheduling policies of all threads of a process."""
    found: set[int] = set()
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(ProcessLookupError):  # a thread that ended meanwhile
            found.add(os.sched_getscheduler(int(task.name)))
    return found
