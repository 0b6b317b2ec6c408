"""Every message between device and server, and their one encoding.

PURE. Rules:

1. JSON objects with ``v``; zlib when the JSON is over 512 bytes; the first byte tells (``{`` or 0x78).
2. Unknown fields are ignored; unknown enum values, missing fields, another ``v``, and anything larger than its
   limit are MessageError.
3. Names carry units. Times are aware UTC datetimes in RFC 3339.
"""

from __future__ import annotations

import enum
import zlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Literal, TypeVar

import msgspec

from contract.bench import Bench, BenchAck
from contract.compat import Capabilities
from contract.delegation import DelegateReport as DelegateReport  # noqa: PLC0414 - part of the message Reported
from contract.deployment import Reason, State
from contract.errors import MessageError
from contract.heat import HeatReport
from contract.message import WIRE_VERSION as WIRE_VERSION  # noqa: PLC0414 - senders write it
from contract.message import Message as Message  # noqa: PLC0414 - the base of all that stands here
from contract.probing import Verdict
from contract.scalars import COUNT_MAX as COUNT_MAX  # noqa: PLC0414 - senders bound what they count with it
from contract.scalars import (
    Count,
    MaybeDigestStr,
    MaybeModelStr,
    MaybeOpaqueStr,
    MaybeVersionStr,
    ModelStr,
    Name,
    OpaqueStr,
    Seconds,
    Text,
    Utc,
    VersionStr,
    time_faults,
)
from contract.telemetry import SequencedWindow as SequencedWindow  # noqa: PLC0414 - part of the message Telemetry
from contract.telemetry import TelemetryWindow as TelemetryWindow  # noqa: PLC0414 - the same
from contract.telemetry import batch_faults
from contract.topics import Kind

COMPRESS_ABOVE_BYTES = 512
MESSAGE_MAX_BYTES = 1 << 20
"""1 MiB after inflating: a full day's backlog goes out in batches well below."""
DESIRED_MAX_BYTES = 8 * 1024
MAX_MODELS = 32


class DeviceState(Message, frozen=True, kw_only=True):
    """Birth, and as the last will, death: ``up/state``.

    Attributes:
        online: Birth or death.
        session: Grows by one with every connect; a will of an older session is ignored.
        agent_version: Version of the agent.
    """

    v: int
    online: bool
    boot: OpaqueStr
    session: Count
    agent_version: Name
    sent_at: Utc


class DeviceInfo(Message, frozen=True, kw_only=True):
    """What a device is and can: ``up/info``.

    Attributes:
        board: What the board calls itself.
        capabilities: What it offers.
        verdicts: What became of each runtime and delegate when it was tried, best first.
    """

    v: int
    board: Text
    capabilities: Capabilities
    verdicts: Annotated[tuple[Verdict, ...], msgspec.Meta(max_length=32)] = ()


class ReportedModel(Message, frozen=True, kw_only=True):
    """What a device has of one model.

    Attributes:
        version: Active version; empty when none.
        variant: Active variant; empty when none.
        digest: sha256 of the active model file; empty when none.
        delegate: Of the active worker; None when none runs.
        threads: Of its interpreter; 0 when none runs, or the agent does not say.
        deployment: The last deployment this device knows; empty when none.
        state: Its state; None when there is none.
        reason: Its reason, when failed.
        detail: For people.
    """

    version: MaybeVersionStr = ""
    variant: MaybeModelStr = ""
    digest: MaybeDigestStr = ""
    delegate: DelegateReport | None = None
    threads: Count = 0
    deployment: MaybeOpaqueStr = ""
    state: State | None = None
    reason: Reason | None = None
    detail: Text = ""


class Reported(Message, frozen=True, kw_only=True):
    """What a device has: ``up/reported``.

    Attributes:
        revision: The last desired one it took over.
        models: By model name.
        heat: How much it holds back because of heat or power; None when it has not looked yet.
    """

    v: int
    revision: Count
    models: dict[ModelStr, ReportedModel]
    heat: HeatReport | None = None


