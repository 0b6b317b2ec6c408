"""What a worker process does: one model version on one interpreter; ``worker`` is the way in.

Guarantees: one thread owns the interpreter, so requests are served one after the other; the end of the control
channel ends the process, so it never outlives the agent; expected failures are told before it ends. A native crash
ends this process and nothing else.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import time
from collections.abc import Callable
from pathlib import Path

from contract.errors import LitefleetError, ManifestError, RuntimeLoadError, StorageError
from edge_agent.inference import control
from edge_agent.inference.clients import MAX_CLIENTS, Clients
from edge_agent.inference.counts import Counts
from edge_agent.inference.delegates import plan_attempts
from edge_agent.inference.gentle import run_gently
from edge_agent.inference.memory import proportional_bytes, release_free_memory
from edge_agent.inference.model import LoadedModel
from edge_agent.inference.notice import LOOKS
from edge_agent.inference.patience import Patience, worth_awake_s
from edge_agent.inference.rehearsal import rehearse
from edge_agent.inference.runtime import Runtime, find_runtime
from edge_agent.inference.slot import Slot, load_slot
from edge_agent.inference.timing import time_runs

_NAME_MAX_BYTES = 15
_SOCKET_UMASK = 0o117
"""Owner and group may connect: the run folder's group is who may ask."""


class Worker:
    """The loop that serves a model until the pool says otherwise."""

    def __init__(self, channel: socket.socket, listener: socket.socket, model: LoadedModel) -> None:
        self._channel = channel
        self._listener = listener
        self._model = model
        self._counts = Counts()
        self._poll = select.epoll()
        self._poll.register(channel, select.EPOLLIN)
        self._clients = Clients(model, listener, self._poll, self._counts)
        self._drain_ends: float | None = None
        self._has_ended = False
        self._is_busy = False
        self._patience = Patience(len(os.sched_getaffinity(0)))

    def rehearse(self, path: str) -> None:
        """Go the way of a request once, without counting it; nobody else knows the socket yet."""
        rehearse(path, self._clients, self._poll, self._model.warm_s)
        self._counts.forget()

    def run(self) -> None:
        """Serve until the control channel ends, or a drain is over."""
        listener, channel = self._listener.fileno(), self._channel.fileno()
        try:
            while not self._is_over():
                for descriptor, _ in self._wait():
                    if descriptor == channel:
                        self._obey()
                    elif descriptor == listener:
                        self._clients.accept()
                    else:
                        self._clients.serve(descriptor)
        finally:
            self._clients.close()
            self._poll.close()

    def _is_over(self) -> bool:
        if self._drain_ends is not None and (not len(self._clients) or time.monotonic() >= self._drain_ends):
            self._tell(self._counts.take_window())
            return True
        return self._has_ended

    def _wait(self) -> list[tuple[int, int]]:
        """Wait for something to do; awake for a moment where requests follow each other closely.

        Sleeping and waking up costs more than a small model's whole inference. The moment is short, and a client
        that takes its time, as a camera does, costs it once. First comes what has been said, from all clients in turn.
        """
        awake_s = worth_awake_s(self._clients.last_s)
        if self._is_busy and self._patience.try_awake():
            ends, looks, events = time.perf_counter() + awake_s, 0, self._poll.poll(0)
            while not events and time.perf_counter() < ends:
                if self._clients.hear():
                    self._patience.note(has_come=True)
                    return []
                looks += 1
                if not looks % LOOKS:
                    events = self._poll.poll(0)
            self._patience.note(has_come=bool(events))
            if events:
                return events
        began = time.perf_counter()
        left_s = -1 if self._drain_ends is None else max(0.0, self._drain_ends - time.monotonic())
        events = self._poll.poll(left_s)
        self._is_busy = time.perf_counter() - began < awake_s
        return events

    def _obey(self) -> None:
        try:
            record = self._channel.recv(control.RECORD_MAX_BYTES)
        except ConnectionError:
            record = b""
        if not record:
            self._has_ended = True
            return
        order = control.parse_to_worker(record)
        if isinstance(order, control.TakeWindow):
            self._tell(self._counts.take_window())
        elif isinstance(order, control.SelfTest):
            self._tell(_self_test(self._model))
        elif isinstance(order, control.Measure):
            self._tell(_measure(self._model, order))
        else:
            self._clients.drain()
            self._drain_ends = time.monotonic() + order.grace_s

    def _tell(self, message: control.FromWorker) -> None:
        self._has_ended |= not _send(self._channel, message)


def _self_test(model: LoadedModel) -> control.FromWorker:
    try:
        return control.SelfTested(report=model.self_test())
    except LitefleetError as error:
        return control.failed_of(error)


