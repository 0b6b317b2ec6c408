"""Switches under load: no request fails, both versions answer, and nothing is left behind."""

from __future__ import annotations

import contextlib
import gc
import os
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from contract.tensor import DType, TensorSpec
from edge_agent import connect
from edge_agent.inference.client import Model
from edge_agent.inference.pool import Pool, PoolLimits, WorkerHandle, WorkerSpec
from tests.support.inference_models import an_average_pool
from tests.support.inference_slots import (
    START_S,
    a_pool,
    a_slot,
    children,
    hammers,
    images_of,
    is_running,
    serve,
    spec_of,
    wait_until,
)
from tests.support.own_process import in_own_process, opened

SWITCHES = 24
LIMITS = PoolLimits(drain_s=0.5, gentle_s=0.5)
"""Applications here want every processor all the time, so a candidate that waits for them waits to the end."""


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def switch_back_and_forth(pool: Pool, times: int) -> list[int]:
    """Process ids of the workers that were active, in order."""
    pids: list[int] = []
    for number in range(times):
        handle = pool.start_candidate(spec_of(("1.1.0", "1.0.0")[number % 2]), START_S)
        pool.activate(handle)
        pids.append(handle.pid)
    return pids


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_switches_under_load_fail_no_request_and_leave_nothing_behind(run_dir: Path) -> None:
    in_own_process(_switches_under_load, run_dir)


def _switches_under_load(run_dir: Path) -> None:
    with a_pool(run_dir, LIMITS) as (pool, crashes):
        before = children()
        serve(pool)
        switch_back_and_forth(pool, 2)
        wait_until(lambda: len(children() - before) == 1, "end of the first workers")
        wait_until(lambda: len(list((run_dir / "w").iterdir())) == 1, "removal of their sockets")
        opened_before, resident_before = opened(), resident_bytes()

        with hammers(run_dir, (0.0, 0.0005, 0.002, 0.02)) as results:
            pids = switch_back_and_forth(pool, SWITCHES)
            found = results()

        assert [result["failures"] for result in found] == [[]] * 4
        assert [result["wrong"] for result in found] == [0] * 4
        assert all(set(result["versions"]) == {"1.0.0", "1.1.0"} for result in found)
        assert crashes == []
        wait_until(lambda: not any(is_running(pid) for pid in pids[:-1]), "end of the old workers")
        wait_until(lambda: len(list((run_dir / "w").iterdir())) == 1, "removal of their sockets")
        assert is_running(pids[-1])
        counted = sum(window.requests for window in pool.take_windows())
        assert counted >= sum(
            result["requests"] for result in found
        )  # each drained worker told its last window
        opened_after = opened()
        assert len(opened_after) == len(opened_before), (opened_before, opened_after)
        assert resident_bytes() - resident_before < 4 << 20


def test_an_idle_application_finds_the_new_version_after_the_old_worker_is_gone(run_dir: Path) -> None:
    with a_pool(run_dir, PoolLimits(drain_s=0.1)) as (pool, _):
        old = serve(pool)
        with connect(run_dir).model("digits") as model:
            assert model.infer(images_of(2)[0]).version == "1.0.0"
            new = serve(pool, "1.1.0")
            wait_until(lambda: not is_running(old.pid), "end of the old worker")

            assert model.infer(images_of(2)[0]).version == "1.1.0"
        assert pool.active("digits") == new


def test_a_busy_application_is_told_to_go_elsewhere_while_the_old_worker_drains(run_dir: Path) -> None:
    with a_pool(run_dir, PoolLimits(drain_s=60.0)) as (pool, _):
        old = serve(pool)
        with connect(run_dir).model("digits") as model:
            assert model.infer(images_of(2)[0]).version == "1.0.0"
            serve(pool, "1.1.0")

            wait_until(lambda: model.infer(images_of(2)[0]).version == "1.1.0", "the switch")
            wait_until(lambda: not is_running(old.pid), "end of the old worker, long before its time is over")


def sockets_of(pid: int) -> int:
    return sum(name.startswith("socket:") for name in opened(pid))


@contextlib.contextmanager
def a_switch(run_dir: Path, drain_s: float) -> Iterator[tuple[Pool, Model, WorkerHandle, WorkerHandle]]:
    """From 1.0.0 to 1.1.0, of which an application hears with its next answer; the old and the new worker."""
    with a_pool(run_dir, PoolLimits(drain_s=drain_s)) as (pool, _):
        old = serve(pool)
        with connect(run_dir).model("digits") as model:
            model.infer(images_of(2)[0])
            yield pool, model, old, serve(pool, "1.1.0")


