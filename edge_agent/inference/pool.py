"""The workers of this device: candidates, the active one of each model, and those that drain.

Guarantees: a switch is one rename, so an application reaches the old worker or the new one; the old one answers what
it has before it ends; an active worker that dies or hangs is started again; nothing here imports numpy or a runtime,
and nothing a worker does ends this process.

Threads: every method may be called from any thread but the pool's own. ``on_crash`` and ``on_restarted`` are called
on the pool's supervisor thread, with no lock held: they must return soon, and may call nothing here but ``active``.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Collection
from pathlib import Path

from contract.errors import RuntimeLoadError, SelfTestError
from edge_agent.inference import control
from edge_agent.inference.control import SelfTestReport
from edge_agent.inference.forking import ForkServers
from edge_agent.inference.process import Ending
from edge_agent.inference.roles import Role, Worker
from edge_agent.inference.roster import Roster
from edge_agent.inference.run_folder import RunFolder
from edge_agent.inference.workers import Crash, PoolLimits, WorkerHandle, WorkerSpec, WorkerWindow

__all__ = ["Crash", "Pool", "PoolLimits", "SelfTestReport", "WorkerHandle", "WorkerSpec", "WorkerWindow"]

_DEFAULT_LIMITS = PoolLimits()


class Pool:
    """All workers of this device.

    Args:
        run_dir: Run folder; sockets are made here.
        on_crash: Told of every active worker that dies.
        limits: How long things may take.
        reserved: Names that no model may have.
        may_fork: Whether workers are forked by a server that has imported what they need.
        on_restarted: Told whenever a worker serves in the place of one that died; it may run on another delegate.

    Raises:
        ConfigError: The run folder's path is too long for a socket, or another agent uses it.
        StorageError: The run folder cannot be used.
    """

    def __init__(
        self,
        run_dir: Path,
        on_crash: Callable[[Crash], None],
        limits: PoolLimits = _DEFAULT_LIMITS,
        *,
        reserved: Collection[str] = (),
        may_fork: bool = True,
        on_restarted: Callable[[], None] = lambda: None,
    ) -> None:
        self._limits = limits
        self._folder = RunFolder(run_dir, reserved)
        servers = ForkServers(run_dir, may_fork=may_fork)
        self._roster = Roster(self._folder, on_crash, limits, servers, on_restarted)

    def start_candidate(self, spec: WorkerSpec, timeout_s: float) -> WorkerHandle:
        """Start a worker beside the active one and wait until it is ready.

        Raises:
            RuntimeLoadError: It could not load the model, died, or took too long.
            DigestError: The model file is damaged on this device.
            ManifestError: The slot's manifest is not usable.
            StorageError: The slot cannot be read.
            ConfigError: The model's socket path would be too long.
            IncompatibleError: A pipeline or an ensemble has its name.
        """
        self._folder.check_model(spec.model)
        gentle_s = min(self._limits.gentle_s, timeout_s / 4)
        worker = self._roster.spawn(spec, Role.CANDIDATE, gentle_s)
        answer = _wait_for(worker, timeout_s)
        if isinstance(answer, control.Ready):
            with self._roster.changed:
                return worker.become_ready(answer)
        if isinstance(answer, control.Failed):
            self._roster.end(worker, self._limits.end_s)
            raise control.error_of(answer)
        if answer is None:
            self._roster.end(worker, 0.0)
            raise RuntimeLoadError(
                f"{spec} was not ready within {timeout_s:g} s",
                faults=_output_of(_wait_for(worker, self._limits.end_s)),
            )
        raise RuntimeLoadError(f"worker of {spec} {answer} before it was ready", faults=_output_of(answer))

    def self_test(self, handle: WorkerHandle, timeout_s: float) -> SelfTestReport:
        """Run the golden inputs on a worker's interpreter.

        Raises:
            SelfTestError: Its answers are not the expected ones, or took too long.
            RuntimeLoadError: It died.
            DigestError: The golden artifact is damaged on this device.
            StorageError: It cannot be read.
            ManifestError: It is no golden artifact.
        """
        worker = self._roster.find(handle)
        worker.process.tell(control.SelfTest())
        answer = _wait_for(worker, timeout_s)
        if isinstance(answer, control.SelfTested):
            return answer.report
        if isinstance(answer, control.Failed):
            raise control.error_of(answer)
        if answer is None:
            raise SelfTestError(f"the self-test of {handle.spec} took more than {timeout_s:g} s")
        raise RuntimeLoadError(
            f"worker of {handle.spec} {answer} in its self-test", faults=_output_of(answer)
        )

    def activate(self, handle: WorkerHandle) -> None:
        """Let a candidate answer from now on; the worker before it drains and ends. Nothing for an active one.

        Raises:
            RuntimeLoadError: The candidate has died.
            StorageError: The run folder cannot be written; the worker before it stays active.
        """
        self._roster.promote(handle)

    def discard(self, handle: WorkerHandle) -> None:
        """End a worker: a candidate at once; the active one drains, and nobody serves its model any more."""
        self._roster.dismiss(handle)

    def make_room(self, model: str) -> None:
        """End the active worker before there is another; applications wait for the next one until their deadline.

        Raises:
            StorageError: The run folder cannot be written; nothing has changed.
        """
        self._roster.make_room(model)

    def withdraw(self, model: str) -> None:
        """Serve a model no more; its active worker, if it has one, drains."""
        self._roster.withdraw(model)

    def active(self, model: str) -> WorkerHandle | None:
        """The worker that serves a model; while it is being restarted, the one that died."""
        return self._roster.handle_of(model)

    def take_windows(self) -> list[WorkerWindow]:
        """What every active worker did since the last call, and what those did that have drained since.

        Waits ``window_s`` at most; a worker that is busy for longer tells with a later call. What a worker that
        died had not told is lost, and logged.
        """
        ends = time.monotonic() + self._limits.window_s
        self._roster.ask_windows()
        with self._roster.changed:
            while self._roster.owes_window() and self._roster.changed.wait(max(0.0, ends - time.monotonic())):
                pass
        return self._roster.collect_windows()

    def close(self, timeout_s: float = 10) -> None:
        """End every worker, after its request in hand; those that do not end within ``timeout_s`` are killed."""
        if self._roster.close(timeout_s):
            self._folder.close()


def _wait_for(worker: Worker, timeout_s: float) -> control.FromWorker | Ending | None:
    """What a worker says or how it ends; None when neither comes in time."""
    try:
        return worker.inbox.get(timeout=timeout_s)
    except queue.Empty:
        return None


def _output_of(answer: object) -> list[str]:
    """The last lines that a worker printed, as the details of an error."""
    return answer.output.splitlines()[-10:] if isinstance(answer, Ending) else []
