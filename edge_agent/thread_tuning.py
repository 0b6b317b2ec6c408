"""How many threads each worker of this device gets, and what was measured about it, remembered in the state folder.

Guarantees: a number is used again only for the same model file, runtime, processor and choices as it was measured with;
a damaged memory is measured again; a disk that cannot be written costs the memory, never a worker. Measures nothing
itself: workers do, before they are ready (``edge_agent.inference.tuning``).
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import msgspec

from contract.errors import StorageError
from edge_agent.files import read_bounded, write_durably
from edge_agent.inference.board import Facts
from edge_agent.inference.engine import Engine
from edge_agent.inference.processors import usable_processors
from edge_agent.inference.slot import load_slot
from edge_agent.inference.threads import THREADS_MAX, Tuning, WorkerSettings, allot_threads
from edge_agent.inference.workers import WorkerHandle, WorkerSpec

THREADS_FILE = "threads.json"
_FORMAT = 1
_ENTRIES_MAX = 64
_FILE_MAX_BYTES = 64 * 1024
_TUNING_S = 3.0
_OF_THE_START = 0.25
"""Part of a worker's time to become ready that measuring may take at most."""

logger = logging.getLogger(__name__)


class _Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One measure: what it hangs on, of which model, and what came out."""

    grounds: str
    digest: str
    model: str
    threads: Annotated[int, msgspec.Meta(ge=1, le=THREADS_MAX)]
    run_seconds: dict[int, float]


class _Memory(msgspec.Struct, frozen=True, kw_only=True):
    """The file; the newest entry last."""

    format: int
    entries: tuple[_Entry, ...] = ()


class ThreadTuning:
    """Decides threads for workers. Owned by the runner's thread, but for ``cap``.

    Args:
        settings: Of the configuration.
        budget: Of the board's profile.
        folder: The state folder.
        facts: The board, once it was looked at.
        cap: Most threads while the board is hot; 0 for none.
        most_s: Longest time that a worker may measure, seconds.

    Attributes:
        cap: As it was given.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        budget: int,
        folder: Path,
        facts: Callable[[], Facts],
        cap: Callable[[], int] = lambda: 0,
        *,
        most_s: float = _TUNING_S,
    ) -> None:
        self._settings = settings
        self._budget = budget
        self._path = folder / THREADS_FILE
        self._facts = facts
        self.cap = cap
        self._most_s = most_s

    def spec(
        self, model: str, version: str, slot_dir: Path, *, engine: Engine, start_timeout_s: float
    ) -> WorkerSpec:
        """What a worker is to serve, with as many threads as are known to be best, or with what it is to measure.

        Raises:
            StorageError: The slot cannot be read.
            ManifestError: It is not usable.
        """
        slot = load_slot(slot_dir)
        digests = [each.artifact.sha256 for each in (slot.variant, slot.fallback) if each is not None]
        processors = usable_processors()
        grounds = self._grounds(engine, processors)
        entries = [entry for entry in self._recall() if entry.grounds == grounds]
        found = {entry.digest: entry.threads for entry in entries}
        known = next((found[digest] for digest in digests if digest in found), 0)
        cap = self.cap()
        allotment = allot_threads(
            self._settings, budget=self._budget, processors=processors, known=known, cap=cap
        )
        before = next((entry.threads for entry in reversed(entries) if entry.model == model), 0)
        seconds = min(self._most_s, start_timeout_s * _OF_THE_START)
        tuning = Tuning(choices=allotment.choices, seconds=seconds, before=before)
        return WorkerSpec(
            model=model,
            version=version,
            slot_dir=slot_dir,
            threads=allotment.threads,
            engine=engine,
            tuning=tuning if allotment.choices else None,
            threads_cap=cap,
        )

    def learn(self, worker: WorkerHandle, engine: Engine) -> None:
        """Remember what a worker measured; nothing when it measured nothing.

        Args:
            worker: It is ready.
            engine: What its spec was made with.
        """
        if worker.run_seconds is None:
            return
        times = ", ".join(
            f"{number}: {1000 * run:.3g} ms" for number, run in sorted(worker.run_seconds.items())
        )
        logger.info(
            "%s runs with %d threads (%s)",
            worker.spec,
            worker.spec.threads,
            times or "not measured to the end",
        )
        entry = _Entry(
            grounds=self._grounds(engine, usable_processors()),
            digest=worker.digest,
            model=worker.spec.model,
            threads=worker.spec.threads,
            run_seconds=worker.run_seconds,
        )
        others = [
            each for each in self._recall() if (each.grounds, each.digest) != (entry.grounds, entry.digest)
        ]
        memory = _Memory(format=_FORMAT, entries=(*others, entry)[-_ENTRIES_MAX:])
        try:
            write_durably(self._path, msgspec.json.encode(memory))
        except StorageError as error:
            logger.warning("the number of threads is not remembered: %s", error.summary())

    def _recall(self) -> tuple[_Entry, ...]:
        try:
            content = read_bounded(self._path, _FILE_MAX_BYTES)
            memory = None if content is None else msgspec.json.decode(content, type=_Memory)
        except (StorageError, msgspec.DecodeError) as error:
            logger.warning("%s is not usable, threads are measured again: %s", self._path, error)
            return ()
        return memory.entries if memory is not None and memory.format == _FORMAT else ()

    def _grounds(self, engine: Engine, processors: int) -> str:
        """Digest of everything but the model that a measure hangs on."""
        facts = self._facts()
        runtime = facts.runtime(engine.runtime)
        parts = (
            engine.runtime,
            "" if runtime is None else runtime.version,
            engine.has_xnnpack,
            facts.arch,
            facts.board,
            facts.cpu_model,
            facts.cpu_features,
            facts.cores,
            processors,
            self._budget,
        )
        return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()
