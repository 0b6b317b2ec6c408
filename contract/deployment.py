"""States of a deployment: one device's run of a rollout.

PURE. Rules:

1. ``assigned -> fetching -> staging -> testing -> switching -> trial -> succeeded``; from each of them but the
   ends also ``rolling-back -> failed``.
2. Only ``succeeded`` and ``failed`` are ends; only ``failed`` has a reason, and always has one.
3. Nothing before ``switching`` touches what is running.
"""

from __future__ import annotations

import enum
import itertools
from collections.abc import Mapping
from types import MappingProxyType


class State(str, enum.Enum):
    """Where a deployment is."""

    ASSIGNED = "assigned"
    FETCHING = "fetching"
    STAGING = "staging"
    TESTING = "testing"
    SWITCHING = "switching"
    TRIAL = "trial"
    SUCCEEDED = "succeeded"
    ROLLING_BACK = "rolling-back"
    FAILED = "failed"


class Reason(str, enum.Enum):
    """Why a deployment failed; the codes of ``contract.errors`` and four of its own."""

    REJECTED = "rejected"
    MANIFEST = "manifest"
    SIGNATURE = "signature"
    DIGEST = "digest"
    INCOMPATIBLE = "incompatible"
    ROLLBACK_ATTACK = "rollback-attack"
    MESSAGE = "message"
    NOT_FOUND = "not-found"
    DOWNLOAD = "download"
    STORAGE = "storage"
    DEVICE = "device"
    RUNTIME_LOAD = "runtime-load"
    SELF_TEST = "self-test"
    TRIAL = "trial"
    INTERRUPTED = "interrupted"  # restarted in the middle too often
    SUPERSEDED = "superseded"  # a newer desired document replaced it
    UNKNOWN_STATE = "unknown-state"  # the persisted state could not be understood
    ROLLBACK_FAILED = "rollback-failed"  # the previous version could not be brought back


ENDS: frozenset[State] = frozenset({State.SUCCEEDED, State.FAILED})

_FORWARD = (
    State.ASSIGNED,
    State.FETCHING,
    State.STAGING,
    State.TESTING,
    State.SWITCHING,
    State.TRIAL,
    State.SUCCEEDED,
)

NEXT: Mapping[State, frozenset[State]] = MappingProxyType(
    {
        **{here: frozenset({there, State.ROLLING_BACK}) for here, there in itertools.pairwise(_FORWARD)},
        State.ROLLING_BACK: frozenset({State.FAILED}),
        State.SUCCEEDED: frozenset(),
        State.FAILED: frozenset(),
    }
)
"""Every allowed step."""


def is_allowed(before: State, after: State) -> bool:
    """Whether a deployment may step from one state to the other."""
    return after in NEXT[before]
