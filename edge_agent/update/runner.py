"""Drives the device to what is desired: one thread that owns all deployments, slots and records.

Guarantees: a state is on disk before its action runs; whatever is on disk when the agent starts is understood or rolled
back; every change of state is reported; an expected failure ends a deployment, never the thread. A bug ends the
thread, and through ``on_end`` the agent: the next start counts it as an interruption.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import datetime, timezone

import msgspec

from contract.deployment import State
from contract.errors import LitefleetError, StorageError
from contract.messages import WIRE_VERSION, Desired, Event, EventKind
from edge_agent.update.actions import Actions
from edge_agent.update.doors import Reporter
from edge_agent.update.machine import (
    Outcome,
    Record,
    Trigger,
    decide,
    decide_restart,
    failure,
    plain_text,
    reason_of,
)
from edge_agent.update.models import Models, StartFailure
from edge_agent.update.plan import Begin, Continue, Device, Supersede, is_superseded, plan_next
from edge_agent.update.report import report_change, report_device, report_event

IDLE_S = 60.0
"""How often a model whose worker could not start, or a disk that could not be written, is tried again."""
TRIAL_POLL_S = 0.5
PROGRESS_S = 2.0
PROGRESS_RATIO = 0.05
"""Progress is written and told at most this often, and for at least this much of the whole."""

_SWITCHED = frozenset({State.SWITCHING, State.TRIAL})
_MOVING = frozenset({State.TESTING, State.SWITCHING, State.ROLLING_BACK})
"""Where a candidate or a slot is about to become the active one."""

logger = logging.getLogger(__name__)


class Runner:
    """Runs deployments.

    Either ``start`` for a thread of its own, or ``bring_up`` once and then ``turn`` again and again.
    ``submit``, ``refresh`` and ``stop`` may be called from any thread.

    Args:
        models: What is on disk, and its workers.
        actions: What is done in each state.
        reporter: Who is told.
        on_up: Called from the runner's thread when it has brought the models up.
        on_end: Called from it when it ends because of a bug, or of a disk that cannot be used at all.
        progress_s: How often progress is told at most, seconds.
    """

    def __init__(
        self,
        models: Models,
        actions: Actions,
        reporter: Reporter,
        *,
        on_up: Callable[[], None],
        on_end: Callable[[BaseException], None],
        progress_s: float = PROGRESS_S,
    ) -> None:
        self._models = models
        self._actions = actions
        self._reporter = reporter
        self._on_up = on_up
        self._on_end = on_end
        self._wake = threading.Event()
        self.is_stopping = False
        self._submitted: Desired | None = None
        self._desired: Desired | None = None
        self._unsettled: set[str] = set()
        self._told_failures: set[tuple[str, str]] = set()
        self._progress_s = progress_s
        self._entered_s = self._told_s = time.monotonic()
        self._thread: threading.Thread | None = None

    def bring_up(self) -> None:
        """Understand what is on disk and let every model answer; before anything comes from the network.

        Raises:
            StorageError: The disk cannot be used.
        """
        self._models.load()
        self._desired = self._models.journal.read_desired()
        for record in list(self._models.records.values()):
            after = decide_restart(record)
            if after.state is not record.state:
                self._enter(record.state, after)
            else:
                self._models.save(after)
        self._unsettled |= {model for model, record in self._models.records.items() if not record.is_open}
        self._settle()
        self._models.start_workers(self._on_start_failed)
        self._report()

    def submit(self, desired: Desired) -> None:
        """Take a desired document; one that is not newer is ignored."""
        known = self._submitted or self._desired
        if known is not None and desired.revision <= known.revision:
            return
        self._submitted = desired
        self._wake.set()

    def refresh(self) -> None:
        """Look again at workers and trials soon: one of them changed."""
        self._wake.set()

    def start(self) -> None:
        """Bring up, then run, in a thread of its own."""
        self._thread = threading.Thread(target=self._run, name="update-runner", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end; what it is doing is done again at the next start."""
        self.is_stopping = True
        self._wake.set()

    def join(self, timeout_s: float) -> bool:
        """Wait for the thread's end; whether it has ended."""
        if self._thread is not None:
            self._thread.join(timeout_s)
        return self._thread is None or not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self.bring_up()
            self._on_up()
            while True:
                self._wake.clear()  # before looking: what comes meanwhile ends the wait below
                if self.is_stopping:
                    break
                self._wake.wait(self.turn())
            self._mark_stopped()
        except BaseException as error:  # noqa: BLE001 - handed to the main thread, which raises it again
            self._on_end(error)

    def turn(self) -> float:
        """Do the next thing; seconds until there may be something to do again, 0 for at once."""
        try:
            return self._turn()
        except StorageError as error:
            # Nothing was done that is not written down; the next try starts from the same state.
            logger.warning("the update runner waits: %s", error.summary())
            self._close_gaps()
            return IDLE_S

    def _close_gaps(self) -> None:
        """Let what answers in between who waits for a version that cannot go on now; its candidate gives its memory."""
        try:
            for model in self._models.silent():
                self._actions.discard_candidate(model)
            self._models.start_workers(self._on_start_failed)
        except StorageError as error:
            logger.warning("not every model has an answering version: %s", error.summary())

    def _turn(self) -> float:
        self._take_submitted()
        self._settle()
        self.keep_in_step()
        task = plan_next(Device(self._desired, self._models.records, self._models.running()))
        if task is None or self._unsettled:
            self._models.start_workers(self._on_start_failed)
            self._models.regain_delegates()
            self._report()
            return IDLE_S
        if isinstance(task, Continue):
            return self._continue(task.record)
        if isinstance(task, Supersede):
            self._enter(task.record.state, decide(task.record, Outcome(Trigger.SUPERSEDED)))
        elif isinstance(task, Begin):
            self._enter(None, task.record)
        else:
            logger.info("model %s is not desired any more, removed", task.model)
            self._models.remove(task.model)
            self._report()
        return 0.0

    def _take_submitted(self) -> None:
        desired = self._submitted
        if desired is not None and desired is not self._desired:
            self._models.journal.write_desired(desired)
            self._desired = desired
            logger.info("desired document %d taken over", desired.revision)
            self._report()

    def _continue(self, record: Record) -> float:
        try:
            outcome = self._actions.perform(record, _Interest(self, record))
        except LitefleetError as error:
            outcome = failure(error)
        if self.is_stopping:
            return 0.0
        if outcome is None:
            return TRIAL_POLL_S if record.state is State.TRIAL else 0.0
        record = self._models.records[record.model]
        self._enter(record.state, decide(record, outcome))
        return 0.0

    def _enter(self, before: State | None, record: Record) -> None:
        """Persist a state, then tell about it."""
        now_s = time.monotonic()
        spent_s = 0.0 if before is None else now_s - self._entered_s
        record = msgspec.structs.replace(record, seconds=record.seconds + spent_s)
        self._models.save(record)
        self._entered_s = self._told_s = now_s
        if before is not record.state:
            logger.info(
                "deployment %s of %s %s: %s -> %s %s",
                record.deployment,
                record.model,
                record.version,
                before.value if before else "new",
                record.state.value,
                f"({record.reason.value}: {record.detail})" if record.reason else "",
            )
        at = _now()
        self._reporter.send_change(report_change(before, record, at))
        event = report_event(before, record, at)
        if event is not None:
            self._reporter.send_event(event)
        if not record.is_open:
            self._unsettled.add(record.model)
            self._settle()
        self._report()

    def _settle(self) -> None:
        """Do what is left to do for deployments that have ended."""
        self._unsettled = {model for model in sorted(self._unsettled) if not self._is_settled(model)}

    def _is_settled(self, model: str) -> bool:
        record = self._models.records[model]
        try:
            self._actions.perform(record, _Interest(self, record))
        except LitefleetError as error:
            logger.warning("the slots of %s are not settled: %s", model, error.summary())
            return False
        return True

    def _report(self) -> None:
        revision = self._desired.revision if self._desired is not None else 0
        self._reporter.send_reported(report_device(revision, self._models.reports()))

    def _on_start_failed(self, failed: StartFailure) -> None:
        if self.is_stopping:
            return  # the pool is closing: this says nothing about the version
        logger.warning("%s %s cannot be started: %s", failed.model, failed.version, failed.error.summary())
        record = self._models.records.get(failed.model)
        if record is not None and record.state in _SWITCHED and record.version == failed.version:
            self._enter(record.state, decide(record, failure(failed.error)))
        elif (failed.model, failed.version) not in self._told_failures:
            self._told_failures.add((failed.model, failed.version))
            self._reporter.send_event(
                Event(
                    v=WIRE_VERSION,
                    kind=EventKind.ROLLED_BACK if failed.fallback else EventKind.WORKER_CRASHED,
                    at=_now(),
                    model=failed.model,
                    version=failed.version,
                    reason=reason_of(failed.error),
                    detail=plain_text(failed.error.summary()),
                )
            )

    def _mark_stopped(self) -> None:
        """Tell the next start that this end was an orderly one."""
        for record in list(self._models.records.values()):
            if record.is_open:
                self._models.save(msgspec.structs.replace(record, is_stopped=True))

    def keep_in_step(self) -> None:
        """Let workers run as heat and power allow; not while one of them is about to be replaced anyway."""
        if not any(record.state in _MOVING for record in self._models.records.values()):
            self._models.keep_in_step()

    # What a long action asks while it runs on the runner's own thread.

    def newest(self) -> Desired | None:
        """The newest desired document, taken over or not."""
        return self._submitted or self._desired

    def wait(self, seconds: float) -> None:
        """Wait, or less when something happens."""
        self._wake.wait(seconds)
        self._wake.clear()

    def note_progress(self, model: str, bytes_done: int, bytes_total: int) -> None:
        """Write down and tell how far fetching is, not too often."""
        record = self._models.records[model]
        now_s = time.monotonic()
        is_much = bytes_done - record.bytes_done >= PROGRESS_RATIO * bytes_total
        if is_much and now_s - self._told_s >= self._progress_s:
            self._enter(
                record.state, msgspec.structs.replace(record, bytes_done=bytes_done, step=record.step + 1)
            )


class _Interest:
    """Whether a deployment that is being worked on is still wanted."""

    def __init__(self, runner: Runner, record: Record) -> None:
        self._runner = runner
        self._record = record

    def is_gone(self) -> bool:
        return self._runner.is_stopping or is_superseded(self._record, self._runner.newest())

    def wait(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while not self.is_gone():
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                return False
            self._runner.keep_in_step()
            self._runner.wait(left_s)
        return True

    def progress(self, bytes_done: int, bytes_total: int) -> None:
        self._runner.keep_in_step()
        self._runner.note_progress(self._record.model, bytes_done, bytes_total)


def _now() -> datetime:
    return datetime.now(timezone.utc)
