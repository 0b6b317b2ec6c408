"""What the agent's main process and its fetching child say to each other.

PURE. Rules:

1. The child gets one job as one JSON line on standard input. It answers with JSON lines on standard output: any
   number of ``Progress``, then exactly one ``Fetched`` or ``Refused``; nothing follows. No last line: it died.
2. A refusal carries the error's stable code; ``error_of`` turns it back into the error.
3. This module is light on purpose: the main process imports it, and never TUF or an HTTP client.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from contract.compat import Capabilities
from contract.errors import LitefleetError, MessageError, error_of_code

LINE_MAX_BYTES = 1 << 20
"""A refusal names every fault of a manifest, which has at most 1 MiB; a longer line is not one of ours."""

LATEST_S = 253_402_300_799.0
"""The last second of the year 9999: the latest time that Python's datetime can hold."""

MANIFEST_FILE = "manifest.json"
VARIANT_FILE = "variant"
ARTIFACT_FOLDER = "artifacts"


class FetchJob(msgspec.Struct, frozen=True, kw_only=True):
    """Bring one release into a slot.

    Attributes:
        server_url: For example ``http://127.0.0.1:8080``.
        root_path: The pinned TUF root.
        trust_dir: Where TUF metadata and the time floor stay between runs; made when missing.
        model: Model name.
        version: Version wanted.
        profile: The board's profile.
        capabilities: What the board offers.
        slot_dir: Existing folder to fill: ``manifest.json``, ``variant``, ``artifacts/<sha256>``.
        reuse: Folders that may hold an artifact already, as ``<sha256>``; never written to.
        parts_dir: Where half-fetched artifacts are kept as ``<sha256>.part``; empty: ``slot_dir/artifacts``.
        prefers_accuracy: Whether, on a processor, the variant that lost least accuracy is wanted and not the first.
        wants_cheaper: Whether the variant for times of heat or little power is to come too, where there is one.
        time_floor_s: Seconds since 1970 (UTC) that the board knows to have passed; 0 when it knows nothing.
    """

    server_url: str
    root_path: str
    trust_dir: str
    model: str
    version: str
    profile: str
    capabilities: Capabilities
    slot_dir: str
    reuse: tuple[str, ...] = ()
    parts_dir: str = ""
    prefers_accuracy: bool = False
    wants_cheaper: bool = False
    time_floor_s: Annotated[float, msgspec.Meta(ge=0, le=LATEST_S)] = 0.0


class Progress(msgspec.Struct, frozen=True, kw_only=True, tag_field="line", tag="progress"):
    """How far the artifacts are; reused bytes count as done."""

    bytes_done: int
    bytes_total: int


class Fetched(msgspec.Struct, frozen=True, kw_only=True, tag_field="line", tag="fetched"):
    """The slot is complete and on disk.

    Attributes:
        ok: Always true.
        manifest_sha256: Digest of the signed manifest.
        variant: Name of the variant that was chosen.
        bytes_total: Size of the artifacts in the slot.
        bytes_downloaded: What came over the network for them, repeated bytes included.
    """

    manifest_sha256: str
    variant: str
    bytes_total: int
    bytes_downloaded: int
    ok: bool = True


class Refused(msgspec.Struct, frozen=True, kw_only=True, tag_field="line", tag="refused"):
    """Why the slot could not be filled: the error's code, text, faults and remedy. ``ok`` is always false."""

    code: str
    message: str
    faults: tuple[str, ...] = ()
    remedy: str = ""
    ok: bool = False


Line = Progress | Fetched | Refused

_JOB = msgspec.json.Decoder(FetchJob)
_LINE: msgspec.json.Decoder[Line] = msgspec.json.Decoder(Progress | Fetched | Refused)


def serialize_job(job: FetchJob) -> bytes:
    """A job as one line, with its newline."""
    return msgspec.json.encode(job) + b"\n"


def parse_job(line: bytes) -> FetchJob:
    """Read a job.

    Raises:
        MessageError: It is none.
    """
    try:
        return _JOB.decode(line)
    except msgspec.DecodeError as error:
        raise MessageError(f"not a fetch job: {error}") from error


def serialize_line(line: Line) -> bytes:
    """An answer as one line, with its newline."""
    return msgspec.json.encode(line) + b"\n"


def parse_line(line: bytes) -> Line:
    """Read an answer.

    Raises:
        MessageError: It is none.
    """
    try:
        return _LINE.decode(line)
    except msgspec.DecodeError as error:
        raise MessageError(f"not an answer of the fetching process: {error}") from error


def refusal_of(error: LitefleetError) -> Refused:
    """How a failure travels."""
    return Refused(code=error.code, message=str(error), faults=error.faults, remedy=error.remedy)


def error_of(refusal: Refused) -> LitefleetError:
    """The error that a refusal was, of the class that has its code."""
    return error_of_code(refusal.code, refusal.message, faults=refusal.faults, remedy=refusal.remedy)
