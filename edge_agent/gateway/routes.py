"""Paths of the Open Inference Protocol, and which status an error has.

PURE. Rules:

1. A path is taken as it stands: what is percent-encoded names no model here, since a model's name needs none.
2. Extensions that existing clients ask for and that are not supported are answered as such, not as unknown paths.
"""

from __future__ import annotations

import enum
from typing import NamedTuple

from contract.errors import (
    AgentUnavailableError,
    DeadlineError,
    DeviceError,
    InputError,
    LitefleetError,
    ManifestError,
    NotFoundError,
    OverloadError,
    RejectedError,
    TooLargeError,
)


class Kind(enum.Enum):
    """What is asked."""

    LIVE = "live"
    READY = "ready"
    SERVER = "server"
    STATISTICS = "statistics"
    MODEL = "model"
    MODEL_READY = "model-ready"
    MODEL_STATISTICS = "model-statistics"
    INFER = "infer"


class Route(NamedTuple):
    """What is asked of which model; ``model`` and ``version`` are empty where the path names none."""

    kind: Kind
    model: str = ""
    version: str = ""


class HttpError(RejectedError):
    """A request that HTTP has a status of its own for.

    Attributes:
        status: That status.
    """

    def __init__(self, status: int, message: str, *, remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.status = status


_FIXED = {
    ("v2",): Kind.SERVER,
    ("v2", "health", "live"): Kind.LIVE,
    ("v2", "health", "ready"): Kind.READY,
    ("v2", "models", "stats"): Kind.STATISTICS,
}
_OF_MODEL = {
    (): Kind.MODEL,
    ("ready",): Kind.MODEL_READY,
    ("stats",): Kind.MODEL_STATISTICS,
    ("infer",): Kind.INFER,
}
_UNSUPPORTED = {
    "systemsharedmemory": "shared memory is not supported: send tensors in the body, or use the Python SDK",
    "cudasharedmemory": "shared memory is not supported: send tensors in the body, or use the Python SDK",
    "repository": "models are rolled out by the litefleet server, and not loaded through the gateway",
    "trace": "tracing is not supported",
    "logging": "the log is the agent's",
    "config": "a model's configuration is in its manifest; ask for its metadata",
    "generate": "generating text is not supported",
    "generate_stream": "generating text is not supported",
}
_STATUSES: tuple[tuple[type[LitefleetError], int], ...] = (
    (NotFoundError, 404),
    (TooLargeError, 413),
    (InputError, 400),
    (OverloadError, 503),
    (AgentUnavailableError, 503),
    (DeadlineError, 504),
    (DeviceError, 500),
    (RejectedError, 500),
)
RETRY_AFTER_S = {503: 1}
"""Status to the seconds after which trying again makes sense."""


def parse_route(method: str, target: str) -> Route:
    """What a request line asks for.

    Raises:
        NotFoundError: Nothing is there.
        HttpError: The method is another (405), or the extension is not supported (501).
    """
    parts = tuple(target.partition("?")[0].strip("/").split("/"))
    route = _route(parts)
    if route is None:
        for part in parts[1:]:
            if parts[0] == "v2" and part in _UNSUPPORTED:
                raise HttpError(501, _UNSUPPORTED[part])
        raise NotFoundError("nothing is at this path", remedy="see /v2, /v2/health/ready, /v2/models/MODEL")
    wanted = "POST" if route.kind is Kind.INFER else "GET"
    if method != wanted:
        raise HttpError(405, f"this path takes {wanted}, not {method[:20]}")
    return route


def _route(parts: tuple[str, ...]) -> Route | None:
    if parts in _FIXED:
        return Route(_FIXED[parts])
    if parts[:2] != ("v2", "models") or len(parts) < 3 or not parts[2]:
        return None
    model, rest, version = parts[2], parts[3:], ""
    if rest[:1] == ("versions",):
        if len(rest) < 2 or not rest[1]:
            return None
        version, rest = rest[1], rest[2:]
    return Route(_OF_MODEL[rest], model, version) if rest in _OF_MODEL else None


def status_of(error: LitefleetError) -> int:
    """The HTTP status of an error."""
    if isinstance(error, HttpError):
        return error.status
    if isinstance(error, ManifestError):
        return 404  # no model can have such a name
    return next((status for family, status in _STATUSES if isinstance(error, family)), 500)