class DeploymentChange(Message, frozen=True, kw_only=True):
    """One state change of a deployment: ``up/deployment/<id>``.

    Attributes:
        deployment: Its id.
        version: Version it brings.
        step: Grows by one with every change of this deployment.
        before: State left; None for the first.
        after: State entered.
        bytes_done: Bytes fetched so far.
        seconds: Since the deployment began, monotonic.
    """

    v: int
    deployment: OpaqueStr
    model: ModelStr
    version: VersionStr
    step: Count
    before: State | None
    after: State
    bytes_done: Count
    seconds: Seconds
    at: Utc
    reason: Reason | None = None
    detail: Text = ""


class Telemetry(Message, frozen=True, kw_only=True):
    """A batch of windows of one boot: ``up/telemetry``.

    Attributes:
        windows: In ascending order of ``seq``.
    """

    v: int
    boot: OpaqueStr
    windows: tuple[SequencedWindow, ...]


class EventKind(str, enum.Enum):
    """What happened."""

    WORKER_CRASHED = "worker-crashed"
    ROLLED_BACK = "rolled-back"
    REFUSED = "refused"
    TELEMETRY_DROPPED = "telemetry-dropped"
    DELEGATE_FELL_BACK = "delegate-fell-back"
    SOURCE_OVERLOADED = "source-overloaded"
    THROTTLED = "throttled"
    SWAP_GAP = "swap-gap"
    OVERLOADED = "overloaded"


class Event(Message, frozen=True, kw_only=True):
    """Something an operator may want to know at once: ``up/event``.

    Attributes:
        kind: What happened.
    """

    v: int
    kind: EventKind
    at: Utc
    model: MaybeModelStr = ""
    version: MaybeVersionStr = ""
    reason: Reason | None = None
    detail: Text = ""


class ChunkRequest(Message, frozen=True, kw_only=True):
    """Chunks wanted of a transfer over MQTT: ``up/chunk-request``.

    Attributes:
        transfer: Its id.
        chunks: Their numbers.
    """

    v: int
    transfer: OpaqueStr
    chunks: Annotated[tuple[Count, ...], msgspec.Meta(max_length=256)]


class DesiredModel(Message, frozen=True, kw_only=True):
    """What a device is to have of one model.

    Attributes:
        version: Version to run.
        deployment: Id of the deployment that brings it there.
        rollout: The rollout it belongs to; empty for none.
        trial_s: How long the new version is watched before it is kept, seconds.
    """

    version: VersionStr
    deployment: OpaqueStr
    rollout: MaybeOpaqueStr = ""
    trial_s: Annotated[float, msgspec.Meta(ge=0, le=86400)] = 0.0


class Desired(Message, frozen=True, kw_only=True):
    """The full document of what a device is to run: ``dn/desired``.

    Attributes:
        revision: Only grows; a device ignores one that it has taken over.
        models: By model name; what is missing is to be removed.
    """

    v: int
    revision: Count
    models: Annotated[dict[ModelStr, DesiredModel], msgspec.Meta(max_length=MAX_MODELS)]


class Ack(Message, frozen=True, kw_only=True):
    """Everything of a boot up to and including ``seq`` is committed: ``dn/ack``.

    Attributes:
        seq: Of the last window that is in the server's database.
    """

    v: int
    boot: OpaqueStr
    seq: Count


class Control(Message, frozen=True, kw_only=True):
    """Requests that change how a device talks, not what it runs: ``dn/control``.

    Attributes:
        telemetry_interval_s: Length of a telemetry window, seconds; None leaves it as it is.
        log_level: From which level log lines are written; None leaves it as it is.
    """

    v: int
    telemetry_interval_s: Annotated[float, msgspec.Meta(ge=0.1, le=86400)] | None = None
    log_level: Literal["debug", "info", "warning", "error"] | None = None


