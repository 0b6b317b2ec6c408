"""What a probe is asked, what it says on its way, and what became of it.

PURE. Rules:

1. The child gets one ``ProbeJob`` as JSON in its arguments. It writes JSON lines into a pipe of its own: a ``Stage``
   before each stage, then one ``Passed`` or ``Failed``, at last ``Loaded``. What it prints elsewhere is quoted, never
   parsed.
2. How far it came is the last stage it named, whatever ended it.
"""

from __future__ import annotations

import contextlib
import enum

import msgspec

from edge_agent.inference.engine import ExternalDelegate

LINE_MAX_BYTES = 16 * 1024
TEXT_MAX_CHARS = 1000


class At(str, enum.Enum):
    """Stages of a probe, as people read them: "while ..."."""

    STARTING = "starting"
    IMPORTING = "importing the runtime"
    LOADING = "loading the delegate"
    BUILDING = "building the interpreter"
    RUNNING = "running the model"
    COMPARING = "comparing the answer"


class ProbeJob(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be proved.

    Attributes:
        runtime: Distribution.
        delegate: Tried on it; None for what the runtime brings along.
        has_xnnpack: Whether the runtime may use its XNNPACK.
        limit_s: When the child ends itself, should nobody else end it.
    """

    runtime: str
    delegate: ExternalDelegate | None = None
    has_xnnpack: bool = True
    limit_s: float = 60.0


class Stage(msgspec.Struct, frozen=True, kw_only=True, tag_field="line", tag="stage"):
    """What comes now."""

    at: At


class Passed(msgspec.Struct, frozen=True, kw_only=True, tag_field="line", tag="passed"):
    """It answered as expected: largest difference, and what was delegated."""

    worst_abs_error: float
    nodes_total: int
    nodes_delegated: int


class Failed(msgspec.Struct, frozen=True, kw_only=True, tag_field="line", tag="failed"):
    """What was raised: name of the exception's class, and its text. ``WrongAnswer`` is ours."""

    error: str
    text: str


class Loaded(msgspec.Struct, frozen=True, kw_only=True, tag_field="line", tag="loaded"):
    """The shared libraries that took part, by path."""

    libraries: tuple[str, ...]


Line = Stage | Passed | Failed | Loaded

WRONG_ANSWER = "WrongAnswer"


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a probe.

    Attributes:
        at: How far it came.
        passed: What it said when it passed.
        failed: What it said when it failed.
        signal: Name of the signal that ended it; empty for none.
        exit_code: When it exited without an answer.
        is_late: It was ended because it took longer than ``limit_s``.
        limit_s: How long it had.
        output: The end of what it and its libraries printed.
        libraries: Paths of what it had loaded when it had answered.
    """

    at: At
    passed: Passed | None = None
    failed: Failed | None = None
    signal: str = ""
    exit_code: int | None = None
    is_late: bool = False
    limit_s: float = 0.0
    output: str = ""
    libraries: tuple[str, ...] = ()


_JOB = msgspec.json.Decoder(ProbeJob)
_LINE: msgspec.json.Decoder[Line] = msgspec.json.Decoder(Stage | Passed | Failed | Loaded)


def encode_probe(message: ProbeJob | Line) -> bytes:
    """A job or line as JSON, without a newline."""
    return msgspec.json.encode(message)


def parse_job(text: str) -> ProbeJob:
    """Read a job that this agent wrote."""
    return _JOB.decode(text)


def read_lines(content: bytes) -> list[Line]:
    """Every line up to the first that cannot be understood: a crash may have cut it off."""
    found: list[Line] = []
    with contextlib.suppress(msgspec.DecodeError):
        for line in content.splitlines():
            found.append(_LINE.decode(line))  # noqa: PERF401 - what was read before the damaged line counts
    return found
