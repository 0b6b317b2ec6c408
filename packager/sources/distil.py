"""The one line of a converter's long log that says what went wrong.

PURE. Rules:

1. Chosen is the last line that names an error, without colours, progress bars and time stamps; else the last line.
2. Bounded, whatever the log holds.
"""

from __future__ import annotations

import re

_LINE_MAX_CHARS = 300
_TAIL_CHARS = 64 * 1024
_COLOUR = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_STAMP = re.compile(
    r"^(\(?\d\d:\d\d(:\d\d)?\)?|[EWIF]\d{4} [\d:.]+|\d{4}-\d\d-\d\d[ T][\d:.,]+)\s*\S*:?\d*\]?\s*"
)
_ERROR = re.compile(
    r"(\w*(Error|Exception)\b\s*:|\berror\s*:|\bERROR\b|\bFatal\b|not supported|unsupported)", re.IGNORECASE
)


def distil(log: str) -> str:
    """The line that matters; empty when the log is."""
    text = _COLOUR.sub("", log[-_TAIL_CHARS:])
    # A carriage return starts a progress bar over; what counts is its last state.
    lines = [line.rpartition("\r")[2] for line in text.replace("\r\n", "\n").split("\n")]
    lines = [" ".join(_STAMP.sub("", line.strip()).split()) for line in lines]
    lines = [line for line in lines if any(sign.isalnum() for sign in line)]
    telling = [line for line in lines if _ERROR.search(line)]
    chosen = telling[-1:] or lines[-1:]
    return chosen[0][:_LINE_MAX_CHARS] if chosen else ""
