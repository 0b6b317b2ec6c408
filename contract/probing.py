"""What a device found out about its runtimes and delegates by trying them.

PURE. Rules:

1. A cause is a stable code: pages, alerts and remedies hang on it. The text beside it is for people.
2. What was not tried did not survive.
"""

from __future__ import annotations

import enum
from typing import Annotated

import msgspec

from contract.scalars import Count, Text


class Cause(str, enum.Enum):
    """Why a runtime or delegate cannot be used."""

    LIBRARY_MISSING = "library-missing"
    WRONG_LIBRARY = "wrong-library"
    NO_DEVICE = "no-device"
    NO_PERMISSION = "no-permission"
    RUNTIME_TOO_OLD = "runtime-too-old"
    ABI_CRASH = "abi-crash"
    WRONG_ANSWER = "wrong-answer"
    HANG = "hang"
    REFUSED = "refused"


_MaybeName = Annotated[str, msgspec.Meta(max_length=64)]


class Verdict(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of one runtime, or of one delegate on a runtime.

    Attributes:
        runtime: Distribution, for example ``ai-edge-litert``.
        version: Its version; empty when it is not installed.
        delegate: Delegate tried on it; empty for the runtime itself.
        cause: Why it cannot be used; None when it can.
        detail: What was seen, for people.
        remedy: What to do about it; empty when it can be used.
        nodes_total: Nodes of the probe's model.
        nodes_delegated: How many of them the delegate took.
    """

    runtime: _MaybeName
    version: _MaybeName = ""
    delegate: _MaybeName = ""
    cause: Cause | None = None
    detail: Text = ""
    remedy: Text = ""
    nodes_total: Count = 0
    nodes_delegated: Count = 0

    @property
    def is_usable(self) -> bool:
        """Whether it survived."""
        return self.cause is None