class ServerState(Message, frozen=True, kw_only=True):
    """The server's birth and last will: ``_server/state``.

    Attributes:
        online: Birth or death.
    """

    v: int
    online: bool
    sent_at: Utc


MESSAGE_OF: Mapping[Kind, type[Message]] = MappingProxyType(
    {
        Kind.STATE: DeviceState,
        Kind.INFO: DeviceInfo,
        Kind.REPORTED: Reported,
        Kind.DEPLOYMENT: DeploymentChange,
        Kind.TELEMETRY: Telemetry,
        Kind.EVENT: Event,
        Kind.BENCH: Bench,
        Kind.CHUNK_REQUEST: ChunkRequest,
        Kind.DESIRED: Desired,
        Kind.ACK: Ack,
        Kind.CONTROL: Control,
        Kind.BENCH_ACK: BenchAck,
        Kind.SERVER_STATE: ServerState,
    }
)
"""What each topic carries; ``dn/chunk`` carries raw bytes and stands for itself."""

_DECODERS: dict[type[Message], msgspec.json.Decoder[Message]] = {
    kind: msgspec.json.Decoder(kind) for kind in MESSAGE_OF.values()
}
_AnyMessage = TypeVar("_AnyMessage", bound=Message)


def encode_message(message: Message) -> bytes:
    """The bytes of a message: the same for equal messages, fields in declared order, mapping keys sorted.

    Raises:
        MessageError: A receiver would refuse it.
    """
    kind = type(message)
    try:
        content = msgspec.json.encode(msgspec.to_builtins(message, str_keys=True, order="deterministic"))
    except UnicodeEncodeError as error:
        raise MessageError(f"{kind.__name__} holds text that is not Unicode: {error}") from error
    _read(kind, content)
    return content if len(content) <= COMPRESS_ABOVE_BYTES else zlib.compress(content, 6)


def decode_message(kind: type[_AnyMessage], payload: bytes) -> _AnyMessage:
    """Read a message of a known kind.

    Raises:
        MessageError: It cannot be understood.
    """
    return _read(kind, _inflate(payload, _limit(kind)) if payload[:1] == b"\x78" else payload)


def _limit(kind: type[Message]) -> int:
    return DESIRED_MAX_BYTES if issubclass(kind, Desired) else MESSAGE_MAX_BYTES


def _read(kind: type[_AnyMessage], content: bytes) -> _AnyMessage:
    if len(content) > _limit(kind):
        raise MessageError(f"{kind.__name__} is larger than {_limit(kind)} bytes")
    try:
        message = _DECODERS[kind].decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MessageError(f"{kind.__name__} cannot be read: {error}") from error
    assert isinstance(message, kind)  # noqa: S101 - the decoder was made for this type
    faults = _faults(message)
    if faults:
        raise MessageError(f"{kind.__name__} is not usable", faults=faults)
    return message


def _inflate(payload: bytes, limit: int) -> bytes:
    inflater = zlib.decompressobj()
    try:
        content = inflater.decompress(payload, limit + 1)
    except zlib.error as error:
        raise MessageError(f"compressed message is damaged: {error}") from error
    if len(content) <= limit and not inflater.eof:
        raise MessageError("compressed message is cut off")
    if inflater.unused_data:
        raise MessageError("compressed message has bytes after its end")
    return content


def _faults(message: Message) -> list[str]:
    version = getattr(message, "v", WIRE_VERSION)
    if version != WIRE_VERSION:
        return [f"v {version} is not {WIRE_VERSION}"]
    match message:
        case DeviceState(sent_at=at) | ServerState(sent_at=at):
            return time_faults(at)
        case DeploymentChange(at=at) | Event(at=at) | Bench(at=at):
            return time_faults(at)
        case Telemetry(windows=windows):
            return batch_faults(windows)
        case _:
            return []
