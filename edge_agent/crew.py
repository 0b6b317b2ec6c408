"""The pool of workers as the update part wants it: this board's engine, threads and time-outs filled in.

Guarantees: a model that can run without a delegate does not fail because of it, nor because its threads are measured:
when a worker dies or hangs while it loads, it is tried once more without. Keeps the pool's errors as they are.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from contract.errors import DeviceError, RuntimeLoadError
from edge_agent.inference.admission import Admission, Swap, decide_admission, need_bytes
from edge_agent.inference.engine import Engine
from edge_agent.inference.pool import Pool
from edge_agent.inference.room import held_bytes, mib, room_bytes
from edge_agent.inference.slot import load_slot
from edge_agent.inference.workers import WorkerHandle
from edge_agent.thread_tuning import ThreadTuning

logger = logging.getLogger(__name__)
_END_S = 10.0
"""A worker drains for a second and is killed five later (``workers.PoolLimits``)."""


@dataclass(frozen=True)
class Crew:
    """Implements ``edge_agent.update.doors.Workers``.

    Attributes:
        pool: Starts and ends the workers.
        threads: Decides how many each interpreter gets.
        start_timeout_s: Longest time until a worker is ready, seconds.
        self_test_timeout_s: Longest time of a self-test, seconds.
        engine: The runtime and delegates of this board; RuntimeLoadError when there is no runtime.
        swap: What is allowed where memory does not hold two versions.
        room: Bytes of memory that can be had now.
    """

    pool: Pool
    threads: ThreadTuning
    start_timeout_s: float
    self_test_timeout_s: float
    engine: Callable[[], Engine]
    swap: Swap = Swap.BESIDE
    room: Callable[[], int] = room_bytes

    def start(self, model: str, version: str, slot_dir: Path) -> WorkerHandle:
        """See ``Workers``."""
        engine = self.engine()
        spec = self.threads.spec(
            model, version, slot_dir, engine=engine, start_timeout_s=self.start_timeout_s
        )
        try:
            worker = self.pool.start_candidate(spec, self.start_timeout_s)
        except RuntimeLoadError as error:
            if not engine.externals and spec.tuning is None:
                raise
            logger.warning("%s is tried without delegates and measuring: %s", spec, error.summary())
            careful = dataclasses.replace(spec, engine=engine.without_externals(error.summary()), tuning=None)
            return self.pool.start_candidate(careful, self.start_timeout_s)
        self.threads.learn(worker, engine)
        return worker

    def admit(self, model: str, version: str, slot_dir: Path) -> None:
        """See ``Workers``."""
        active = self.pool.active(model)
        if active is None:
            return  # nobody would answer if it were refused
        need = need_bytes(load_slot(slot_dir).variant.peak_memory_bytes)
        room = self.room()
        admission = decide_admission(need, room, held_bytes(active.pid), self.swap)
        if admission is Admission.REFUSED:
            raise DeviceError(
                f"{model} {version} takes {mib(need)} of memory beside {active.spec.version}, {mib(room)} can be had",
                remedy='set swap = "gap" under [update], or pack a smaller variant'
                if self.swap is Swap.BESIDE
                else "pack a smaller variant, or free memory on this board",
            )
        if admission is Admission.GAP:
            logger.warning(
                "%s %s ends before %s is tested: memory holds one of them",
                model,
                active.spec.version,
                version,
            )
            self.pool.discard(active)
            _wait_for_end(active.pid)

    def self_test(self, worker: WorkerHandle) -> str:
        """See ``Workers``."""
        report = self.pool.self_test(worker, self.self_test_timeout_s)
        return (
            f"{report.samples} samples, worst error {report.worst_abs_error:.3g} of {report.max_abs_error:.3g},"
            f" best class agrees in {report.top1_agreement:.1%}"
        )

    def activate(self, worker: WorkerHandle) -> None:
        """See ``Workers``."""
        self.pool.activate(worker)

    def discard(self, worker: WorkerHandle) -> None:
        """See ``Workers``."""
        self.pool.discard(worker)

    def may_regain(self, worker: WorkerHandle) -> bool:
        """See ``Workers``; a delegate that brought a worker down is not tried again."""
        allowed = {delegate.name for delegate in worker.spec.engine.externals}
        return worker.delegate.is_fallback and worker.delegate.requested in allowed

    def active(self, model: str) -> WorkerHandle | None:
        """See ``Workers``."""
        return self.pool.active(model)


def _wait_for_end(pid: int) -> None:
    """Wait until a worker gave its memory back."""
    ends = time.monotonic() + _END_S
    while Path(f"/proc/{pid}").exists() and time.monotonic() < ends:
        time.sleep(0.05)