def _measure(model: LoadedModel, order: control.Measure) -> control.FromWorker:
    try:
        latencies_s = time_runs(model, order.warm_up_runs, order.timed_runs)
    except LitefleetError as error:
        return control.failed_of(error)
    return control.Measured(latencies_s=latencies_s, pss_bytes=proportional_bytes())


def _send(channel: socket.socket, message: control.FromWorker) -> bool:
    """Tell the pool; False when it is gone."""
    try:
        channel.send(control.encode_control(message))
    except ConnectionError:
        return False
    return True


def _load(start: control.Start, runtime: Runtime) -> LoadedModel:
    slot = load_slot(Path(start.slot_dir))
    found, asked = (slot.manifest.model, slot.manifest.version), (start.model, start.version)
    if found != asked:
        raise ManifestError(f"the slot holds {' '.join(found)}, not {' '.join(asked)}")
    if start.is_cheaper:
        slot = slot.on_cheaper()
    try:
        return _open(slot, runtime, start)
    except RuntimeLoadError as error:
        if slot.fallback is None:
            raise
        model = _open(slot.on_fallback(), runtime, start)
        wanted = plan_attempts(slot.variant.delegate, start.engine).requested
        model.graph.note_fallback(wanted, error.summary())
        return model


def _open(slot: Slot, runtime: Runtime, start: control.Start) -> LoadedModel:
    """The slot's variant, with as many threads as serve it best."""
    model = LoadedModel(slot, runtime, start.threads, start.engine)
    if start.tuning is not None:
        from edge_agent.inference.modest import (
            run_modestly,
        )  # nothing of it is needed where nothing is measured
        from edge_agent.inference.tuning import tune

        model.run_seconds = tune(model, start.tuning, clock=time.perf_counter, aside=run_modestly)
    return model


def _listen(path: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    before = os.umask(_SOCKET_UMASK)
    try:
        Path(path).unlink(missing_ok=True)  # of this very worker, before it began again
        listener.bind(path)
        listener.listen(MAX_CLIENTS)
    except OSError as error:
        listener.close()
        raise StorageError(f"cannot listen at {path}: {error}") from error
    finally:
        os.umask(before)
    return listener


def import_runtime_of(start: control.Start) -> None:
    """Import the runtime that it names; what is wrong with that shows in ``serve``."""
    with contextlib.suppress(LitefleetError):
        find_runtime(start.engine.runtime)


def _rename(start: control.Start) -> None:
    """Show model and version where a device's processes are listed (proc(5), comm); a long model name is cut."""
    model = start.model[: max(1, _NAME_MAX_BYTES - 1 - len(start.version))]
    with contextlib.suppress(OSError):
        Path("/proc/self/comm").write_text(f"{model} {start.version}", encoding="ascii")


def serve(
    descriptor: int, start: control.Start, gentle_s: float, first: Callable[[], None] | None = None
) -> int:
    """Serve one model until the pool says otherwise; the exit code.

    Args:
        descriptor: Of the control channel.
        start: What to serve.
        gentle_s: For how long at most it leaves the processor to others until it is ready, seconds; 0 for not at all.
        first: What to do before all else, as gently as the rest.

    Raises:
        NotYetError: It got next to nothing of the processor; nothing has been said, and a new program may begin again.
    """
    channel = socket.socket(fileno=descriptor)
    try:
        return _serve(channel, start, gentle_s, first)
    finally:
        # Left to the system, which closes it last of all: whoever sees that has nothing more to wait for.
        channel.detach()


def _serve(
    channel: socket.socket, start: control.Start, gentle_s: float, first: Callable[[], None] | None
) -> int:
    def prepare() -> tuple[Worker, control.Ready]:
        if first is not None:
            first()
        _rename(start)
        return _prepare(channel, start)

    try:
        # Threads that a runtime makes are as gentle as the one that makes them, and stay so: where it is to have any,
        # this is done as fast as it can be.
        is_gentle = gentle_s and start.threads == 1 and start.tuning is None
        worker, ready = run_gently(prepare, gentle_s) if is_gentle else prepare()
    except LitefleetError as error:
        _send(channel, control.failed_of(error))
        return 1
    if _send(channel, ready):
        worker.run()
    return 0


def _prepare(channel: socket.socket, start: control.Start) -> tuple[Worker, control.Ready]:
    runtime = find_runtime(start.engine.runtime)
    model = _load(start, runtime)
    worker = Worker(channel, _listen(start.socket_path), model)
    worker.rehearse(start.socket_path)
    release_free_memory()
    ready = control.Ready(
        variant=model.welcome.variant,
        digest=model.digest,
        runtime=runtime.name,
        runtime_version=runtime.version,
        delegate=model.graph.delegate,
        threads=model.threads,
        run_seconds=model.run_seconds,
    )
    return worker, ready
