"""What the synchronous and the asynchronous SDK decide alike: where the agent is, what an answer is, when to give up.

Guarantees: an error names who has to do something about it. Reads the run folder, and files that it is handed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from contract.errors import (
    AccessError,
    AgentUnavailableError,
    ConfigError,
    InferenceError,
    LitefleetError,
    NotFoundError,
    error_of_code,
)
from edge_agent.inference import protocol
from edge_agent.inference.breaker import left_of_rest_s
from edge_agent.inference.dialogue import Dialogue, WorkerGoneError
from edge_agent.inference.gap import is_gap
from edge_agent.inference.image_files import read_file
from edge_agent.inference.protocol import ScoredClass

DEFAULT_RUN_DIR = "/run/litefleet"
RUN_DIR_VARIABLE = "LITEFLEET_RUN_DIR"
DEFAULT_DEADLINE_S = 5.0
GREETING_S = 1.0
"""How long opening a model waits for a worker that is there: one in the middle of a request greets after it."""
MAX_DEATHS = 3
"""A request that ends its worker this often is not sent again: it may be what ends it."""
_FIRST_PAUSE_S = 0.002
_LONGEST_PAUSE_S = 0.05


What = npt.ArrayLike | Mapping[str, npt.ArrayLike]
"""What may be asked; see ``edge_agent.inference.client.Model.infer``."""


class Inference(msgspec.Struct, frozen=True):
    """An answer.

    Attributes:
        outputs: Output name to its real values, float32; the caller's own copy.
        classes: Best classes first; empty for a model without postprocessing.
        version: Version that answered.
        variant: Variant that answered.
        latency_s: Time in the worker: preprocessing, inference, and postprocessing where the worker does it.
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


def is_path(what: What | os.PathLike[str]) -> bool:
    """Whether an application names a file instead of handing over what to ask."""
    return isinstance(what, (str, os.PathLike))


def load_what(what: What | os.PathLike[str]) -> What:
    """What is asked, read from the disk where it is a path.

    Raises:
        InputError: It cannot be read.
    """
    if type(what) is np.ndarray:
        return what  # asking whether it is an os.PathLike takes longer
    return read_file(Path(what)) if isinstance(what, (str, os.PathLike)) else what


def run_folder(run_dir: str | Path | None) -> Path:
    """The run folder that is meant: the one given, else of ``$LITEFLEET_RUN_DIR``, else ``/run/litefleet``."""
    return Path(run_dir or os.environ.get(RUN_DIR_VARIABLE) or DEFAULT_RUN_DIR)


def pauses_s() -> Iterator[float]:
    """How long to rest before each new attempt to connect."""
    pause_s = _FIRST_PAUSE_S
    while True:
        yield pause_s
        pause_s = min(pause_s * 1.5, _LONGEST_PAUSE_S)


def error_of_failure(failure: protocol.Failure) -> LitefleetError:
    """The error that a worker tells of."""
    return error_of_code(failure.code, failure.message, remedy=failure.remedy)


def inference_of(answer: protocol.Result | protocol.Failure, dialogue: Dialogue) -> Inference:
    """What the caller gets of an answer.

    Raises:
        LitefleetError: The one that the worker tells of.
    """
    if isinstance(answer, protocol.Failure):
        raise error_of_failure(answer)
    return Inference(
        outputs=dialogue.read_outputs(),
        classes=answer.classes,
        version=dialogue.welcome.version,
        variant=dialogue.welcome.variant,
        latency_s=answer.latency_s,
    )


def rehearse(dialogue: Dialogue) -> None:
    """Do with the last answer what will be done with the next: from cold caches that takes three times as long."""
    answer = dialogue.last_answer()
    if answer is not None:
        inference_of(answer, dialogue)


def worker_of(path: str | Path) -> str:
    """Which worker a model's name leads to now; empty when to none. It changes with every switch and restart."""
    try:
        return os.readlink(path)  # noqa: PTH115 - on the path of every asynchronous request
    except OSError:
        return ""


def unreachable(path: Path, error: OSError) -> LitefleetError:
    """Why connecting to a worker's socket failed."""
    if isinstance(error, (ConnectionError, FileNotFoundError)):
        return WorkerGoneError(f"nobody answers at {path}: {error}")
    if isinstance(error, PermissionError):
        return AccessError(
            f"this user may not use {path}", remedy="add it to the group that owns the agent's run_dir"
        )
    # The one left: a path longer than a socket's address.
    return ConfigError(f"{path} is no usable socket path: {error}")


def unavailable(run_dir: Path, name: str, error: WorkerGoneError) -> LitefleetError:
    """Why no worker could be reached, for who has to do something about it."""
    if not is_agent_alive(run_dir):
        return AgentUnavailableError(
            f"no litefleet agent runs in {run_dir}",
            remedy=f"start litefleet-agent, or set {RUN_DIR_VARIABLE} to its run_dir",
        )
    if not os.path.lexists(run_dir / protocol.socket_name(name)):
        return NotFoundError(
            f"model {name!r} is not deployed on this device",
            remedy="roll it out to this device, or wait for it with wait_s",
        )
    if is_gap(worker_of(run_dir / protocol.socket_name(name))):
        return AgentUnavailableError(
            f"{name} is between two versions: the memory of this device holds one of them at a time",
            remedy="try again in a moment, or give the request a longer deadline",
        )
    if error.refusal is not None:
        return error_of_code(error.refusal.code, error.refusal.message, remedy=error.refusal.remedy)
    return AgentUnavailableError(f"the worker of {name} cannot be reached: {error}", remedy="try again")


def check_rest(path: Path, patience_s: float) -> None:
    """Refuse to wait for a model whose worker died so often that it rests for longer than the caller waits.

    Raises:
        AgentUnavailableError: It does, and for how long.
    """
    left_s = left_of_rest_s(worker_of(path), time.monotonic())
    if left_s > max(0.0, patience_s):
        raise AgentUnavailableError(
            f"the worker of {path.stem} died again and again, the agent lets it rest",
            remedy=f"try again in {left_s:.1f} s; the agent's log says what it died of",
        )


def deadly(name: str) -> InferenceError:
    """What a request gets that ended its worker too often."""
    return InferenceError(f"the worker of {name} ended {MAX_DEATHS} times on this request")


def is_agent_alive(run_dir: Path) -> bool:
    """Whether the process that the run folder names is there; good enough for an error text."""
    try:
        text = (run_dir / protocol.PID_FILE).read_text(encoding="ascii")
        return Path(f"/proc/{int(text)}").exists()
    except (OSError, ValueError):
        return False
