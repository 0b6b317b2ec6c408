"""The processes of a bench: what they measure, and what becomes of one that dies, hangs or cannot load."""

from __future__ import annotations

import dataclasses
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from contract.bench import BenchFault, BenchHeat, summarise
from contract.errors import DeviceError, DigestError, RuntimeLoadError
from edge_agent import connect
from edge_agent.bench.measuring import BenchPlan, check_room, measure
from edge_agent.bench.traffic import requests_between, take_tally
from edge_agent.bench.worker_runs import Patience, run_worker
from edge_agent.inference import control
from edge_agent.inference.engine import Engine
from edge_agent.inference.pool import Pool
from tests.support.inference_delegates import a_delegate, a_slot_for_the_edge_tpu
from tests.support.inference_slots import (
    START_S,
    a_pool,
    a_slot,
    children,
    images_of,
    model_path_in,
    serve,
    slot_of,
    spec_of,
    wait_until,
)

PATIENT = Patience(start_s=START_S, runs_s=60.0)
ENDLESS = control.Measure(warm_up_runs=0, timed_runs=10**9)


@pytest.fixture
def pool(run_dir: Path) -> Iterator[Pool]:
    with a_pool(run_dir) as (made, _):
        yield made


def a_start(run_dir: Path, slot: Path | None = None) -> control.Start:
    return control.Start(
        model="digits",
        version="1.0.0",
        slot_dir=str(slot or slot_of("1.0.0")),
        threads=1,
        socket_path=str(run_dir / "bench.sock"),
    )


def test_a_process_does_its_runs_and_ends(run_dir: Path) -> None:
    before = children()
    run = run_worker(a_start(run_dir), control.Measure(warm_up_runs=2, timed_runs=7), PATIENT)
    assert len(run.measured.latencies_s) == 7
    assert all(0 < latency < 1 for latency in run.measured.latencies_s)
    assert 10 << 20 < run.measured.pss_bytes < 500 << 20
    assert run.ready.variant == "static-int8"
    assert 0 < run.start_s < START_S
    assert children() <= before


def test_a_process_that_hangs_is_ended_when_its_time_is_over(run_dir: Path) -> None:
    before = children()
    glances: list[int] = []
    with pytest.raises(DeviceError, match="still running it"):
        run_worker(
            a_start(run_dir), ENDLESS, Patience(start_s=START_S, runs_s=1.5), lambda: glances.append(1)
        )
    assert len(glances) in {1, 2}, "the board is looked at every second meanwhile"
    with pytest.raises(RuntimeLoadError, match="still loading the model"):
        run_worker(a_start(run_dir), ENDLESS, Patience(start_s=0.0, runs_s=1.0))
    assert children() <= before


def test_a_process_that_dies_is_told_with_its_signal(run_dir: Path) -> None:
    before = children()

    def kill_once_it_serves() -> None:
        wait_until((run_dir / "bench.sock").exists, "a loaded model")
        for pid in children() - before:
            os.kill(pid, signal.SIGSEGV)

    killer = threading.Thread(target=kill_once_it_serves)
    killer.start()
    with pytest.raises(DeviceError, match="died of SIGSEGV while"):
        run_worker(a_start(run_dir), ENDLESS, PATIENT)
    killer.join()
    assert children() <= before


def test_a_model_that_cannot_be_loaded_is_refused_with_its_own_error(run_dir: Path, tmp_path: Path) -> None:
    slot = a_slot(tmp_path / "slot")
    model_path_in(slot).write_bytes(b"damaged")
    with pytest.raises(DigestError, match="damaged on this device"):
        run_worker(a_start(run_dir, slot), ENDLESS, PATIENT)


def test_requests_are_counted_between_two_tallies(run_dir: Path, pool: Pool) -> None:
    serve(pool)
    before = take_tally(run_dir)
    assert before is not None
    assert list(before.values()) == [0]
    with connect(run_dir) as agent, agent.model("digits") as model:
        for image in images_of(7, 3):
            model.infer(image)
    after = take_tally(run_dir)
    assert requests_between(before, after) == 3
    serve(pool, "1.1.0")
    assert requests_between(after, take_tally(run_dir)) is None, "the worker was replaced meanwhile"


