"""What an application's SDK and a worker say to each other.

PURE. Rules:

1. A frame is one record of a SOCK_SEQPACKET socket, so it arrives whole or not at all; its first byte is its kind.
   A record longer than ``FRAME_MAX_BYTES``, or one that does not parse, ends the connection.
2. The order is fixed. Worker: Welcome (or a Failure, when it takes no more). Client: Attach, with the descriptor of
   a memfd; one that knows what the Welcome will say need not wait for it. Worker: Attached. Then the client sends one
   Request at a time, and each gets one Result or Failure; the first may be sent before the Attached is there.
   A client whose Attach says so may find the output as the model stores it; the Result says whether it is. Such
   Requests and Results may stand in the area before they are said (``inference.notice``); said they are all.
3. Tensors never travel in frames: they lie in the client's memfd, the *area*, where the Welcome says. All inputs
   come first, then all outputs, each aligned to a cache line; an image or an image file, when one is sent, starts
   after them.
4. A Result or Failure with ``is_draining`` is the last that a client should ask of this worker: connect again.
5. Fixed frames are little-endian structs because they are on the path of every request; the rest is JSON.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from contract.errors import MessageError
from contract.scalars import COUNT_MAX
from contract.tensor import ITEM_BYTES, DType

PROTOCOL = 1
FRAME_MAX_BYTES = 1 << 16
"""64 KiB: a third of the smallest default socket buffer of Linux (net.core.wmem_default, 212,992 bytes)."""
IMAGE_MAX_BYTES = 64 << 20
"""64 MiB: a 21-megapixel RGB image."""
IMAGE_MAX_SIDE = 8192
"""Pixels. Bounds what resizing allocates: its intermediate image is one side of the source by one of the target."""
FILE_PIXELS_MAX = IMAGE_MAX_BYTES // 3
"""Pixels of an image file, whatever size it is decoded at: libjpeg holds all of a progressive one."""
AREA_STEP_BYTES = 1 << 16
"""Room for an image comes in such steps, so that images of about one size share an area."""
ALIGNMENT_BYTES = 64
SPIN_S = 300e-6
"""How long either side stays awake for the other's next word before it sleeps. Sleeping and waking up takes both
together 58 to 84 microseconds on the machine of the benchmarks, and three to five times that on a small board."""
SOCKET_PATH_MAX_BYTES = 107
"""``sun_path`` has 108 bytes, one of them the closing zero (unix(7))."""
WORKER_FOLDER = "w"
PID_FILE = "agent.pid"

_WELCOME, _ATTACH, _ATTACH_FOR_STORED, _ATTACHED, _TENSORS, _IMAGE, _FILE, _RESULT, _STORED, _FAILURE = (
    b"WASaTIBRsF"
)
_REQUEST = struct.Struct("<BxxxIIII")  # kind, sequence, height (of a file: its bytes), width, channels
_ANSWER = struct.Struct("<BBHId")  # kind, is_draining, number of classes, sequence, service time in seconds
_CLASS = struct.Struct("<IfH")  # index, score, bytes of the label that follows
RESULT_FIXED_BYTES = _ANSWER.size
CLASS_FIXED_BYTES = _CLASS.size
NOTICE_WORDS_AT, NOTICE_ASKED_AT, NOTICE_BYTES = 16, 32, ALIGNMENT_BYTES


class AreaTensor(msgspec.Struct, frozen=True, kw_only=True):
    """A tensor's place in the area: name, shape without free dimensions, element type, offset in bytes."""

    name: str
    shape: tuple[int, ...]
    dtype: DType
    offset: int

    def size_bytes(self) -> int:
        """Bytes it takes."""
        return math.prod(self.shape) * ITEM_BYTES[self.dtype]


