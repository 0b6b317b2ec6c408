"""The pool of workers as the update part wants it: this board's threads and time-outs filled in.

Guarantees: nothing of its own. Keeps the pool's errors as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edge_agent.inference.pool import Pool
from edge_agent.inference.workers import WorkerHandle, WorkerSpec


@dataclass(frozen=True)
class Crew:
    """Implements ``edge_agent.update.doors.Workers``.

    Attributes:
        pool: Starts and ends the workers.
        threads: Threads of each interpreter.
        start_timeout_s: Longest time until a worker is ready, seconds.
        self_test_timeout_s: Longest time of a self-test, seconds.
    """

    pool: Pool
    threads: int
    start_timeout_s: float
    self_test_timeout_s: float

    def start(self, model: str, version: str, slot_dir: Path) -> WorkerHandle:
        """See ``Workers``."""
        spec = WorkerSpec(model=model, version=version, slot_dir=slot_dir, threads=self.threads)
        return self.pool.start_candidate(spec, self.start_timeout_s)

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

    def active(self, model: str) -> WorkerHandle | None:
        """See ``Workers``."""
        return self.pool.active(model)
