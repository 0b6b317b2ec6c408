"""Thirty switches and five deaths under load; a thousand and sixty by ``make bench``, see its ``endurance``."""

from __future__ import annotations

import os
from pathlib import Path

from edge_agent.inference.pool import Crash, Pool
from tests.support.endurance import deaths, kill_often, switch_often
from tests.support.inference_slots import START_S, is_running, serve, spec_of

GROWTH_KIB = 64
"""Of this process by each switch; a handle, a socket path and a window are far below it."""


def test_thirty_switches_under_load_fail_no_request_and_leave_nothing(pool: Pool, run_dir: Path) -> None:
    serve(pool)

    done = switch_often(pool, run_dir, 30, block=15, peace_s=0.5)

    assert done.asked > 30
    assert done.failures == []
    assert done.wrong == 0
    assert done.last.files == done.first.files
    assert done.last.segments == done.first.segments
    assert done.last.children == done.first.children
    assert done.last.memory_kib - done.first.memory_kib < 30 * GROWTH_KIB


def test_workers_killed_at_random_cost_no_wrong_answer(
    pool_and_crashes: tuple[Pool, list[Crash]], run_dir: Path
) -> None:
    pool, crashes = pool_and_crashes
    serve(pool)

    survived = kill_often(pool, run_dir, 5, every_s=0.6)

    assert deaths(crashes) >= 1
    assert survived.wrong == 0
    assert survived.asked > len(survived.failures)
    assert all("deadline" in text or "answer" in text or "reached" in text for text in survived.failures)


def test_a_candidate_beside_an_active_worker_serves_with_the_priority_of_the_agent(pool: Pool) -> None:
    first = serve(pool)
    second = pool.start_candidate(spec_of("1.1.0"), START_S)
    pool.activate(second)

    tasks = list(Path(f"/proc/{second.pid}/task").iterdir())
    nice = {int((task / "stat").read_text().rpartition(")")[2].split()[16]) for task in tasks}

    assert b"--gently" in Path(f"/proc/{second.pid}/cmdline").read_bytes()
    assert nice == {os.getpriority(os.PRIO_PROCESS, 0)}
    assert first.pid != second.pid
    assert is_running(second.pid)
