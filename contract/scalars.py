"""The plain values that messages are made of, each with its bounds.

PURE. Rules:

1. What does not match is refused while decoding, so that no name from outside is ever seen before it was checked;
   the forms are those of ``contract.identifiers``.
2. Every number and text has a limit, and none is beyond what a database column or another language keeps.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

import msgspec

from contract.identifiers import (
    DIGEST_PATTERN,
    MODEL_PATTERN,
    OPAQUE_PATTERN,
    VERSION_MAX_CHARS,
    VERSION_PATTERN,
)

COUNT_MAX = 2**53 - 1
"""Largest integer that every JSON reader keeps exactly (RFC 7493, clause 2.2); fits a database column too."""
SECONDS_MAX = 100 * 366 * 86_400
"""A century: far above any duration here, low enough that adding it to a time cannot overflow."""
TEXT_MAX_CHARS = 2048
_YEARS = range(1970, 9000)  # room on both sides for time zones and durations; clock-poor boards say 1970


def _whole(pattern: str, *, or_empty: bool = False) -> str:
    # msgspec searches instead of matching, and $ would let a line break through.
    return rf"^(?:{pattern}){'?' if or_empty else ''}\Z"


Count = Annotated[int, msgspec.Meta(ge=0, le=COUNT_MAX)]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=SECONDS_MAX)]
Utc = Annotated[datetime, msgspec.Meta(tz=True)]
"""Aware; that it is UTC and of a usable year says ``time_faults``."""
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Text = Annotated[str, msgspec.Meta(max_length=TEXT_MAX_CHARS)]
"""For people; never parsed."""
ModelStr = Annotated[str, msgspec.Meta(pattern=_whole(MODEL_PATTERN))]
VersionStr = Annotated[str, msgspec.Meta(pattern=_whole(VERSION_PATTERN), max_length=VERSION_MAX_CHARS)]
OpaqueStr = Annotated[str, msgspec.Meta(pattern=_whole(OPAQUE_PATTERN))]
DigestStr = Annotated[str, msgspec.Meta(pattern=_whole(DIGEST_PATTERN))]
MaybeModelStr = Annotated[str, msgspec.Meta(pattern=_whole(MODEL_PATTERN, or_empty=True))]
MaybeVersionStr = Annotated[
    str, msgspec.Meta(pattern=_whole(VERSION_PATTERN, or_empty=True), max_length=VERSION_MAX_CHARS)
]
MaybeOpaqueStr = Annotated[str, msgspec.Meta(pattern=_whole(OPAQUE_PATTERN, or_empty=True))]
MaybeDigestStr = Annotated[str, msgspec.Meta(pattern=_whole(DIGEST_PATTERN, or_empty=True))]


def time_faults(at: datetime) -> list[str]:
    """List what makes an aware time unusable: not UTC, or so far off that arithmetic with it could overflow."""
    if at.utcoffset() != timedelta(0):
        return [f"time {at.isoformat()} is not UTC"]
    if at.year not in _YEARS:
        return [f"time {at.isoformat()} is not within {_YEARS.start} to {_YEARS.stop - 1}"]
    return []