class StoredOutput(msgspec.Struct, frozen=True, kw_only=True):
    """How a client reads a model's one output where the worker leaves it as it is stored; see ``inference.stored``.

    Attributes:
        dtype: Of the values, one byte each.
        scale: real = (stored - zero_point) * scale.
        zero_point: See ``scale``.
        top_k: How many best classes there are to find; 0 for a model without postprocessing.
        labels: Of the first classes.
        notice_offset: Where in the area the answer itself lies, too; see ``inference.notice``.
    """

    dtype: DType
    scale: float
    zero_point: int
    top_k: int
    labels: tuple[str, ...]
    notice_offset: int = 0


class Welcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker serves, and how the area is laid out.

    Attributes:
        protocol: PROTOCOL.
        model: Model name.
        version: Version.
        variant: Variant.
        inputs: What a client writes.
        outputs: What the worker writes, always float32 real values but where a Result says that they are stored ones.
        takes_images: Whether ``(H, W[, C]) uint8`` images may be sent instead of inputs.
        takes_files: Whether the bytes of an image file may be sent instead; false from workers that cannot.
        tensor_bytes: Where an image starts, and the least size of an area.
        threads: How many work on a request.
        slot_dir: Folder with the model's manifest on this device; empty for what is no model.
        answered: Requests that this worker has answered until now, errors included.
        stored: How to read the output as it is stored; None where it never is.
    """

    protocol: int
    model: str
    version: str
    variant: str
    inputs: tuple[AreaTensor, ...]
    outputs: tuple[AreaTensor, ...]
    takes_images: bool
    tensor_bytes: int
    takes_files: bool = False
    threads: int = 1
    slot_dir: str = ""
    answered: int = 0
    stored: StoredOutput | None = None


class Request(NamedTuple):
    """One inference. The inputs lie in the area; with ``height``, an image of that size, uint8; or a file's bytes."""

    sequence: int
    height: int = 0
    width: int = 0
    channels: int = 0
    file_bytes: int = 0


class ScoredClass(msgspec.Struct, frozen=True):
    """A class with its score; ``label`` is empty when the model has no labels."""

    index: int
    score: float
    label: str


class Result(NamedTuple):
    """Outputs lie in the area; best classes first, none for a model without postprocessing.

    With ``is_stored`` the output lies there as the model stores it, and the classes are still to be found.
    """

    sequence: int
    is_draining: bool
    latency_s: float
    classes: tuple[ScoredClass, ...]
    is_stored: bool = False


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """Why there is no result: an error's code, text and remedy. ``sequence`` 0 means the connection itself."""

    code: str
    message: str
    remedy: str = ""
    sequence: int = 0
    is_draining: bool = False


def may_spin(cores: int, threads: int = 1) -> bool:
    """Whether staying awake helps: not where the other side could not run on all its threads meanwhile."""
    return cores > threads


def socket_name(model: str) -> str:
    """Name of the symlink to the active worker's socket in the run folder."""
    return f"{model}.sock"


