"""Runs one worker process for a bench: the very process that serves, fresh, with a socket nobody knows.

Guarantees: the process never outlives the call; every wait has a limit; a native crash in it is told in words. Its
model is loaded and warmed up by the worker's own code, so what is measured is what applications get.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from contract.errors import DeviceError, RuntimeLoadError
from edge_agent.inference import control
from edge_agent.inference.process import WorkerProcess

GLANCE_S = 1.0
"""Seldom enough to take nothing from what is measured: a look at the sensors is some milliseconds."""
_END_S = 5.0
_OUTPUT_SHOWN_CHARS = 2000
_Words = TypeVar("_Words", control.Ready, control.Measured)


@dataclass(frozen=True)
class WorkerRun:
    """What one process did: what it said of itself, what it measured, and how long it took to start."""

    ready: control.Ready
    measured: control.Measured
    start_s: float


@dataclass(frozen=True)
class Patience:
    """How long is waited, seconds: for a model to be loaded, and for all runs of a process."""

    start_s: float
    runs_s: float


@dataclass(frozen=True)
class _Stage:
    """What a process is doing, and the error when it dies or hangs there."""

    doing: str
    error: type[DeviceError]


_LOADING = _Stage("loading the model", RuntimeLoadError)
_RUNNING = _Stage("running it", DeviceError)


class _GoneError(Exception):
    """It closed its side: it is dying, or dead."""

    def __init__(self, stage: _Stage) -> None:
        super().__init__(stage.doing)
        self.stage = stage


def run_worker(
    start: control.Start, order: control.Measure, patience: Patience, glance: Callable[[], object] = bool
) -> WorkerRun:
    """Start a worker, let it do its runs, end it.

    Args:
        start: What it is to load.
        order: How many runs.
        patience: How long is waited.
        glance: Called every ``GLANCE_S`` while it does its runs.

    Raises:
        RuntimeLoadError: No process could be started, or it died or hung while it loaded the model.
        DeviceError: It died or hung during its runs.
        LitefleetError: What it said of its failure.
    """
    began = time.monotonic()
    process = WorkerProcess(start)
    grace_s, has_ended = 0.0, False
    try:
        ready = _hear(process, control.Ready, _LOADING, began + patience.start_s)
        start_s = time.monotonic() - began
        process.tell(order)
        measured = _hear(process, control.Measured, _RUNNING, time.monotonic() + patience.runs_s, glance)
        process.order_end()
        grace_s = _END_S
        return WorkerRun(ready, measured, start_s)
    except _GoneError as gone:
        has_ended = True
        ending = process.reap(_END_S)
        output = [ending.output[-_OUTPUT_SHOWN_CHARS:]] if ending.output else []
        words = f"the bench's process {ending} while {gone.stage.doing}"
        raise gone.stage.error(words, faults=output) from gone
    finally:
        if not has_ended:
            process.reap(grace_s)


def _hear(
    process: WorkerProcess,
    kind: type[_Words],
    stage: _Stage,
    ends: float,
    glance: Callable[[], object] = bool,
) -> _Words:
    """Wait for one kind of words."""
    listened = [process.channel.fileno(), process.output]
    while True:
        left_s = ends - time.monotonic()
        if left_s <= 0:
            raise stage.error(f"the bench's process was still {stage.doing} when its time was over")
        readable = select.select(listened, [], [], min(left_s, GLANCE_S))[0]
        if not readable:
            glance()
        if process.output in readable and not process.read_output():
            listened.remove(process.output)
        if process.channel.fileno() not in readable:
            continue
        words = process.receive()
        if words is None:
            raise _GoneError(stage)
        if isinstance(words, control.Failed):
            raise control.error_of(words)
        assert isinstance(words, kind)  # noqa: S101 - a worker answers what it was asked
        return words
