"""Releases: what publishers have signed.

Guarantees: a release is accepted whole or not at all; its artifacts are there before it is; publishing the same
again changes nothing and says so. The TUF repository is the truth, the database's rows follow it: ``add_missing_rows``
brings them in line after an interruption.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Protocol

import msgspec
from anyio import to_thread
from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response

from contract.errors import ConflictError, ManifestError, MessageError, NotFoundError
from contract.manifest import Manifest, check_built, parse_manifest
from server.api.auth import require_publisher, require_reader
from server.api.bodies import parse_body, read_body
from server.storage.artifacts import ArtifactStore
from server.trust.additions import Target, target_of
from server.trust.repository import TufRepository

logger = logging.getLogger(__name__)
router = APIRouter()

_BODY_MAX_BYTES = 32 << 20
"""Targets metadata of at most 5 MB, and manifests of usually 5 KB, at most 1 MiB; escaped as JSON strings."""


@dataclass(frozen=True)
class ReleaseRow:
    """A release as it is listed."""

    model: str
    version: str
    profiles: Sequence[str]
    published_at: datetime


class ReleaseStore(Protocol):
    """Where the releases' rows are kept."""

    def find(self, model: str, version: str) -> Mapping[str, str]:
        """Profile to the manifest's sha256; empty for an unknown release."""
        ...

    def add(self, manifest: Manifest, manifest_sha256: str, at: datetime) -> None:
        """Keep a manifest that is published; one transaction."""
        ...

    def rows(self) -> Sequence[ReleaseRow]:
        """All releases, in the order they are listed in."""
        ...


@dataclass(frozen=True)
class ReleaseStores:
    """The three places that a release touches."""

    artifacts: ArtifactStore
    tuf: TufRepository
    releases: ReleaseStore


class NewRelease(msgspec.Struct, frozen=True, kw_only=True):
    """One release: the exact text of each manifest, and of the signed targets metadata."""

    manifests: list[str]
    targets: str


@router.post("/api/v1/releases", dependencies=[Depends(require_publisher)])
async def post_release(request: Request) -> Response:
    """Publish a release: 201 when something of it is new, 200 when all of it was there."""
    body = parse_body(await read_body(request, _BODY_MAX_BYTES), NewRelease)
    now = datetime.now(timezone.utc)
    release, is_new = await to_thread.run_sync(accept_release, _stores(request), body, now)
    return JSONResponse(release, status_code=201 if is_new else 200)


@router.get("/api/v1/releases", dependencies=[Depends(require_reader)])
def get_releases(request: Request) -> Response:
    """All releases."""
    rows = [
        {
            "model": row.model,
            "version": row.version,
            "profiles": list(row.profiles),
            "published_at": row.published_at.isoformat(),
        }
        for row in _stores(request).releases.rows()
    ]
    return JSONResponse(rows)


def accept_release(stores: ReleaseStores, body: NewRelease, now: datetime) -> tuple[dict[str, object], bool]:
    """Publish a release.

    Args:
        stores: Where to.
        body: What the publisher sent.
        now: Current time.

    Returns:
        The release, and whether anything of it is new.

    Raises:
        ManifestError: A manifest is not complete, or not what is signed.
        MessageError: No manifest, or those of several releases.
        ConflictError: The version is published with other content, or somebody published at the same time.
        NotFoundError: Artifacts are missing.
        SignatureError: The targets do not verify.
    """
    manifests = _parse_manifests(body)
    first = next(iter(manifests.values()))
    contents = {path: text.encode() for path, text in zip(manifests, body.manifests, strict=True)}
    with stores.tuf.lock:
        new = _unpublished(contents, stores.tuf.published())
        if new:
            _check_artifacts(stores.artifacts, [manifests[path] for path in new])
            stores.tuf.add_targets(body.targets.encode(), {path: contents[path] for path in new}, now)
        _add_rows(stores.releases, [(manifests[path], contents[path]) for path in contents], now)
    release: dict[str, object] = {
        "model": first.model,
        "version": first.version,
        "profiles": sorted(manifest.profile for manifest in manifests.values()),
    }
    if new:
        logger.info("release %s %s published for %s", first.model, first.version, release["profiles"])
    return release, bool(new)


def add_missing_rows(stores: ReleaseStores, now: datetime) -> int:
    """Bring the rows in line with the repository, after a process ended between the two; call it at start.

    Returns:
        How many manifests had no row.
    """
    with stores.tuf.lock:
        missing: list[tuple[Manifest, bytes]] = []
        for path, target in stores.tuf.published().items():
            model, version, profile, _ = path.split("/")
            if profile not in stores.releases.find(model, version):
                content = stores.tuf.manifest(model, version, profile, target.hashes["sha256"])
                missing.append((parse_manifest(content), content))
        _add_rows(stores.releases, missing, now)
    return len(missing)


def _parse_manifests(body: NewRelease) -> dict[str, Manifest]:
    parsed = [parse_manifest(text.encode()) for text in body.manifests]
    for manifest in parsed:
        check_built(manifest)
    if len({(manifest.model, manifest.version) for manifest in parsed}) != 1:
        raise MessageError("a request publishes the manifests of exactly one release")
    manifests = {manifest.target_path(): manifest for manifest in parsed}
    if len(manifests) != len(parsed):
        raise ManifestError("a profile has two manifests")
    return manifests


def _unpublished(contents: Mapping[str, bytes], published: Mapping[str, Target]) -> list[str]:
    changed = [
        path
        for path, content in contents.items()
        if path in published and published[path] != target_of(content)
    ]
    if changed:
        raise ConflictError(
            "this version is published with other content",
            faults=changed,
            remedy="a version never changes: pack it again under a new version",
        )
    return [path for path in contents if path not in published]


def _check_artifacts(store: ArtifactStore, manifests: Sequence[Manifest]) -> None:
    faults = [
        f"{artifact.sha256} ({artifact.size_bytes} bytes)"
        for manifest in manifests
        for artifact in manifest.artifacts().values()
        if store.size_bytes(artifact.sha256) != artifact.size_bytes
    ]
    if faults:
        raise NotFoundError("artifacts are missing here", faults=faults, remedy="upload them first")


def _add_rows(releases: ReleaseStore, manifests: Sequence[tuple[Manifest, bytes]], now: datetime) -> None:
    for manifest, content in manifests:
        if manifest.profile not in releases.find(manifest.model, manifest.version):
            releases.add(manifest, hashlib.sha256(content).hexdigest(), now)


def _stores(request: Request) -> ReleaseStores:
    state = request.app.state
    return ReleaseStores(artifacts=state.artifacts, tuf=state.tuf, releases=state.releases)
