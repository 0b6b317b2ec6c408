"""The actions of the update machine: what is done on disk and with workers in each state.

Guarantees: every action may run twice, also after a kill in its middle; nothing before SWITCH touches the active slot,
or its worker but where memory holds one at a time and the configuration allows a gap. Decides no state: it returns what
came out, or raises what went wrong.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from typing import Protocol

from contract.errors import DeviceError, StorageError, TransientError
from edge_agent.backoff import Backoff
from edge_agent.files import make_folder
from edge_agent.inference.workers import WorkerHandle
from edge_agent.update.doors import Fetcher, Observer, Origin, Workers
from edge_agent.update.fetch_protocol import ARTIFACT_FOLDER, Fetched, FetchJob
from edge_agent.update.machine import DONE, TABLE, Action, Outcome, Record, Trigger, failure
from edge_agent.update.slots import Slots, check_slot
from edge_agent.update.starting import start_active
from edge_agent.update.trial import judge_trial

FETCH_BACKOFF = Backoff(base_s=2.0, cap_s=300.0)

logger = logging.getLogger(__name__)


class Interest(Protocol):
    """Whether an action that takes long should go on."""

    def is_gone(self) -> bool:
        """The agent stops, or something newer is desired."""

    def wait(self, seconds: float) -> bool:
        """Wait; true as soon as interest is gone."""

    def progress(self, bytes_done: int, bytes_total: int) -> None:
        """Told how far fetching is."""


class Actions:
    """Performs actions.

    Args:
        origin: Where releases come from.
        fetcher: Fetches them.
        workers: Runs them.
        observer: Watches them.
        slots_of: The slots of a model.
        fetch_deadline_s: Longest time spent on trying to fetch, seconds.
    """

    def __init__(
        self,
        origin: Origin,
        fetcher: Fetcher,
        workers: Workers,
        observer: Observer,
        slots_of: Callable[[str], Slots],
        *,
        fetch_deadline_s: float,
    ) -> None:
        self._origin = origin
        self._fetcher = fetcher
        self._workers = workers
        self._observer = observer
        self._slots_of = slots_of
        self._fetch_deadline_s = fetch_deadline_s
        self._candidates: dict[str, WorkerHandle] = {}
        self._trial = ""
        self._trial_began_s = 0.0
        self._by_action: dict[Action, Callable[[Record, Interest], Outcome | None]] = {
            Action.PREPARE: self._prepare,
            Action.FETCH: self._fetch,
            Action.CHECK: self._check,
            Action.TEST: self._test,
            Action.SWITCH: self._switch,
            Action.WATCH: self._watch,
            Action.KEEP: self._keep,
            Action.RESTORE: self._restore,
            Action.CLEAR: self._clear,
        }

    def perform(self, record: Record, interest: Interest) -> Outcome | None:
        """Do what a record's state asks for.

        Returns:
            What came out; None when it goes on, or interest was lost.

        Raises:
            LitefleetError: It failed for good.
        """
        return self._by_action[TABLE[record.state].action](record, interest)

    def discard_candidate(self, model: str) -> None:
        """End the candidate of a model, if it has one."""
        candidate = self._candidates.pop(model, None)
        if candidate is not None:
            self._workers.discard(candidate)

    def _prepare(self, record: Record, _: Interest) -> Outcome:
        slots = self._slots_of(record.model)
        slots.clear_parts(but=record.version)
        slots.empty(slots.table.inactive)
        return DONE

    def _fetch(self, record: Record, interest: Interest) -> Outcome | None:
        job = self._job(record)
        deadline, failures = time.monotonic() + self._fetch_deadline_s, 0
        while True:
            result = self._try_to_fetch(job, interest)
            if not isinstance(result, TransientError):
                return None if result is None else Outcome(Trigger.DONE, bytes_done=result.bytes_total)
            failures += 1
            # Jitter spreads load; nothing depends on it being unpredictable.
            delay_s = FETCH_BACKOFF.delay_s(failures, random.random())  # noqa: S311
            if time.monotonic() + delay_s > deadline:
                return failure(result)
            logger.warning(
                "fetching %s %s again in %.1f s: %s", job.model, job.version, delay_s, result.summary()
            )
            if interest.wait(delay_s):
                return None

    def _try_to_fetch(self, job: FetchJob, interest: Interest) -> Fetched | TransientError | None:
        try:
            return self._fetcher.fetch(job, interest.progress, interest.is_gone)
        except TransientError as error:
            return error
        except StorageError:
            # The disk is probably full of what came: without this there may be no room to write down that it failed.
            self._give_space_back(job.model)
            raise

    def _give_space_back(self, model: str) -> None:
        slots = self._slots_of(model)
        try:
            slots.clear_parts()
            slots.empty(slots.table.inactive)
        except StorageError as error:
            logger.warning("space on the disk is not given back: %s", error.summary())

    def _job(self, record: Record) -> FetchJob:
        slots = self._slots_of(record.model)
        parts = slots.parts_dir(record.version)
        make_folder(parts)
        active = slots.table.active
        return FetchJob(
            server_url=self._origin.server_url,
            root_path=str(self._origin.root),
            trust_dir=str(self._origin.trust_dir),
            model=record.model,
            version=record.version,
            profile=self._origin.profile,
            capabilities=self._origin.capabilities(),
            slot_dir=str(slots.path(slots.table.inactive)),
            reuse=(str(slots.path(active) / ARTIFACT_FOLDER),) if active else (),
            parts_dir=str(parts),
            prefers_accuracy=self._origin.prefers_accuracy,
            wants_cheaper=self._origin.wants_cheaper,
        )

    def _check(self, record: Record, _: Interest) -> Outcome:
        slots = self._slots_of(record.model)
        target = slots.table.inactive
        content = check_slot(
            slots.path(target), model=record.model, version=record.version, profile=self._origin.profile
        )
        slots.record_staged(target, content)
        return DONE

    def _test(self, record: Record, _: Interest) -> Outcome:
        self.discard_candidate(record.model)
        slots = self._slots_of(record.model)
        candidate = self._start_candidate(record, slots.table.inactive)
        summary = self._workers.self_test(candidate)
        logger.info("%s %s passed its self-test: %s", record.model, record.version, summary)
        return DONE

    def _switch(self, record: Record, _: Interest) -> Outcome:
        slots = self._slots_of(record.model)
        target = slots.table.holds_new(record.version)
        if not target:
            raise StorageError(f"no slot of {record.model} holds {record.version} any more")
        slots.switch(target)
        active = self._workers.active(record.model)
        if active is None or active.spec.slot_dir != slots.path(target):
            candidate = self._candidates.get(record.model) or self._start_candidate(record, target)
            self._observer.forget(record.model)  # before it answers: its first crash must not be missed
            self._workers.activate(candidate)
        self._candidates.pop(record.model, None)
        return DONE

    def _watch(self, record: Record, _: Interest) -> Outcome | None:
        now = time.monotonic()
        if self._trial != record.deployment:
            self._trial, self._trial_began_s = record.deployment, now
        seen = self._observer.seen(record.model, record.version)
        return judge_trial(seen, now - self._trial_began_s, record.trial_s)

    def _keep(self, record: Record, _: Interest) -> Outcome:
        slots = self._slots_of(record.model)
        slots.mark_good()
        slots.clear_parts()
        return DONE

    def _restore(self, record: Record, _: Interest) -> Outcome:
        self.discard_candidate(record.model)
        slots = self._slots_of(record.model)
        target = slots.table.good_name()
        slots.switch(target)
        active = self._workers.active(record.model)
        if not target:
            self._workers.withdraw(record.model)
        elif active is None or active.spec.slot_dir != slots.path(target):
            self._make_room(record.model, target)
            start_active(self._workers, record.model, slots.table.slot(target).version, slots.path(target))
        return DONE

    def _make_room(self, model: str, name: str) -> None:
        """Make room for a version that is to come back; where there is none it is tried all the same."""
        slots = self._slots_of(model)
        try:
            self._workers.admit(model, slots.table.slot(name).version, slots.path(name))
        except DeviceError as error:
            logger.warning("%s comes back where memory may not hold it: %s", model, error.summary())

    def _clear(self, record: Record, _: Interest) -> Outcome:
        slots = self._slots_of(record.model)
        failed = slots.table.inactive
        active = self._workers.active(record.model)
        is_used = active is not None and active.spec.slot_dir == slots.path(failed)
        if not slots.table.slot(failed).good and not is_used:
            slots.empty(failed)
        return DONE

    def _start_candidate(self, record: Record, name: str) -> WorkerHandle:
        self._workers.admit(record.model, record.version, self._slots_of(record.model).path(name))
        candidate = self._start(record.model, name)
        self._candidates[record.model] = candidate
        return candidate

    def _start(self, model: str, name: str) -> WorkerHandle:
        slots = self._slots_of(model)
        return self._workers.start(model, slots.table.slot(name).version, slots.path(name))