def test_a_folder_without_workers_had_no_requests(run_dir: Path, tmp_path: Path) -> None:
    assert requests_between(take_tally(run_dir), take_tally(tmp_path / "missing")) == 0


def test_a_folder_that_cannot_be_read_and_one_worker_with_two_names(run_dir: Path, pool: Pool) -> None:
    handle = serve(pool)
    assert take_tally(Path(f"/proc/{handle.pid}/stat")) is None
    (run_dir / "also-digits.sock").symlink_to((run_dir / "digits.sock").readlink())
    tally = take_tally(run_dir)
    assert tally is not None
    assert len(tally) == 1


@pytest.mark.parametrize("what", ["a file", "nothing"])
def test_a_name_that_leads_to_no_worker_answers_nothing(run_dir: Path, what: str) -> None:
    target = run_dir / "w" / "abc.sock"
    target.parent.mkdir(parents=True)
    if what == "a file":
        target.write_bytes(b"")
    (run_dir / "digits.sock").symlink_to("w/abc.sock")
    assert take_tally(run_dir) == {}


def test_a_worker_that_does_not_tell_is_no_guess(run_dir: Path, pool: Pool) -> None:
    handle = serve(pool)
    os.kill(handle.pid, signal.SIGSTOP)
    try:
        assert take_tally(run_dir, patience_s=0.2) is None
    finally:
        os.kill(handle.pid, signal.SIGCONT)
    tally = take_tally(run_dir)
    assert requests_between(None, tally) is None
    assert requests_between(tally, None) is None


class CoolBoard:
    """Never throttled; counts the looks. Implements ``HeatWatch``."""

    def __init__(self) -> None:
        self.looks = 0

    def look(self) -> BenchHeat:
        self.looks += 1
        return BenchHeat(is_throttled=False)

    def glance(self) -> None:
        """A process that takes a second is no fault."""


def a_plan(run_dir: Path, engine: Engine) -> BenchPlan:
    return BenchPlan(
        spec=dataclasses.replace(spec_of(), engine=engine),
        profile="generic-x86-64",
        run_dir=run_dir,
        processes=2,
        order=control.Measure(warm_up_runs=1, timed_runs=3),
        patience=PATIENT,
    )


def test_a_delegate_that_brings_a_process_down_is_left_out_and_the_bench_does_not_count(
    run_dir: Path,
) -> None:
    engine = Engine(runtime="ai-edge-litert", externals=(a_delegate("CRASHES"),))
    board, told = CoolBoard(), []
    result = measure(a_plan(run_dir, engine), board, lambda number, _: told.append(number))
    summary = summarise(result)
    assert (summary.is_valid, summary.faults) == (False, (BenchFault.DELEGATE_FELL_BACK,))
    assert (summary.delegate.requested, summary.delegate.actual) == ("npu", "xnnpack")
    assert "SIGSEGV" in summary.reason
    assert (told, board.looks, len(result.heat)) == ([1, 2], 3, 3)


def test_without_any_delegate_to_leave_out_the_reason_is_told(run_dir: Path) -> None:
    with pytest.raises(RuntimeLoadError, match="no TFLite runtime"):
        measure(a_plan(run_dir, Engine(runtime="tflite-runtime")), CoolBoard(), lambda *_: None)


def test_a_model_that_does_not_fit_beside_what_runs_is_refused() -> None:
    check_room(spec_of(), room=lambda: 1 << 40)
    with pytest.raises(DeviceError, match="can be had") as caught:
        check_room(spec_of(), room=lambda: 8 << 20)
    assert "stop the agent" in caught.value.remedy


def test_a_bench_whose_fallback_does_not_fit_into_memory_is_refused(tmp_path: Path) -> None:
    slot = a_slot_for_the_edge_tpu(tmp_path / "slot", fallback_bytes=1 << 30)

    with pytest.raises(DeviceError, match="takes 1048 MiB of memory"):
        check_room(spec_of(slot=slot), lambda: 1 << 30)

    check_room(spec_of(slot=slot), lambda: 1 << 31)
