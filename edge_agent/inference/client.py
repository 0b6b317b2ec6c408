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

import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt

from contract.errors import (
    AgentUnavailableError,
    InferenceError,
    LitefleetError,
    NotFoundError,
    error_of_code,
)
from contract.identifiers import parse_model
from edge_agent.inference import protocol
from edge_agent.inference.connection import Connection, WorkerGoneError
from edge_agent.inference.feed import feed_of
from edge_agent.inference.protocol import ScoredClass

DEFAULT_RUN_DIR = "/run/litefleet"
RUN_DIR_VARIABLE = "LITEFLEET_RUN_DIR"
DEFAULT_DEADLINE_S = 5.0
_FIRST_PAUSE_S = 0.002
_LONGEST_PAUSE_S = 0.05
_GREETING_S = 1.0
"""How long opening a model waits for a worker that is there: one in the middle of a request greets after it."""
_MAX_DEATHS = 3
"""A request that ends its worker this often is not sent again: it may be what ends it."""


@dataclass(frozen=True)
class Inference:
    """An answer.

    Attributes:
        outputs: Output name to its real values, float32; the caller's own copy.
        classes: Best classes first; empty for a model without postprocessing.
        version: Version that answered.
        variant: Variant that answered.
        latency_s: Time in the worker: preprocessing, inference, postprocessing.
    """

    outputs: dict[str, npt.NDArray[np.float32]]
    classes: tuple[ScoredClass, ...]
    version: str
    variant: str
    latency_s: float

    @property
    def index(self) -> int | None:
        """Of the best class."""
        return self.classes[0].index if self.classes else None

    @property
    def label(self) -> str | None:
        """Of the best class; None for a model without labels."""
        return self.classes[0].label or None if self.classes else None

    @property
    def score(self) -> float | None:
        """Of the best class."""
        return self.classes[0].score if self.classes else None


def connect(run_dir: str | Path | None = None) -> Agent:
    """The agent of this device.

    Args:
        run_dir: Its run folder; by default ``$LITEFLEET_RUN_DIR``, else ``/run/litefleet``.
    """
    return Agent(Path(run_dir or os.environ.get(RUN_DIR_VARIABLE) or DEFAULT_RUN_DIR))


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
        self._deadline_s = deadline_s
        self._lock = threading.Lock()
        self._connection: Connection | None = None

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
                self._connect(time.monotonic() + wait_s, least_s=_GREETING_S)

    def infer(
        self, what: npt.ArrayLike | Mapping[str, npt.ArrayLike], *, deadline_s: float | None = None
    ) -> Inference:
        """Ask.

        Args:
            what: The model's input tensor in its own shape and dtype; or an image (H, W), (H, W, 1) or (H, W, 3)
                uint8, 0-255, gray or RGB, which the worker brings to the model's size and range; or a mapping from
                input name to tensor for models with several.
            deadline_s: How long it may take, retries included.

        Raises:
            InputError: It is not what the model takes; the text says what that is.
            InferenceError: The runtime failed, or the model gave NaN.
            DeadlineError: No answer in time.
            AgentUnavailableError: The agent does not run, or its worker did not come back in time.
            NotFoundError: The model is not deployed any more.
        """
        ends = time.monotonic() + (self._deadline_s if deadline_s is None else deadline_s)
        with self._lock:
            for _ in range(_MAX_DEATHS):
                answer = self._try(what, ends)
                if answer is not None:
                    return answer
        raise InferenceError(f"the worker of {self.name} ended {_MAX_DEATHS} times on this request")

    def _try(self, what: npt.ArrayLike | Mapping[str, npt.ArrayLike], ends: float) -> Inference | None:
        """Ask once; None when the worker went away with the request."""
        try:
            return self._ask(what, ends)
        except WorkerGoneError:
            self._disconnect()
            return None
        finally:
            if self._connection is not None and self._connection.is_waiting:
                self._disconnect()  # its answer, should it still come, belongs to nobody

    def _ask(self, what: npt.ArrayLike | Mapping[str, npt.ArrayLike], ends: float) -> Inference:
        connection = self._connection or self._connect(ends)
        feed = feed_of(what, connection.welcome)
        if connection.room_bytes < feed.image_bytes:
            if connection.room_bytes >= 0:
                self._disconnect()
                connection = self._connect(ends)
            connection.attach(feed.image_bytes)
        answer = connection.ask(feed, ends - time.monotonic())
        if answer.is_draining:
            self._disconnect()
        if isinstance(answer, protocol.Failure):
            raise error_of_code(answer.code, answer.message, remedy=answer.remedy)
        return Inference(
            outputs=connection.read_outputs(),
            classes=answer.classes,
            version=connection.welcome.version,
            variant=connection.welcome.variant,
            latency_s=answer.latency_s,
        )

    def _connect(self, ends: float, least_s: float = 0.0) -> Connection:
        """Connect to the active worker, trying until a monotonic time, at least once and for ``least_s``."""
        path = self._run_dir / protocol.socket_name(self.name)
        pause_s = _FIRST_PAUSE_S
        while True:
            left_s = ends - time.monotonic()
            try:
                self._connection = Connection(path, max(left_s, least_s))
            except WorkerGoneError as error:
                if left_s <= 0:
                    raise self._explain(error) from error
            else:
                return self._connection
            time.sleep(min(pause_s, max(0.0, left_s)))
            pause_s = min(pause_s * 1.5, _LONGEST_PAUSE_S)

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _explain(self, error: WorkerGoneError) -> LitefleetError:
        """Why no worker could be reached, for who has to do something about it."""
        if not _is_agent_alive(self._run_dir):
            return AgentUnavailableError(
                f"no litefleet agent runs in {self._run_dir}",
                remedy=f"start litefleet-agent, or set {RUN_DIR_VARIABLE} to its run_dir",
            )
        if not os.path.lexists(self._run_dir / protocol.socket_name(self.name)):
            return NotFoundError(
                f"model {self.name!r} is not deployed on this device",
                remedy="roll it out to this device, or wait for it with wait_s",
            )
        return AgentUnavailableError(
            f"the worker of {self.name} cannot be reached: {error}", remedy="try again"
        )


def _is_agent_alive(run_dir: Path) -> bool:
    """Whether the process that the run folder names is there; good enough for an error text."""
    try:
        text = (run_dir / protocol.PID_FILE).read_text(encoding="ascii")
        return Path(f"/proc/{int(text)}").exists()
    except (OSError, ValueError):
        return False
