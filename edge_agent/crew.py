"""The pool of workers as the update part wants it: this board's engine, threads and time-outs filled in.

Guarantees: a model that can run without a delegate does not fail because of it: when a worker dies or hangs while it
loads, it is tried once more without. Keeps the pool's errors as they are.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from contract.errors import RuntimeLoadError
from edge_agent.inference.engine import Engine
from edge_agent.inference.pool import Pool
from edge_agent.inference.workers import WorkerHandle, WorkerSpec

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Crew:
    """Implements ``edge_agent.update.doors.Workers``.

    Attributes:
        pool: Starts and ends the workers.
        threads: Threads of each interpreter.
        start_timeout_s: Longest time until a worker is ready, seconds.
        self_test_timeout_s: Longest time of a self-test, seconds.
        engine: The runtime and delegates of this board; RuntimeLoadError when there is no runtime.
    """

    pool: Pool
    threads: int
    start_timeout_s: float
    self_test_timeout_s: float
    engine: Callable[[], Engine]

    def start(self, model: str, version: str, slot_dir: Path) -> WorkerHandle:
        """See ``Workers``."""
        engine = self.engine()
        spec = WorkerSpec(
            model=model, version=version, slot_dir=slot_dir, threads=self.threads, engine=engine
        )
        try:
            return self.pool.start_candidate(spec, self.start_timeout_s)
        except RuntimeLoadError as error:
            if not engine.externals:
                raise
            logger.warning("%s is tried without delegates: %s", spec, error.summary())
            careful = dataclasses.replace(spec, engine=engine.without_externals(error.summary()))
            return self.pool.start_candidate(careful, self.start_timeout_s)

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
