"""What the pool in the main process and a worker say to each other, and what the pool tells the rest of the agent.

PURE. Rules:

1. A worker gets its ``Start`` as its one argument, and everything else as one JSON record at a time over a
   SOCK_SEQPACKET pair. The end of that pair is the order to end.
2. A worker says first ``Ready`` or ``Failed``. ``TakeWindow`` is answered by ``Window``, ``SelfTest`` by
   ``SelfTested`` or ``Failed``, ``Measure`` by ``Measured`` or ``Failed``; ``Drain`` by a last ``Window`` just before
   the worker ends.
3. The fork server tells of a worker by one ``BIRTH`` and one ``END``.
4. This module imports no numpy: the main process imports it.
"""

from __future__ import annotations

import struct
from typing import TypeVar

import msgspec

from contract.delegation import DelegateReport
from contract.errors import LitefleetError, MessageError, RuntimeLoadError, error_of_code
from contract.histogram import LatencyHistogram
from edge_agent.inference.engine import UNPROVED, Engine
from edge_agent.inference.threads import Tuning

RECORD_MAX_BYTES = 1 << 16
MAX_FAULTS = 20
_FAULT_MAX_CHARS = 300
BIRTH = struct.Struct("<I")
"""First record of the fork server about a worker: its process id; its pidfd travels beside it."""
END = struct.Struct("<i")
"""Last record about it: exit code, or a signal's number below 0, as ``subprocess`` has it."""


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker is to serve.

    Attributes:
        model: Model name.
        version: Version.
        slot_dir: Folder with ``manifest.json``, ``variant`` and ``artifacts/<sha256>``.
        threads: Threads of the interpreter, unless another number measures better.
        socket_path: Where applications reach it.
        engine: The runtime and delegates it may use.
        tuning: What to measure before it is ready; None for nothing.
        is_cheaper: Whether to run the slot's cheaper variant.
        gentle_s: For how long at most it leaves the processor to others until it is ready, seconds; 0 for not at all.
    """

    model: str
    version: str
    slot_dir: str
    threads: int
    socket_path: str
    engine: Engine = UNPROVED
    tuning: Tuning | None = None
    is_cheaper: bool = False
    gentle_s: float = 0.0


class SelfTest(msgspec.Struct, frozen=True, tag="self-test"):
    """Run the golden inputs."""


class TakeWindow(msgspec.Struct, frozen=True, tag="take-window"):
    """Tell what was counted since the last time, and begin again."""


class Drain(msgspec.Struct, frozen=True, tag="drain"):
    """Take no new clients, answer the others for at most ``grace_s`` seconds, then end."""

    grace_s: float


class Measure(msgspec.Struct, frozen=True, kw_only=True, tag="measure"):
    """Answer golden inputs ``warm_up_runs`` times, then ``timed_runs`` times by the clock."""

    warm_up_runs: int
    timed_runs: int


class SelfTestReport(msgspec.Struct, frozen=True, kw_only=True):
    """A self-test that was passed.

    Attributes:
        samples: How many golden inputs ran.
        worst_abs_error: Largest difference of an output element from the expected one.
        max_abs_error: The largest that was allowed.
        top1_agreement: Share of samples, 0 to 1, whose best class was the expected one.
        duration_s: How long it took.
    """

    samples: int
    worst_abs_error: float
    max_abs_error: float
    top1_agreement: float
    duration_s: float


class Ready(msgspec.Struct, frozen=True, kw_only=True, tag="ready"):
    """The worker has loaded and warmed up its model and listens.

    Attributes:
        variant: Variant it runs.
        digest: sha256 of the model file, checked.
        runtime: Distribution that runs it.
        runtime_version: Its version; empty when it does not say.
        delegate: Asked for and got.
        threads: Of its interpreter.
        run_seconds: Number of threads to the time of one run, as it was measured; None when nothing was to be.
    """

    variant: str
    digest: str
    runtime: str
    runtime_version: str
    delegate: DelegateReport
    threads: int
    run_seconds: dict[int, float] | None = None


class Failed(msgspec.Struct, frozen=True, kw_only=True, tag="failed"):
    """Why the worker is not ready, or a self-test was not passed; an error's parts."""

    code: str
    message: str
    faults: tuple[str, ...] = ()
    remedy: str = ""


class SelfTested(msgspec.Struct, frozen=True, kw_only=True, tag="self-tested"):
    """The self-test was passed."""

    report: SelfTestReport


class Measured(msgspec.Struct, frozen=True, kw_only=True, tag="measured"):
    """The runs were done: seconds of each in order, and the process's proportional memory (PSS) after them."""

    latencies_s: tuple[float, ...]
    pss_bytes: int


class Window(msgspec.Struct, frozen=True, kw_only=True, tag="window"):
    """What a worker did since it last told: see ``contract.messages.TelemetryWindow``.

    Attributes:
        refused: Attempts to connect beyond as many clients as are taken.
    """

    duration_s: float
    requests: int
    errors: int
    latency: LatencyHistogram
    rss_bytes: int
    refused: int = 0


ToWorker = SelfTest | Measure | TakeWindow | Drain
FromWorker = Ready | Failed | SelfTested | Measured | Window

_Decoded = TypeVar("_Decoded")
_START = msgspec.json.Decoder(Start)
_TO_WORKER: msgspec.json.Decoder[ToWorker] = msgspec.json.Decoder(ToWorker)
_FROM_WORKER: msgspec.json.Decoder[FromWorker] = msgspec.json.Decoder(FromWorker)


def encode_control(message: Start | ToWorker | FromWorker) -> bytes:
    """Bytes of a record."""
    return msgspec.json.encode(message)


def parse_start(order: str | bytes) -> Start:
    """Read a worker's argument, or an order to the fork server.

    Raises:
        MessageError: It is no Start.
    """
    return _decode(_START, order.encode() if isinstance(order, str) else order)


def parse_to_worker(record: bytes) -> ToWorker:
    """Read what the pool says.

    Raises:
        MessageError: It cannot be understood.
    """
    return _decode(_TO_WORKER, record)


def parse_from_worker(record: bytes) -> FromWorker:
    """Read what a worker says.

    Raises:
        MessageError: It cannot be understood.
    """
    return _decode(_FROM_WORKER, record)


def _decode(decoder: msgspec.json.Decoder[_Decoded], record: bytes) -> _Decoded:
    try:
        return decoder.decode(record)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MessageError(f"control record cannot be read: {error}") from error


def failed_of(error: LitefleetError) -> Failed:
    """How a worker's failure travels; at most MAX_FAULTS faults, so that it fits a record."""
    faults = tuple(fault[:_FAULT_MAX_CHARS] for fault in error.faults[:MAX_FAULTS])
    if len(error.faults) > MAX_FAULTS:
        faults += (f"and {len(error.faults) - MAX_FAULTS} more",)
    return Failed(code=error.code, message=str(error)[:2000], faults=faults, remedy=error.remedy[:1000])


def error_of(failed: Failed) -> LitefleetError:
    """The error that a worker's failure was; a worker that fails in a way no class has could not be loaded."""
    error = error_of_code(failed.code, failed.message, faults=failed.faults, remedy=failed.remedy)
    if error.code != failed.code:
        return RuntimeLoadError(failed.message, faults=failed.faults, remedy=failed.remedy)
    return error