def test_an_application_is_connected_to_the_next_worker_before_it_asks_again(run_dir: Path) -> None:
    with a_switch(run_dir, 60.0) as (_, model, old, new):
        unasked = sockets_of(new.pid)

        assert model.infer(images_of(2)[0]).version == "1.0.0"
        wait_until(lambda: sockets_of(new.pid) == unasked + 1, "its client")
        wait_until(lambda: not is_running(old.pid), "end of the old worker, long before its time is over")
        assert model.infer(images_of(2)[0]).version == "1.1.0"
        assert sockets_of(new.pid) == unasked + 1


def test_an_application_that_was_connected_to_the_next_worker_finds_the_one_after_it(run_dir: Path) -> None:
    with a_switch(run_dir, 0.5) as (pool, model, _, second):
        assert model.infer(images_of(2)[0]).version == "1.0.0"
        third = serve(pool, "1.0.0")
        wait_until(lambda: not is_running(second.pid), "end of the worker that was never asked")

        assert model.infer(images_of(2)[0]).version == "1.0.0"
        assert pool.active("digits") == third


def test_an_application_that_was_connected_to_the_next_worker_outlives_its_death(run_dir: Path) -> None:
    with a_switch(run_dir, 60.0) as (_, model, _, new):
        assert model.infer(images_of(2)[0]).version == "1.0.0"
        os.kill(new.pid, signal.SIGKILL)

        assert model.infer(images_of(2)[0]).version == "1.1.0"


def test_an_answer_is_not_lost_where_there_is_no_descriptor_for_the_next_worker(run_dir: Path) -> None:
    with a_switch(run_dir, 60.0) as (_, model, _, _):
        image = images_of(2)[0]
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
        try:
            answer = model.infer(image)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)

        assert answer.version == "1.0.0"
        assert model.infer(images_of(2)[0]).version == "1.1.0"


def memories() -> set[int]:
    """Inodes of the memory that this process shares with workers."""
    gc.collect()
    found: set[int] = set()
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            if "litefleet-area" in os.fspath(link.readlink()):
                found.add(link.stat().st_ino)
    return found


def test_the_next_worker_shares_the_memory_of_the_one_before_and_closing_ends_it(run_dir: Path) -> None:
    others = memories()
    with a_switch(run_dir, 60.0) as (pool, model, _, _):
        shared = memories() - others

        assert model.infer(images_of(2)[0]).version == "1.0.0"
        assert model.infer(images_of(4)[0]).label == "4"
        assert memories() - others == shared
        serve(pool, "1.0.0")
        assert model.infer(images_of(2)[0]).version == "1.1.0"
        assert memories() - others == shared
        assert len(shared) == 1

        model.close()
        assert memories() <= others


def test_a_next_worker_that_takes_other_tensors_gets_memory_of_its_own(run_dir: Path, tmp_path: Path) -> None:
    other = a_slot(
        tmp_path / "slot",
        version="2.0.0",
        content=an_average_pool(32, 8, "float32"),
        variant={"name": "only"},
        inputs=(TensorSpec(name="image", shape=(1, 32, 32, 3), dtype=DType.FLOAT32),),
        outputs=(TensorSpec(name="out", shape=(1, 4, 4, 3), dtype=DType.FLOAT32),),
        labels=(),
        preprocessing=None,
        postprocessing=None,
    )
    others = memories()
    with a_pool(run_dir) as (pool, _):
        serve(pool)
        with connect(run_dir).model("digits") as model:
            model.infer(images_of(2)[0])
            shared = memories() - others
            serve(pool, "2.0.0", other)
            assert model.infer(images_of(2)[0]).label == "2"

            answer = model.infer(np.full((1, 32, 32, 3), 0.5, np.float32))

            assert np.allclose(answer.outputs["out"], 0.5)
            assert len(memories() - others) == 1
            assert memories() - others != shared


def test_the_first_activation_and_a_second_one_of_the_same_worker(run_dir: Path) -> None:
    with a_pool(run_dir) as (pool, _):
        handle = serve(pool)

        pool.activate(handle)

        assert pool.active("digits") == handle
        assert is_running(handle.pid)


def test_two_models_do_not_concern_each_other(run_dir: Path, tmp_path: Path) -> None:
    slot = a_slot(tmp_path / "slot", model="numbers", labels=tuple("ABCDEFGHIJ"))
    with a_pool(run_dir) as (pool, _):
        serve(pool)
        numbers = pool.start_candidate(WorkerSpec("numbers", "1.0.0", slot, 1), START_S)
        pool.activate(numbers)
        serve(pool, "1.1.0")

        with connect(run_dir) as agent:
            wait_until(lambda: agent.model("digits").infer(images_of(2)[0]).version == "1.1.0", "the switch")
            assert agent.model("numbers").infer(images_of(2)[0]).label == "C"
        assert pool.active("numbers") == numbers
        assert is_running(numbers.pid)
        assert {window.model for window in pool.take_windows()} >= {"digits", "numbers"}
