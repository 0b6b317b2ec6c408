"""The SDK: applications on the device ask the model of their own device.

Guarantees: a request is answered, or fails with an error that says why, within its deadline; a switch to another
version and the restart of a worker cost a request time but never fail it, since asking again is harmless; an answer
is never mixed up with an earlier one. Does not choose versions: it asks whichever is active.

Threads: an ``Agent`` may be shared. A ``Model`` serves one request at a time and locks for that; threads that should
not wait for each other open one each.

Example:
    >>> with connect() as agent, agent.model("digits") as model:  # doctest: +SKIP
    ...     answer = model.infer(image)  # (H, W) or (H, W, 3) uint8, or the model's own float32 tensor
    ...     print(answer.label, answer.score, answer.version)
"""

from __future__ import annotations

import contextlib
import threading
import time
from os import PathLike
from pathlib import Path
from types import TracebackType

from contract.errors import InputError, LitefleetError
from contract.identifiers import parse_model
from edge_agent.inference import protocol
from edge_agent.inference.asking import (
    DEFAULT_DEADLINE_S,
    GREETING_S,
    MAX_DEATHS,
    Inference,
    What,
    check_rest,
    deadly,
    inference_of,
    load_what,
    pauses_s,
    run_folder,
    unavailable,
    worker_of,
)
from edge_agent.inference.connection import Connection, Memory
from edge_agent.inference.dialogue import WorkerGoneError
from edge_agent.inference.feed import Feed


def connect(run_dir: str | Path | None = None) -> Agent:
    """The agent of this device.

    Args:
        run_dir: Its run folder; by default ``$LITEFLEET_RUN_DIR``, else ``/run/litefleet``.
    """
    return Agent(run_folder(run_dir))