def plan_area(
    inputs: Sequence[tuple[str, tuple[int, ...], DType]],
    outputs: Sequence[tuple[str, tuple[int, ...], DType]],
) -> tuple[tuple[AreaTensor, ...], tuple[AreaTensor, ...], int]:
    """Lay tensors out one after the other.

    Returns:
        Places of the inputs, places of the outputs, and the bytes they take together.
    """
    placed: list[AreaTensor] = []
    offset = 0
    for name, shape, dtype in (*inputs, *outputs):
        placed.append(AreaTensor(name=name, shape=shape, dtype=dtype, offset=offset))
        end = offset + placed[-1].size_bytes()
        offset = -(-end // ALIGNMENT_BYTES) * ALIGNMENT_BYTES
    return tuple(placed[: len(inputs)]), tuple(placed[len(inputs) :]), offset


def image_fault(request: Request, room_bytes: int) -> str:
    """Why an image cannot be read; empty when it can.

    Args:
        request: As received.
        room_bytes: Bytes of the area after its tensors.
    """
    _, height, width, channels, _ = request
    if channels not in {1, 3}:
        return f"an image has 1 or 3 channels, not {channels}"
    if not (1 <= height <= IMAGE_MAX_SIDE and 1 <= width <= IMAGE_MAX_SIDE):
        return f"an image of {height} x {width} pixels; each side may have 1 to {IMAGE_MAX_SIDE}"
    if height * width * channels > room_bytes:
        return f"an image of {height * width * channels} bytes in an area with room for {room_bytes}"
    return ""


def file_fault(file_bytes: int, room_bytes: int) -> str:
    """Why an image file cannot be read; empty when it can. See ``image_fault``."""
    if not 1 <= file_bytes <= IMAGE_MAX_BYTES:
        return f"an image file of {file_bytes} bytes; 1 to {IMAGE_MAX_BYTES} are possible"
    if file_bytes > room_bytes:
        return f"an image file of {file_bytes} bytes in an area with room for {room_bytes}"
    return ""


_WELCOME_JSON = msgspec.json.Decoder(Welcome)
_FAILURE_JSON = msgspec.json.Decoder(Failure)


def encode_welcome(welcome: Welcome) -> bytes:
    """Bytes of a Welcome.

    Raises:
        MessageError: The model has more or longer tensor names than one frame holds.
    """
    frame = bytes((_WELCOME,)) + msgspec.json.encode(welcome)
    if len(frame) > FRAME_MAX_BYTES:
        raise MessageError(f"the description of {welcome.model} has {len(frame)} bytes")
    return frame


def check_welcome(welcome: Welcome) -> None:
    """Make sure that a Welcome fits its frame, however many requests it will tell of; raises as ``encode_welcome``."""
    encode_welcome(msgspec.structs.replace(welcome, answered=COUNT_MAX))


def encode_failure(failure: Failure) -> bytes:
    """Bytes of a Failure; texts are cut to 4096 characters."""
    cut = msgspec.structs.replace(failure, message=failure.message[:4096], remedy=failure.remedy[:4096])
    return bytes((_FAILURE,)) + msgspec.json.encode(cut)


def encode_attach(*, takes_stored: bool = False) -> bytes:
    """Bytes of an Attach; the memfd travels beside it.

    Args:
        takes_stored: Whether the client can read an output as it is stored; only for a worker that can leave it so.
    """
    return bytes((_ATTACH_FOR_STORED if takes_stored else _ATTACH,))


def encode_attached() -> bytes:
    """Bytes of an Attached."""
    return bytes((_ATTACHED,))


def encode_request(request: Request) -> bytes:
    """Bytes of a Request."""
    if request.file_bytes:
        return _REQUEST.pack(_FILE, request.sequence, request.file_bytes, 0, 0)
    return _REQUEST.pack(_IMAGE if request.height else _TENSORS, *request[:4])


def encode_request_of_tensors(sequence: int) -> bytes:
    """``encode_request`` of a request whose inputs lie in the area."""
    return _REQUEST.pack(_TENSORS, sequence, 0, 0, 0)


def encode_result(
    sequence: int,
    latency_s: float,
    classes: Sequence[tuple[int, float, bytes]] | None,
    *,
    is_draining: bool,
) -> bytes:
    """Bytes of a Result; labels are UTF-8 already. Without classes the output lies there as it is stored."""
    if classes is None:
        return _ANSWER.pack(_STORED, is_draining, 0, sequence, latency_s)
    frame = _ANSWER.pack(_RESULT, is_draining, len(classes), sequence, latency_s)
    for index, score, label in classes:
        frame += _CLASS.pack(index, score, len(label)) + label
    return frame


def is_attach(frame: bytes | memoryview) -> bool:
    """Whether a frame is an Attach."""
    return len(frame) == 1 and frame[0] in {_ATTACH, _ATTACH_FOR_STORED}


def takes_stored(attach: bytes | memoryview) -> bool:
    """Whether who sent this Attach can read an output as it is stored."""
    return attach[0] == _ATTACH_FOR_STORED


def sequence_of_tensors(frame: bytes | memoryview) -> int:
    """Sequence of a request whose inputs lie in the area; 0 for all else, which ``parse_request`` looks at closely.

    A worker reads nearly nothing else, with caches that inference left cold.
    """
    if len(frame) != _REQUEST.size:
        return 0
    kind, sequence, height, width, channels = _REQUEST.unpack(frame)
    return 0 if kind != _TENSORS or height or width or channels else int(sequence)


def parse_request(frame: bytes | memoryview) -> Request:
    """Read a Request.

    Raises:
        MessageError: It is none.
    """
    if len(frame) != _REQUEST.size:
        raise MessageError(f"a request has {_REQUEST.size} bytes, not {len(frame)}")
    kind, *fields = _REQUEST.unpack(frame)
    if kind == _FILE and fields[1] and not any(fields[2:]):
        return Request(fields[0], file_bytes=fields[1])
    request = Request(*fields)
    if kind not in {_TENSORS, _IMAGE} or (kind == _IMAGE) != bool(request.height):
        raise MessageError(f"frame of kind {kind} where a request must stand")
    return request


def parse_welcome(frame: bytes | memoryview) -> Welcome | Failure:
    """Read a worker's first frame.

    Raises:
        MessageError: It is neither a Welcome of this protocol nor a Failure.
    """
    if frame[:1] == bytes((_FAILURE,)):
        return _parse_failure(frame)
    if frame[:1] != bytes((_WELCOME,)):
        raise MessageError("the worker did not say what it serves")
    try:
        welcome = _WELCOME_JSON.decode(frame[1:])
    except msgspec.DecodeError as error:
        raise MessageError(f"the worker's welcome cannot be read: {error}") from error
    if welcome.protocol != PROTOCOL:
        raise MessageError(
            f"the worker speaks protocol {welcome.protocol}, this SDK {PROTOCOL}",
            remedy="install the same litefleet version in the application and the agent",
        )
    return welcome


def parse_attached(frame: bytes | memoryview) -> Failure | None:
    """Read the answer to an Attach: None when the worker has mapped the area.

    Raises:
        MessageError: It is no such answer.
    """
    if bytes(frame) == encode_attached():
        return None
    if frame[:1] == bytes((_FAILURE,)):
        return _parse_failure(frame)
    raise MessageError("the worker did not answer the area")


def parse_answer(frame: bytes | memoryview) -> Result | Failure:
    """Read the answer to a Request.

    Raises:
        MessageError: It is neither a Result nor a Failure.
    """
    if frame and frame[0] == _FAILURE:
        return _parse_failure(frame)
    try:
        kind, is_draining, count, sequence, latency_s = _ANSWER.unpack_from(frame)
        if kind == _STORED and not count and len(frame) == _ANSWER.size:
            return Result(sequence, bool(is_draining), latency_s, (), is_stored=True)
        if kind != _RESULT:
            raise MessageError(f"frame of kind {kind} where an answer must stand")
        classes: list[ScoredClass] = []
        offset = _ANSWER.size
        for _ in range(count):
            index, score, size = _CLASS.unpack_from(frame, offset)
            offset += _CLASS.size
            label = str(frame[offset : offset + size], "utf-8")
            offset += size
            classes.append(ScoredClass(index, score, label))
    except (struct.error, UnicodeDecodeError) as error:
        raise MessageError(f"the worker's answer cannot be read: {error}") from error
    if offset != len(frame):
        raise MessageError("the worker's answer has another length than it says")
    return Result(sequence, bool(is_draining), latency_s, tuple(classes))


def _parse_failure(frame: bytes | memoryview) -> Failure:
    try:
        return _FAILURE_JSON.decode(frame[1:])
    except msgspec.DecodeError as error:
        raise MessageError(f"the worker's refusal cannot be read: {error}") from error
