"""Artifacts over HTTP: publishers put them, anybody who can reach the server gets them.

Reading needs no token in this version: the server listens on loopback, artifacts are named by a digest that only
the manifest tells, and devices verify every byte. See ``docs/explanation/trust.md``.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from typing import cast

from anyio import from_thread, to_thread
from fastapi import APIRouter, Depends, Request
from fastapi.responses import FileResponse, JSONResponse, Response
from starlette.requests import ClientDisconnect

from contract.errors import NotFoundError, TooLargeError, TransientError
from contract.identifiers import parse_digest
from contract.manifest import ARTIFACT_MAX_BYTES
from server.api.auth import require_publisher
from server.storage.artifacts import ArtifactStore

logger = logging.getLogger(__name__)
router = APIRouter()


@router.head("/api/v1/artifacts/{digest}", dependencies=[Depends(require_publisher)])
def verify_artifact(digest: str, request: Request) -> Response:
    """Whether an artifact is there and intact: 404 asks the publisher to put it, also after it went bad on disk."""
    if not _store(request).verify(digest):
        raise NotFoundError(f"there is no intact artifact {digest}")
    return Response()


@router.put("/api/v1/artifacts/{digest}", dependencies=[Depends(require_publisher)])
async def put_artifact(digest: str, request: Request) -> Response:
    """Take in an artifact: 201 when it is new, 200 when it was there."""
    parse_digest(digest)
    store = _store(request)
    if store.has(digest):
        return JSONResponse({"digest": digest})
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced[:20]) > ARTIFACT_MAX_BYTES:
        raise TooLargeError(f"artifact {digest} has more than {ARTIFACT_MAX_BYTES} bytes")
    try:
        created = await to_thread.run_sync(store.write, digest, _blocks(request.stream()))
    except ClientDisconnect as error:
        raise TransientError(f"the upload of {digest} was cut off") from error
    if created:
        logger.info("artifact %s stored", digest)
    return JSONResponse({"digest": digest}, status_code=201 if created else 200)


@router.head("/artifacts/{digest}")
@router.get("/artifacts/{digest}")
def get_artifact(digest: str, request: Request) -> Response:
    """An artifact's bytes; ``Range`` is honoured."""
    return FileResponse(_store(request).path(digest), media_type="application/octet-stream")


def _blocks(stream: AsyncIterator[bytes]) -> Iterator[bytes]:
    """The request's blocks, one at a time, for a thread that writes them: the event loop never waits for the disk."""

    async def next_block() -> bytes | None:
        return await anext(stream, None)

    while (block := from_thread.run(next_block)) is not None:
        yield block


def _store(request: Request) -> ArtifactStore:
    return cast("ArtifactStore", request.app.state.artifacts)