class Agent:
    """The agent of this device; opens models. A context manager that closes those it opened."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self._models: list[Model] = []

    def __enter__(self) -> Agent:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for model in self._models:
            model.close()

    def model(self, name: str, *, wait_s: float = 0.0, deadline_s: float = DEFAULT_DEADLINE_S) -> Model:
        """Open a model.

        Args:
            name: Model name.
            wait_s: How long to wait until it is deployed.
            deadline_s: How long its requests may take, unless they say otherwise.

        Raises:
            NotFoundError: The agent runs, and has no such model within ``wait_s``.
            AgentUnavailableError: The agent does not run, or its worker does not answer.
            AccessError: This user may not ask.
            ManifestError: No model can have this name.
        """
        model = Model(self.run_dir, parse_model(name), deadline_s)
        model.wait(wait_s)
        self._models.append(model)
        return model


class Model:
    """A model of this device, whichever version is active. A context manager; see the module on threads."""

    def __init__(self, run_dir: Path, name: str, deadline_s: float) -> None:
        self.name = name
        self._run_dir = run_dir
        self._path = run_dir / protocol.socket_name(name)
        self._deadline_s = deadline_s
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._next: Connection | None = None

    def __enter__(self) -> Model:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let the worker go; the next request would connect again."""
        with self._lock:
            self._disconnect()

    def wait(self, wait_s: float) -> None:
        """Wait until the model can be asked. See ``Agent.model``."""
        with self._lock:
            if self._connection is None:
                self._connect(time.monotonic() + wait_s, least_s=GREETING_S)

    def describe(self, *, deadline_s: float | None = None) -> protocol.Welcome:
        """What the active version takes and gives.

        Raises:
            LitefleetError: As ``infer``.
        """
        ends = time.monotonic() + (self._deadline_s if deadline_s is None else deadline_s)
        with self._lock:
            if self._connection is None or self._connection.worker != worker_of(self._path):
                self._disconnect()
                return self._connect(ends).dialogue.welcome
            return self._connection.dialogue.welcome

    def infer(self, what: What | PathLike[str], *, deadline_s: float | None = None) -> Inference:
        """Ask.

        Args:
            what: The model's input tensor in its own shape and dtype, of which a float32 one may come as float64,
                float16 or lists of Python's numbers, too; or an image (H, W), (H, W, 1) or (H, W, 3) uint8, 0-255,
                gray or RGB, which the worker brings to the model's size and range; or the bytes of a JPEG or PNG
                file, or its path, which the worker decodes as the packager did when it measured the model; or a
                mapping from input name to tensor for models with several.
            deadline_s: How long it may take, retries included.

        Raises:
            InputError: It is not what the model takes; the text says what that is.
            InferenceError: The runtime failed, or the model gave NaN.
            DeadlineError: No answer in time.
            AgentUnavailableError: The agent does not run, or its worker did not come back in time.
            NotFoundError: The model is not deployed any more.
        """
        ends = time.monotonic() + (self._deadline_s if deadline_s is None else deadline_s)
        asked = load_what(what)
        with self._lock:
            for _ in range(MAX_DEATHS):
                answer = self._try(asked, ends)
                if answer is not None:
                    return answer
        raise deadly(self.name)

    def _try(self, what: What, ends: float) -> Inference | None:
        """Ask once; None when the worker went away with the request."""
        try:
            return self._ask(what, ends)
        except WorkerGoneError:
            self._disconnect()
            return None
        finally:
            if self._connection is not None and self._connection.dialogue.is_waiting:
                self._disconnect()  # its answer, should it still come, belongs to nobody

    def _ask(self, what: What, ends: float) -> Inference:
        connection = self._connection or self._connect(ends)
        connection, feed = self._prepare(connection, what, ends)
        if 0 <= connection.dialogue.room_bytes < feed.image_bytes:
            self._disconnect()
            connection = self._connect(ends)
        answer = connection.ask(feed, ends - time.monotonic())
        if answer.is_draining:
            self._connection = None
            self._approach(connection.end())
        return inference_of(answer, connection.dialogue)

    def _prepare(self, connection: Connection, what: What, ends: float) -> tuple[Connection, Feed]:
        """A request as the worker takes it; what a worker of the past refuses, the active one may take."""
        try:
            return connection, connection.dialogue.feed_of(what)
        except InputError:
            if connection.worker == worker_of(self._path):
                raise
            self._disconnect()
            connection = self._connect(ends)
            return connection, connection.dialogue.feed_of(what)

    def _connect(self, ends: float, least_s: float = 0.0) -> Connection:
        """Connect to the active worker, trying until a monotonic time, at least once and for ``least_s``."""
        for pause_s in pauses_s():
            left_s = ends - time.monotonic()
            try:
                self._connection = self._greeted(max(left_s, least_s))
            except WorkerGoneError as error:
                check_rest(self._path, left_s)
                if left_s <= 0:
                    raise unavailable(self._run_dir, self.name, error) from error
            else:
                return self._connection
            time.sleep(min(pause_s, max(0.0, left_s)))
        raise AssertionError("pauses never end")

    def _greeted(self, timeout_s: float) -> Connection:
        """A connection to the active worker, on which it has greeted."""
        connection, self._next = self._next, None
        if connection is None or connection.worker != worker_of(self._path):
            if connection is not None:
                connection.close()
            connection = Connection(self._path, timeout_s)
        try:
            if not connection.greet(timeout_s):
                connection.close()
                connection = Connection(self._path, timeout_s)
                connection.greet(timeout_s)
        except BaseException:
            connection.close()
            raise
        return connection

    def _approach(self, memory: Memory | None) -> None:
        """Connect to the worker that came after one that drains, and share with it what was shared with that one.

        It greets, and takes the memory, while the application does other things.
        """
        # The answer is there: whatever is wrong here, also no descriptor to spare, the next request finds out.
        with contextlib.suppress(LitefleetError, OSError):
            self._next = Connection(self._path, 0.0, memory)

    def _disconnect(self) -> None:
        for connection in (self._connection, self._next):
            if connection is not None:
                connection.close()
        self._connection = self._next = None
