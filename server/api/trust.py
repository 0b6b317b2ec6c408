"""Trust over HTTP: the server's public key, the publisher's first root, and the TUF repository for devices.

Everything under ``/tuf/`` is public: it is signed, and a device verifies it before it has proved who it is.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import cast

import msgspec
from anyio import to_thread
from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response

from server.api.auth import require_publisher, require_reader
from server.api.bodies import parse_body, read_body
from server.trust.metadata import METADATA_MAX_BYTES
from server.trust.repository import TufRepository

router = APIRouter()

_BODY_MAX_BYTES = 4 * METADATA_MAX_BYTES  # two files, escaped as JSON strings: at most doubled


class NewTrust(msgspec.Struct, frozen=True, kw_only=True):
    """Signed root and targets, each as the exact text of its JSON file."""

    root: str
    targets: str


@router.get("/api/v1/trust/online-key", dependencies=[Depends(require_reader)])
def get_online_key(request: Request) -> Response:
    """The key that a root must name for snapshot and timestamp."""
    return JSONResponse(_repository(request).online_key())


@router.post("/api/v1/trust", dependencies=[Depends(require_publisher)])
async def post_trust(request: Request) -> Response:
    """Trust the first root, or the same one renewed: 201 when it is new, 200 when it was there."""
    body = parse_body(await read_body(request, _BODY_MAX_BYTES), NewTrust)
    root, targets = body.root.encode(), body.targets.encode()
    now = datetime.now(timezone.utc)
    changed = await to_thread.run_sync(_repository(request).establish, root, targets, now)
    return JSONResponse({"established": True}, status_code=201 if changed else 200)


@router.get("/tuf/metadata/{name}")
def get_metadata(name: str, request: Request) -> Response:
    """A file of signed metadata."""
    return Response(_repository(request).metadata(name), media_type="application/json")


@router.get("/tuf/targets/{model}/{version}/{profile}/{digest}.manifest.json")
def get_manifest(model: str, version: str, profile: str, digest: str, request: Request) -> Response:
    """A manifest, under the name that TUF clients derive from its digest (consistent snapshots)."""
    content = _repository(request).manifest(model, version, profile, digest)
    return Response(content, media_type="application/json")


def _repository(request: Request) -> TufRepository:
    return cast("TufRepository", request.app.state.tuf)
