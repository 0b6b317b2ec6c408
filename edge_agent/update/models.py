"""The models on this device: their records and slots on disk, and their workers.

Guarantees: what is in memory here is what is on disk; a model whose files are damaged does not keep the others from
starting; at the start, a model answers from its active slot, or from the other good one when that cannot be loaded.
Decides no state of a deployment.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from contract.deployment import State
from contract.errors import (
    DeviceError,
    LitefleetError,
    ManifestError,
    RejectedError,
    RuntimeLoadError,
    StorageError,
)
from contract.identifiers import parse_model
from contract.messages import ReportedModel
from edge_agent.inference.workers import WorkerHandle
from edge_agent.update.doors import Workers
from edge_agent.update.journal import Journal
from edge_agent.update.machine import Record
from edge_agent.update.report import report_model
from edge_agent.update.slots import Slots
from edge_agent.update.starting import start_active

REGAIN_TRIES = 3
"""How often a worker on its fall-back is replaced by one that asks for the delegate again; one try per idle turn."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class StartFailure:
    """A worker that could not be started.

    Attributes:
        model: Model name.
        version: Version.
        error: Why.
        fallback: Version that answers instead; empty when none does.
    """

    model: str
    version: str
    error: LitefleetError
    fallback: str


class Models:
    """Records, slots and workers of every model.

    Owned by one thread at a time: first the one that starts the agent, then the runner's.

    Args:
        folder: Where models are stored.
        journal: Where records are.
        workers: The processes that answer.
    """

    def __init__(self, folder: Path, journal: Journal, workers: Workers) -> None:
        self._folder = folder
        self._workers = workers
        self._slots: dict[str, Slots] = {}
        self._records: dict[str, Record] = {}
        self._tries: dict[str, tuple[int, int]] = {}
        self._steps: dict[str, tuple[int, int]] = {}
        self.journal = journal

    def load(self) -> None:
        """Read everything that is on disk.

        Raises:
            StorageError: The disk cannot be read at all.
        """
        self.journal.clear_drafts()
        for model in self.journal.models():
            self._load_or_ignore(model)

    def _load_or_ignore(self, model: str) -> None:
        try:
            self._load_model(parse_model(model))
        except ManifestError:
            logger.warning("folder %s is not a model, left alone", self._folder / model)
        except StorageError as error:
            logger.warning("model %s is ignored until it is deployed again: %s", model, error.summary())

    def _load_model(self, model: str) -> None:
        try:
            self._slots[model] = Slots(self._folder / model)
        except StorageError:
            # Without a table nobody knows which slot is good. The files stay: the next deployment uses them again.
            Slots.put_aside(self._folder / model)
            self.journal.forget(model)
            self._slots[model] = Slots(self._folder / model)
            raise
        record = self.journal.read(model)
        if record is not None:
            self._records[model] = record

    @property
    def records(self) -> Mapping[str, Record]:
        """The last deployment of each model."""
        return self._records

    @property
    def names(self) -> list[str]:
        """Every model with a place on this device, in alphabetical order."""
        return sorted({*self._slots, *self._records})

    def slots(self, model: str) -> Slots:
        """A model's slots; its folder is made when missing.

        Raises:
            StorageError: The folder cannot be used.
        """
        if model not in self._slots:
            self._slots[model] = Slots(self._folder / model)
        return self._slots[model]

    def save(self, record: Record) -> None:
        """Write a record down.

        Raises:
            StorageError: The one before is still in force.
        """
        self.journal.write(record)
        self._records[record.model] = record

    def running(self) -> dict[str, str]:
        """Version in each model's active slot when it is good, else empty."""
        return {
            model: slots.table.running.version if slots.table.running.good else ""
            for model, slots in self._slots.items()
        }

    def reports(self) -> dict[str, ReportedModel]:
        """What each model is to be reported as."""
        found: dict[str, ReportedModel] = {}
        for model in self.names:
            running = self.slots(model).table.running
            found[model] = report_model(self._records.get(model), running, self._workers.active(model))
        return found

    def remove(self, model: str) -> None:
        """Stop a model and delete everything of it.

        Raises:
            StorageError: Something of it is still there; it is stopped.
        """
        self._workers.withdraw(model)
        self.slots(model).remove()
        del self._slots[model]
        self._records.pop(model, None)

    def silent(self) -> list[str]:
        """Models that should answer and have no worker."""
        return [model for model in self.names if self._is_silent(model)]

    def _is_silent(self, model: str) -> bool:
        return bool(self.slots(model).table.active) and self._workers.active(model) is None

    def start_workers(self, on_failed: Callable[[StartFailure], None]) -> None:
        """Let every model answer that should and does not.

        Args:
            on_failed: Told of every worker that could not be started.

        Raises:
            StorageError: A fallback answers, but could not be made the active slot.
        """
        for model in self.silent():
            self._start_worker(model, on_failed)

    def _start_worker(self, model: str, on_failed: Callable[[StartFailure], None]) -> None:
        slots = self.slots(model)
        failures: list[tuple[str, LitefleetError]] = []
        answering = ""
        for name in self._slots_to_try(model):
            version = slots.table.slot(name).version
            try:
                start_active(self._workers, model, version, slots.path(name))
            except (DeviceError, RejectedError) as error:
                failures.append((version, error))
            else:
                slots.switch(name)
                answering = version
                break
        for failed, why in failures:
            on_failed(StartFailure(model, failed, why, answering))

    def regain_delegates(self) -> None:
        """Move models back to the delegate they were made for, where it was taken when their workers started.

        An Edge TPU serves one process: while a version hands over to the next, the next one cannot have it.
        """
        for model in self.names:
            worker = self._workers.active(model)
            if worker is not None and self._workers.may_regain(worker) and self._count_try(worker):
                self._regain(worker)

    def keep_in_step(self) -> None:
        """Replace workers that run with more, or less, than heat and power allow now; no request notices it.

        What cannot be replaced stays as it is: it answers.
        """
        for model in self.names:
            worker = self._workers.active(model)
            if worker is not None:
                self._keep_in_step(worker)

    def _keep_in_step(self, worker: WorkerHandle) -> None:
        spec = worker.spec
        try:
            if not self._workers.is_out_of_step(worker) or not self._count_step(worker):
                return
            better = self._workers.start_in_step(worker)
            self._replace(better, may_fall_back=worker.delegate.is_fallback)
        except (DeviceError, RejectedError) as error:
            kept = f"{worker.variant} with {spec.threads} threads"
            logger.warning("%s stays %s: %s", spec, kept, error.summary())
        else:
            logger.info("%s runs as %s with %d threads", spec, better.variant, better.spec.threads)

    def _count_step(self, worker: WorkerHandle) -> bool:
        """Whether it is time for another try: after 1, 2, 4, 8 and so on turns in which it was out of step."""
        times = _count(self._steps, worker)
        return times & (times - 1) == 0

    def _count_try(self, worker: WorkerHandle) -> bool:
        """Whether another try is worth it; what the delegate refuses for good is not asked for again and again."""
        return _count(self._tries, worker) <= REGAIN_TRIES

    def _regain(self, worker: WorkerHandle) -> None:
        spec = worker.spec
        try:
            better = self._replace(
                self._workers.start(spec.model, spec.version, spec.slot_dir), may_fall_back=False
            )
        except (DeviceError, RejectedError) as error:
            logger.info("%s stays on %s: %s", spec, worker.delegate.actual, error.summary())
        else:
            logger.info("%s runs on %s again", spec, better.delegate.actual)

    def _replace(self, better: WorkerHandle, *, may_fall_back: bool) -> WorkerHandle:
        """Let a candidate answer in the place of the active worker, or end it."""
        try:
            if better.delegate.is_fallback and not may_fall_back:
                raise RuntimeLoadError(better.delegate.reason)
            self._workers.self_test(better)
            self._workers.activate(better)
        except (DeviceError, RejectedError):
            self._workers.discard(better)
            raise
        return better

    def _slots_to_try(self, model: str) -> list[str]:
        """The active slot first; while it is being rolled back, the good one. Then the other one if it is good."""
        table = self.slots(model).table
        record = self._records.get(model)
        is_rolling_back = record is not None and record.state is State.ROLLING_BACK
        first = table.good_name() if is_rolling_back else table.active
        names = [first or table.active]
        other = "b" if names[0] == "a" else "a"
        return [*names, other] if table.slot(other).good else names


def _count(tries: dict[str, tuple[int, int]], worker: WorkerHandle) -> int:
    """Count a try to replace a worker; the number of this one."""
    key, times = tries.get(worker.spec.model, (worker.key, 0))
    times = times + 1 if key == worker.key else 1
    tries[worker.spec.model] = (worker.key, times)
    return times
