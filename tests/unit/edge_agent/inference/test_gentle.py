"""Work that leaves the processor to others."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import pytest

from edge_agent.inference.gentle import NotYetError, run_gently


def test_work_is_done_with_the_lowest_priority_and_the_caller_keeps_its_own() -> None:
    before = os.sched_getscheduler(0)

    assert run_gently(lambda: os.sched_getscheduler(0)) == os.SCHED_IDLE
    assert os.sched_getscheduler(0) == before


def test_what_the_work_raises_is_raised_to_who_waits() -> None:
    def fail() -> None:
        raise KeyError("missing")

    with pytest.raises(KeyError, match="missing"):
        run_gently(fail)


def test_who_waits_long_enough_is_told_that_the_work_is_not_done() -> None:
    may_end = threading.Event()
    has_ended = threading.Event()

    def work() -> None:
        may_end.wait(10)
        has_ended.set()

    with pytest.raises(NotYetError):
        run_gently(work, within_s=0.01)
    may_end.set()

    assert has_ended.wait(10)


def test_work_that_gets_next_to_nothing_of_the_processor_is_not_waited_for() -> None:
    may_end = threading.Event()
    began = time.monotonic()

    with pytest.raises(NotYetError):
        run_gently(lambda: may_end.wait(60), within_s=60)
    may_end.set()

    assert time.monotonic() - began < 30


TRIES = 15
_ON_ONE_CORE = f"""
import os, time
from edge_agent.inference.gentle import step_back

def is_ahead():
    wakes, wake = os.pipe()
    told, tell = os.pipe()
    if not os.fork():
        os.write(tell, b"!")
        os.read(wakes, 1)
        os.write(tell, repr(time.perf_counter()).encode())
        os._exit(0)
    os.read(told, 1)
    os.write(wake, b"x")
    step_back()
    after = time.perf_counter()
    return float(os.read(told, 64)) < after

os.sched_setaffinity(0, {{min(os.sched_getaffinity(0))}})
ahead = 0
for _ in range({TRIES}):
    child = os.fork()
    if not child:
        os._exit(not is_ahead())
    ahead += os.waitpid(child, 0)[1] == 0
print(ahead)
"""


def test_who_waits_for_the_processor_has_it_before_stepping_back_is_over() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _ON_ONE_CORE], capture_output=True, text=True, timeout=60, check=True
    )

    # 27 to 29 of 30 times on a core that others want too; without the yield 1 or 2.
    assert int(done.stdout) > TRIES // 2
