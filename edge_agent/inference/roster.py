"""Every worker of this device, its role, and what happens when one speaks, dies, hangs or is late.

Guarantees: a worker's role changes only here, under one lock; the symlink that applications follow changes together
with the role; each worker that is told to end has a time at which it is killed. Waits for nothing.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from contract.errors import LitefleetError, RuntimeLoadError, StorageError
from edge_agent.inference import control
from edge_agent.inference.breaker import rest_s
from edge_agent.inference.forking import ForkServers
from edge_agent.inference.process import Ending, WorkerProcess
from edge_agent.inference.restarts import restart_pause_s, restarts_in_a_row, spec_of_restart
from edge_agent.inference.roles import Role, Worker
from edge_agent.inference.run_folder import RunFolder
from edge_agent.inference.supervisor import Supervisor
from edge_agent.inference.workers import Crash, PoolLimits, WorkerHandle, WorkerSpec, WorkerWindow

_LOG = logging.getLogger(__name__)


@dataclass(eq=False)
class _Service:
    """A model that is to be served: by whom, and how often that one died in a row."""

    handle: WorkerHandle
    restarts: int = 0
    restart_at: float | None = None


class Roster:
    """Roles of all workers; the policy of a ``Supervisor``.

    Args:
        folder: Run folder.
        on_crash: Told of every active worker that dies; called without the lock.
        limits: How long things may take.
        fork_servers: Who forks workers; closed with this.
        on_restarted: Told when a worker serves in the place of one that died; called without the lock.

    Attributes:
        changed: The lock, notified whenever a worker answered or ended.
    """

    def __init__(
        self,
        folder: RunFolder,
        on_crash: Callable[[Crash], None],
        limits: PoolLimits,
        fork_servers: ForkServers,
        on_restarted: Callable[[], None],
    ) -> None:
        self.changed = threading.Condition()
        self._folder = folder
        self._on_crash = on_crash
        self._on_restarted = on_restarted
        self._limits = limits
        self._fork_servers = fork_servers
        self._keys = itertools.count(1)
        self._workers: dict[int, Worker] = {}
        self._services: dict[str, _Service] = {}
        self._windows: list[WorkerWindow] = []
        self._is_closed = False
        self._supervisor = Supervisor(self)
        self._supervisor.start()

    # What the pool asks for, from any thread.

    def spawn(self, spec: WorkerSpec, role: Role, gentle_s: float = 0.0) -> Worker:
        """Start a worker.

        Args:
            spec: What it is to serve.
            role: What it is there for.
            gentle_s: For how long at most it leaves the processor to those that answer requests, if any do.

        Raises:
            RuntimeLoadError: It cannot be started, or the pool is closed.
        """
        with self.changed:
            if self._is_closed:
                raise RuntimeLoadError(f"worker of {spec} cannot be started, the agent is ending")
            path = self._folder.new_socket_path()
            process = WorkerProcess(
                control.Start(
                    model=spec.model,
                    version=spec.version,
                    slot_dir=str(spec.slot_dir.absolute()),
                    threads=spec.threads,
                    socket_path=str(path),
                    engine=spec.engine,
                    tuning=spec.tuning,
                    is_cheaper=spec.is_cheaper,
                    gentle_s=0.0 if self._is_idle() else gentle_s,
                ),
                server=self._fork_servers.take(),
            )
            worker = Worker(next(self._keys), spec, process, path, role)
            self._workers[worker.key] = worker
        self._supervisor.adopt(worker.key, process)
        return worker

    def _is_idle(self) -> bool:
        return all(worker.role is not Role.ACTIVE for worker in self._workers.values())

    def find(self, handle: WorkerHandle) -> Worker:
        """The worker of a handle.

        Raises:
            RuntimeLoadError: It has ended.
        """
        with self.changed:
            worker = self._workers.get(handle.key)
        if worker is None:
            raise RuntimeLoadError(f"worker {handle.pid} of {handle.spec} has ended")
        return worker

    def handle_of(self, model: str) -> WorkerHandle | None:
        """Who serves a model, or did until it died."""
        with self.changed:
            service = self._services.get(model)
            return None if service is None else service.handle

    def promote(self, handle: WorkerHandle) -> None:
        """Make a candidate the active worker of its model; nothing when it is already.

        Raises:
            RuntimeLoadError: It has ended.
            StorageError: The run folder cannot be written; nothing has changed.
        """
        with self.changed:
            worker = self.find(handle)
            if worker.role is Role.CANDIDATE:
                self._make_active(worker, _Service(handle))

    def make_room(self, model: str) -> None:
        """End the active worker of a model before the next one is there; applications wait for that one.

        Raises:
            StorageError: The run folder cannot be written; nothing has changed.
        """
        with self.changed:
            if model in self._services:
                self._folder.open_gap(model)
                del self._services[model]
                self._retire(model, keep=None)

    def withdraw(self, model: str) -> None:
        """Serve a model no more; its active worker, if it has one, drains."""
        with self.changed:
            self._services.pop(model, None)
            self._folder.unpoint(model)
            self._retire(model, keep=None)
            _LOG.info("%s: served no more", model)

    def dismiss(self, handle: WorkerHandle) -> None:
        """End a worker that was a candidate or active; nothing when it is neither any more."""
        with self.changed:
            service = self._services.get(handle.spec.model)
            if service is not None and service.handle.key == handle.key:
                self.withdraw(handle.spec.model)
            worker = self._workers.get(handle.key)
            if worker is not None and worker.role is Role.CANDIDATE:
                self.end(worker, self._limits.end_s)

    def end(self, worker: Worker, within_s: float) -> None:
        """Tell a worker to end; it is killed when it has not within so many seconds."""
        with self.changed:
            worker.role = Role.DISCARDED
            worker.kill_at = time.monotonic() + within_s
            worker.process.order_end()
        self._supervisor.wake()

    def ask_windows(self) -> None:
        """Ask every active worker for its window, unless it owes one already."""
        with self.changed:
            for worker in self._workers.values():
                if worker.role is Role.ACTIVE and worker.asked_at is None:
                    worker.asked_at = time.monotonic()
                    worker.process.tell(control.TakeWindow())
        self._supervisor.wake()

    def owes_window(self) -> bool:
        """Whether an active worker has not answered yet."""
        with self.changed:
            return any(w.asked_at is not None for w in self._workers.values() if w.role is Role.ACTIVE)

    def collect_windows(self) -> list[WorkerWindow]:
        """All windows that came in since the last time."""
        with self.changed:
            windows, self._windows = self._windows, []
            return windows

    def close(self, within_s: float) -> bool:
        """End all workers and the supervisor; False when that was done before."""
        with self.changed:
            if self._is_closed:
                return False
            self._is_closed = True
            self._services.clear()
            for worker in list(self._workers.values()):
                self.end(worker, within_s)
        self._supervisor.stop(within_s + self._limits.end_s)
        self._fork_servers.close()
        return True

    # What the supervisor reports, on its thread.

    def heard(self, key: int, message: control.FromWorker) -> None:
        """A worker said something."""
        is_back = False
        with self.changed:
            worker = self._workers[key]
            if isinstance(message, control.Window):
                worker.asked_at = None
                self._keep(worker, message)
                self.changed.notify_all()
            elif worker.role is Role.RESTARTING and isinstance(message, control.Ready):
                is_back = self._restarted(worker, message)
            elif worker.role is Role.RESTARTING and isinstance(message, control.Failed):
                worker.last_words = control.error_of(message).summary()
            else:
                worker.inbox.put(message)
        if is_back:
            self._call(self._on_restarted, "on_restarted")

    def ended(self, key: int, ending: Ending) -> None:
        """A worker ended and was reaped."""
        crash: Crash | None = None
        with self.changed:
            worker = self._workers.pop(key)
            worker.socket_path.unlink(missing_ok=True)
            service = self._services.get(worker.spec.model)
            if service is not None and worker.role in {Role.ACTIVE, Role.RESTARTING}:
                crash = self._crashed(worker, service, ending)
            elif worker.role is Role.DRAINING and (ending.signal or ending.exit_code):
                _LOG.warning(
                    "worker of %s %s while it drained; its last counts are lost", worker.spec, ending
                )
            worker.inbox.put(ending)
            self.changed.notify_all()
        if crash is not None:
            self._tell(crash)

    def tick(self, now: float) -> float | None:
        """Kill what is late and restart what is due; seconds until the next."""
        with self.changed:
            for worker in self._workers.values():
                self._check_hang(worker, now)
                if worker.kill_at is not None and now >= worker.kill_at:
                    worker.kill_at = None
                    worker.process.kill()
            for service in self._services.values():
                if service.restart_at is not None and now >= service.restart_at:
                    self._restart(service, now)
            due = [worker.kill_at for worker in self._workers.values() if worker.kill_at is not None]
            silent = [worker.silent_since() for worker in self._workers.values()]
            due += [since + self._limits.hang_s for since in silent if since is not None]
            due += [s.restart_at for s in self._services.values() if s.restart_at is not None]
        return max(0.0, min(due) - now) if due else None

    # Steps of the above; the lock is held.

    def _make_active(self, worker: Worker, service: _Service) -> None:
        model = worker.spec.model
        self._folder.point(model, worker.socket_path)
        worker.role = Role.ACTIVE
        worker.active_since = time.monotonic()
        worker.kill_at = None
        self._services[model] = service
        self._retire(model, keep=worker)
        _LOG.info("%s: worker %d of version %s is active", model, worker.process.pid, worker.spec.version)

    def _retire(self, model: str, keep: Worker | None) -> None:
        """Let every other worker that serves a model, or is about to, finish what it has."""
        for worker in self._workers.values():
            if worker.spec.model != model or worker is keep:
                continue
            if worker.role is Role.RESTARTING:
                self.end(worker, self._limits.end_s)
            if worker.role is not Role.ACTIVE:
                continue
            worker.role = Role.DRAINING
            worker.kill_at = time.monotonic() + self._limits.drain_s + self._limits.end_s
            worker.process.tell(control.Drain(grace_s=self._limits.drain_s))
        self._supervisor.wake()

    def _keep(self, worker: Worker, window: control.Window) -> None:
        assert worker.handle is not None  # noqa: S101 - only workers that were ready are asked
        self._windows.append(
            WorkerWindow(
                model=worker.spec.model,
                version=worker.spec.version,
                variant=worker.handle.variant,
                duration_s=window.duration_s,
                requests=window.requests,
                errors=window.errors,
                latency=window.latency,
                rss_bytes=window.rss_bytes,
                delegate=worker.handle.delegate,
                refused=window.refused,
            )
        )

    def _restarted(self, worker: Worker, ready: control.Ready) -> bool:
        service = self._services[worker.spec.model]
        handle = worker.become_ready(ready)
        try:
            self._make_active(worker, service)
        except StorageError as error:  # dies as the one before it, and comes back with its own pause
            worker.last_words = error.summary()
            worker.process.kill()
            return False
        service.handle = handle
        return True

    def _crashed(self, worker: Worker, service: _Service, ending: Ending) -> Crash:
        now = time.monotonic()
        lived_s = 0.0 if worker.active_since is None else now - worker.active_since
        service.restarts = restarts_in_a_row(service.restarts, lived_s)
        service.restart_at = now + restart_pause_s(service.restarts)
        rests_s = rest_s(service.restarts)
        if rests_s:
            self._rest(worker.spec.model, service.restart_at)
        return Crash(
            model=worker.spec.model,
            version=worker.spec.version,
            signal=ending.signal,
            exit_code=ending.exit_code,
            restarts=service.restarts,
            detail="\n".join(part for part in (worker.last_words, ending.output) if part),
            rests_s=rests_s,
        )

    def _rest(self, model: str, until_s: float) -> None:
        try:
            self._folder.rest(model, until_s)
        except StorageError as error:  # applications wait until their deadline, as before
            _LOG.warning("%s rests, which applications cannot be told: %s", model, error.summary())

    def _tell(self, crash: Crash) -> None:
        _LOG.warning(
            "%s %s: worker died (%s), its last counts are lost, restart %d",
            crash.model,
            crash.version,
            crash.signal or f"exit code {crash.exit_code}",
            crash.restarts,
        )
        self._call(lambda: self._on_crash(crash), "on_crash")

    @staticmethod
    def _call(hook: Callable[[], None], name: str) -> None:
        try:
            hook()
        except Exception:  # noqa: BLE001 - whatever is wrong there must not end the thread that keeps workers alive
            _LOG.exception("%s failed", name)

    def _restart(self, service: _Service, now: float) -> None:
        service.restart_at = None
        try:
            worker = self.spawn(spec_of_restart(service.handle.spec, service.restarts), Role.RESTARTING)
        except LitefleetError as error:
            service.restarts += 1
            service.restart_at = now + restart_pause_s(service.restarts)
            _LOG.warning("%s: restart failed: %s", service.handle.spec, error.summary())
            return
        worker.kill_at = now + self._limits.ready_s

    def _check_hang(self, worker: Worker, now: float) -> None:
        since = worker.silent_since()
        if since is not None and now - since >= self._limits.hang_s:
            worker.last_words = f"did not answer for {now - since:.0f} s"
            worker.process.kill()
