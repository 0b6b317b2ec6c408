"""A whole bench: three fresh processes one after another, and what the board said before, between and after.

Guarantees: what is measured is the slot that serves now, on the engine and with the threads that serve it; the active
worker keeps serving. Decides nothing about whether the bench counts: ``contract.bench`` does.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from contract.bench import BenchProcess, BenchResult
from contract.errors import DeviceError, RuntimeLoadError
from edge_agent.bench.heat import HeatWatch
from edge_agent.bench.traffic import requests_between, take_tally
from edge_agent.bench.worker_runs import Patience, WorkerRun, run_worker
from edge_agent.capabilities import board_name
from edge_agent.inference import control
from edge_agent.inference.admission import Admission, Swap, decide_admission, need_bytes
from edge_agent.inference.room import mib, room_bytes
from edge_agent.inference.slot import load_slot
from edge_agent.inference.workers import WorkerSpec

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class BenchPlan:
    """What is measured, and how.

    Attributes:
        spec: The active slot, on the board's engine, with the threads that serve it.
        profile: The board's.
        run_dir: Where the agent's workers listen.
        processes: How many, one after another.
        order: Runs of each.
        patience: How long each is waited for.
    """

    spec: WorkerSpec
    profile: str
    run_dir: Path
    processes: int
    order: control.Measure
    patience: Patience


def check_room(spec: WorkerSpec, room: Callable[[], int] = room_bytes) -> None:
    """Refuse a model that does not fit into memory beside what runs.

    Raises:
        DeviceError: It does not fit.
        LitefleetError: The slot cannot be read.
    """
    need, left = need_bytes(load_slot(spec.slot_dir).peak_memory_bytes()), room()
    if decide_admission(need, left, 0, Swap.BESIDE) is Admission.REFUSED:
        raise DeviceError(
            f"a bench of {spec} takes {mib(need)} of memory, {mib(left)} can be had",
            remedy="stop the agent for as long as the bench takes; the result is kept and sent at its next start",
        )


def measure(plan: BenchPlan, heat: HeatWatch, on_process: Callable[[int, WorkerRun], None]) -> BenchResult:
    """Do the bench.

    Args:
        plan: What and how.
        heat: Looks at the board.
        on_process: Told after each process, with its number from 1.

    Raises:
        LitefleetError: A process did not get through; see ``run_worker``.
    """
    spec = plan.spec
    before = take_tally(plan.run_dir)
    moments = [heat.look()]
    runs: list[WorkerRun] = []
    with tempfile.TemporaryDirectory(prefix="lf-bench-") as folder:
        for number in range(1, plan.processes + 1):
            run, spec = _run(plan, spec, Path(folder) / f"{number}.sock", heat)
            runs.append(run)
            moments.append(heat.look())
            on_process(number, run)
    ready = runs[0].ready
    return BenchResult(
        model=spec.model,
        version=spec.version,
        variant=ready.variant,
        digest=ready.digest,
        profile=plan.profile,
        board=board_name(),
        runtime=ready.runtime,
        runtime_version=ready.runtime_version[:64],
        threads=ready.threads,
        cores=os.cpu_count() or 0,
        warm_up_runs=plan.order.warm_up_runs,
        processes=tuple(map(_process, runs)),
        heat=tuple(moments),
        requests_meanwhile=requests_between(before, take_tally(plan.run_dir)),
    )


def _run(
    plan: BenchPlan, spec: WorkerSpec, socket_path: Path, heat: HeatWatch
) -> tuple[WorkerRun, WorkerSpec]:
    """One process, and what the next one is to be: a delegate that brings a worker down is left out.

    The agent does so too (``edge_agent.crew``); the bench does not count then.
    """
    try:
        return run_worker(_start(spec, socket_path), plan.order, plan.patience, heat.glance), spec
    except RuntimeLoadError as error:
        if not spec.engine.externals:
            raise
        logger.warning("%s is tried without delegates: %s", spec, error.summary())
        careful = dataclasses.replace(spec, engine=spec.engine.without_externals(error.summary()))
    again = socket_path.with_name(f"again-{socket_path.name}")
    return run_worker(_start(careful, again), plan.order, plan.patience, heat.glance), careful


def _start(spec: WorkerSpec, socket_path: Path) -> control.Start:
    return control.Start(
        model=spec.model,
        version=spec.version,
        slot_dir=str(spec.slot_dir),
        threads=spec.threads,
        socket_path=str(socket_path),
        engine=spec.engine,
    )


def _process(run: WorkerRun) -> BenchProcess:
    return BenchProcess(
        # A clock that ticks too slowly to see a run would say 0; no run takes less than a tenth of a microsecond.
        latencies_ms=tuple(max(1e-4, round(latency * 1e3, 4)) for latency in run.measured.latencies_s),
        pss_bytes=run.measured.pss_bytes,
        start_s=round(run.start_s, 3),
        delegate=run.ready.delegate,
    )
