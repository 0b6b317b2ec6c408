"""The pool of workers as the update part wants it: this board's engine, threads and time-outs filled in.

Guarantees: a model that can run without a delegate does not fail because of it, nor because its threads are measured:
when a worker dies or hangs while it loads, it is tried once more without. A cheaper variant that failed here is not
tried again. Keeps the pool's errors as they are.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from contract.errors import DeviceError, RejectedError, RuntimeLoadError
from edge_agent.inference.admission import Admission, Swap, decide_admission, need_bytes
from edge_agent.inference.engine import Engine
from edge_agent.inference.pool import Pool
from edge_agent.inference.room import held_bytes, mib, room_bytes
from edge_agent.inference.slot import load_slot
from edge_agent.inference.workers import WorkerHandle, WorkerSpec
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
        saves: Whether models are to run as their cheaper variant now.
        without_cheaper: Models and versions whose cheaper variant failed here.
        on_gap: Told of a model, a version and what it does, when a gap begins and when it is over.
        gaps: Models that nobody answers for, because memory holds one version at a time, and since when, monotonic.
    """

    pool: Pool
    threads: ThreadTuning
    start_timeout_s: float
    self_test_timeout_s: float
    engine: Callable[[], Engine]
    swap: Swap = Swap.BESIDE
    room: Callable[[], int] = room_bytes
    saves: Callable[[], bool] = lambda: False
    without_cheaper: set[tuple[str, str]] = field(default_factory=set)
    on_gap: Callable[[str, str, str], None] = field(kw_only=True)
    gaps: dict[str, float] = field(default_factory=dict)

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
        need = need_bytes(load_slot(slot_dir).peak_memory_bytes())
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
            self._open_gap(active, version, f"it takes {mib(need)}, {mib(room)} can be had")

    def _open_gap(self, active: WorkerHandle, version: str, why: str) -> None:
        """End the active worker; from now on nobody answers, until a worker is activated."""
        spec = active.spec
        self.pool.make_room(spec.model)
        self.gaps[spec.model] = time.monotonic()
        self._tell_gap(spec, f"ends before {version} is tested, memory holds one of them: {why}")
        _wait_for_end(active.pid)

    def _close_gap(self, spec: WorkerSpec) -> None:
        began_s = self.gaps.pop(spec.model, None)
        if began_s is not None:
            self._tell_gap(spec, f"answers, after {time.monotonic() - began_s:.1f} s in which nobody did")

    def _tell_gap(self, spec: WorkerSpec, words: str) -> None:
        logger.warning("%s %s", spec, words)
        self.on_gap(spec.model, spec.version, words)

    def self_test(self, worker: WorkerHandle) -> str:
        """See ``Workers``."""
        with self._cheaper_may_fail(worker.spec):
            report = self.pool.self_test(worker, self.self_test_timeout_s)
        return (
            f"{report.samples} samples, worst error {report.worst_abs_error:.3g} of {report.max_abs_error:.3g},"
            f" best class agrees in {report.top1_agreement:.1%}"
        )

    def activate(self, worker: WorkerHandle) -> None:
        """See ``Workers``."""
        self.pool.activate(worker)
        self._close_gap(worker.spec)

    def discard(self, worker: WorkerHandle) -> None:
        """See ``Workers``; in a gap its memory is what the next worker needs."""
        self.pool.discard(worker)
        if worker.spec.model in self.gaps:
            _wait_for_end(worker.pid)

    def withdraw(self, model: str) -> None:
        """See ``Workers``."""
        self.pool.withdraw(model)
        self.gaps.pop(model, None)

    def may_regain(self, worker: WorkerHandle) -> bool:
        """See ``Workers``; a delegate that brought a worker down is not tried again."""
        allowed = {delegate.name for delegate in worker.spec.engine.externals}
        if not worker.delegate.is_fallback or worker.delegate.requested not in allowed:
            return False
        try:
            self._check_room(worker.spec)
        except (DeviceError, RejectedError):
            return False
        return True

    def is_out_of_step(self, worker: WorkerHandle) -> bool:
        """See ``Workers``."""
        spec = worker.spec
        if (spec.threads_cap, spec.is_cheaper) == (self.threads.cap(), self.saves()):
            return False  # the usual case, without a look at the disk
        wanted = self._spec_in_step(worker)
        has_other_cap = wanted.threads_cap != spec.threads_cap and wanted.threads != spec.threads
        return wanted.is_cheaper != spec.is_cheaper or has_other_cap

    def start_in_step(self, worker: WorkerHandle) -> WorkerHandle:
        """See ``Workers``; a deployment's own worker is started with ``start``, as the variant that was chosen."""
        spec = self._spec_in_step(worker)
        self._check_room(spec)
        with self._cheaper_may_fail(spec):
            started = self.pool.start_candidate(spec, self.start_timeout_s)
        self.threads.learn(started, spec.engine)
        return started

    def _check_room(self, spec: WorkerSpec) -> None:
        """Make sure that a second worker of what is active fits into memory beside the first one.

        Raises:
            DeviceError: It does not.
            RejectedError: The slot is damaged.
        """
        slot = load_slot(spec.slot_dir)
        slot = slot.on_cheaper() if spec.is_cheaper else slot
        need, room = need_bytes(slot.peak_memory_bytes()), self.room()
        if decide_admission(need, room, 0, Swap.BESIDE) is Admission.REFUSED:
            raise DeviceError(f"{spec} takes {mib(need)} of memory a second time, {mib(room)} can be had")

    def _spec_in_step(self, worker: WorkerHandle) -> WorkerSpec:
        """What a worker would be started with now; it keeps the delegates that it was left with."""
        held = worker.spec
        spec = self.threads.spec(
            held.model,
            held.version,
            held.slot_dir,
            engine=held.engine,
            start_timeout_s=self.start_timeout_s,
        )
        is_cheaper = (
            self.saves()
            and (held.model, held.version) not in self.without_cheaper
            and load_slot(held.slot_dir).cheaper is not None
        )
        return dataclasses.replace(spec, is_cheaper=is_cheaper)

    @contextlib.contextmanager
    def _cheaper_may_fail(self, spec: WorkerSpec) -> Iterator[None]:
        try:
            yield
        except (DeviceError, RejectedError):
            if spec.is_cheaper:
                self.without_cheaper.add((spec.model, spec.version))
            raise

    def active(self, model: str) -> WorkerHandle | None:
        """See ``Workers``."""
        return self.pool.active(model)


def _wait_for_end(pid: int) -> None:
    """Wait until a worker gave its memory back."""
    ends = time.monotonic() + _END_S
    while Path(f"/proc/{pid}").exists() and time.monotonic() < ends:
        time.sleep(0.05)
