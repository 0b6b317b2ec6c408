"""Bundles to a server: artifacts first, then one signed commit for each release.

Guarantees: everything that can be refused is refused before anything is sent; a release appears whole or not at all;
publishing the same again changes nothing, brings back artifacts that the server lost or damaged, and is no error; a
version never changes its content. What expires soon is renewed on the way.
Does not decide what a signature is worth (``packager.trust``), or speak HTTP by itself (``packager.http``).
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

import msgspec

from contract.bundle import BundleReader
from contract.errors import ConflictError, ManifestError, NotFoundError, SignatureError
from packager.http import Server
from packager.keys import KeySet, load_keys
from packager.memory import Memory
from packager.trust import (
    RENEW_BEFORE,
    Repository,
    Signed,
    check_own_root,
    fetch_trusted,
    sign_first_root,
    sign_first_targets,
    sign_next_root,
    sign_next_targets,
)

Echo = Callable[[str], None]
_TRUST = "/api/v1/trust"


@dataclass(frozen=True)
class PublishedRelease:
    """A release that the server has now; ``is_new`` when something of it was not there before."""

    model: str
    version: str
    profiles: tuple[str, ...]
    is_new: bool


@dataclass(frozen=True)
class PublishResult:
    """What a publication did.

    Attributes:
        releases: In the order of the bundles.
        uploaded_artifacts: How many artifacts the server did not have.
        uploaded_bytes: Their size.
    """

    releases: tuple[PublishedRelease, ...]
    uploaded_artifacts: int
    uploaded_bytes: int


def publish_bundles(
    paths: Sequence[Path], *, server: str, token: str, keys: Path, echo: Echo
) -> PublishResult:
    """Publish bundles, of one release or several.

    Args:
        paths: The bundles.
        server: Its URL.
        token: The publisher's.
        keys: The keys folder.
        echo: Shows a line to the user.

    Raises:
        ConfigError: No keys, no token, no URL.
        ManifestError: A file is no usable bundle, or two bundles contradict each other.
        ConflictError: A version is published with other content; nothing was changed.
        SignatureError: The server's metadata does not verify.
        RollbackAttackError: The server shows older metadata than these keys signed.
        AccessError: The token is not the publisher's.
        ServerUnavailableError: The server cannot be reached, or failed; publish again.
    """
    key_set = load_keys(keys)
    with contextlib.ExitStack() as stack:
        bundles = [stack.enter_context(BundleReader(path)) for path in paths]
        releases = _by_release(bundles)
        publisher = _Publisher(stack.enter_context(Server(server, token)), key_set, echo)
        publisher.bring_up_to_date()
        return publisher.publish(releases)


def establish_trust(*, server: str, token: str, keys: Path, echo: Echo) -> bool:
    """Make a new server trust these keys; ``publish_bundles`` does it too when it has to.

    Returns:
        False when it trusts them already.

    Raises:
        ConfigError: No keys, no token, no URL.
        ConflictError: The server trusts other keys, or the keys belong to another server.
        SignatureError: The server's metadata does not verify.
        AccessError: The token is not the publisher's.
        ServerUnavailableError: The server cannot be reached, or failed.
    """
    with Server(server, token) as client:
        return _Publisher(client, load_keys(keys), echo).bring_up_to_date()


def _by_release(bundles: Sequence[BundleReader]) -> list[_Release]:
    """Group bundles; refuse two that differ for one profile."""
    found: dict[tuple[str, str], _Release] = {}
    for bundle in bundles:
        manifest = bundle.manifest
        release = found.setdefault(
            (manifest.model, manifest.version), _Release(manifest.model, manifest.version)
        )
        known = release.bundles.setdefault(manifest.target_path(), bundle)
        if known.manifest_bytes != bundle.manifest_bytes:
            raise ManifestError(f"two different bundles are given for {manifest.target_path()}")
    if not found:
        raise ManifestError("no bundle is given", remedy="name the files that litefleet-packager pack wrote")
    return list(found.values())


@dataclass(frozen=True)
class _Release:
    """One release to publish: target path to bundle."""

    model: str
    version: str
    bundles: dict[str, BundleReader] = field(default_factory=dict)

    @property
    def profiles(self) -> tuple[str, ...]:
        return tuple(sorted(bundle.manifest.profile for bundle in self.bundles.values()))

    def unpublished(self, digests: Mapping[str, str]) -> dict[str, bytes]:
        """The manifests that are not signed yet, by target path."""
        return {path: bundle.manifest_bytes for path, bundle in self.bundles.items() if path not in digests}


class _Publisher:
    """One session with one server."""

    def __init__(self, server: Server, keys: KeySet, echo: Echo) -> None:
        self._server = server
        self._keys = keys
        self._echo = echo
        self._memory = Memory(keys.folder)
        self._now = datetime.now(timezone.utc)
        self._uploaded: dict[str, int] = {}

    def bring_up_to_date(self) -> bool:
        """Establish, adopt, verify and renew trust; whether it had to be established."""
        served = self._first_root()
        pinned = self._memory.root()
        if served is None:
            self._establish(pinned)
            return True
        if pinned is None:
            pinned = check_own_root(served, self._keys)
            self._echo(f"{self._server.url} trusts these keys already; its root is pinned now")
        elif pinned.version == 1 and pinned.content != served:
            raise ConflictError(
                f"{self._server.url} is not the server that these keys belong to: it has another root",
                remedy="one keys folder belongs to one server: make keys for this one in another folder (--keys)",
            )
        repository = Repository(self._server.url, self._memory.cache)
        root, targets = fetch_trusted(
            repository, pinned, self._memory.targets(), self._server.blocks, self._now
        )
        self._memory.keep(root, targets)
        self._renew(root, targets)
        return False

    def publish(self, releases: Sequence[_Release]) -> PublishResult:
        """Upload and sign."""
        for release in releases:
            self._check_unchanged(release)
        for release in releases:
            for bundle in release.bundles.values():
                self._upload(bundle)
        published = tuple(self._commit(release) for release in releases)
        return PublishResult(published, len(self._uploaded), sum(self._uploaded.values()))

    def _first_root(self) -> bytes | None:
        try:
            return self._server.get("/tuf/metadata/1.root.json")
        except NotFoundError:
            return None

    def _establish(self, pinned: Signed | None) -> None:
        if pinned is not None:
            raise ConflictError(
                f"{self._server.url} trusts nobody yet, but these keys belong to a server already",
                remedy="bring the old server's repository back from a backup, or make new keys for a new server in "
                "another folder (--keys)",
            )
        answer = self._server.get(f"{_TRUST}/online-key")
        try:
            online_key = msgspec.json.decode(answer, type=dict[str, object])
        except msgspec.DecodeError as error:
            raise SignatureError(f"the server's key cannot be understood: {error}") from error
        root = sign_first_root(self._keys, online_key, self._now)
        targets = sign_first_targets(self._keys, self._now)
        self._send_trust(root, targets)
        self._echo(
            f"TRUST ESTABLISHED: {self._server.url} and its devices now trust the keys in {self._keys.folder}"
        )
        self._echo(
            "back that folder up: nobody can publish to this fleet without it, and anybody can with it"
        )

    def _renew(self, root: Signed, targets: Signed) -> None:
        fresh = self._now + RENEW_BEFORE
        new_root = sign_next_root(root, self._keys, self._now) if root.expires < fresh else root
        new_targets = (
            sign_next_targets(targets, {}, self._keys, self._now) if targets.expires < fresh else targets
        )
        if new_root is not root or new_targets is not targets:
            self._send_trust(new_root, new_targets)
            self._echo(f"signatures renewed until {min(new_root.expires, new_targets.expires):%Y-%m-%d}")

    def _send_trust(self, root: Signed, targets: Signed) -> None:
        self._server.post(_TRUST, {"root": root.content.decode(), "targets": targets.content.decode()})
        self._memory.keep(root, targets)

    def _signed(self) -> tuple[Signed, Signed]:
        root, targets = self._memory.root(), self._memory.targets()
        assert root is not None  # noqa: S101 - bring_up_to_date kept both
        assert targets is not None  # noqa: S101
        return root, targets

    def _check_unchanged(self, release: _Release) -> None:
        digests = self._signed()[1].digests
        changed = [
            path
            for path, bundle in release.bundles.items()
            if digests.get(path, _sha256(bundle.manifest_bytes)) != _sha256(bundle.manifest_bytes)
        ]
        if changed:
            raise ConflictError(
                f"{release.model} {release.version} is published with other content",
                faults=changed,
                remedy="a version never changes: pack it again under a new version",
            )

    def _upload(self, bundle: BundleReader) -> None:
        for artifact in bundle.manifest.artifacts().values():
            path = f"/api/v1/artifacts/{artifact.sha256}"
            if artifact.sha256 in self._uploaded or self._server.has(path):
                continue
            self._echo(f"uploading {artifact.sha256[:12]} ({artifact.size_bytes / 1e6:.2f} MB)")
            blocks = bundle.artifact_blocks(artifact.sha256)
            self._server.put(path, blocks, artifact.size_bytes)
            self._uploaded[artifact.sha256] = artifact.size_bytes

    def _commit(self, release: _Release) -> PublishedRelease:
        root, targets = self._signed()
        new = release.unpublished(targets.digests)
        if new:
            targets = sign_next_targets(targets, new, self._keys, self._now)
        manifests = [bundle.manifest_bytes.decode() for bundle in release.bundles.values()]
        # Sent also when nothing is new: the server then completes what an interruption left open.
        self._server.post("/api/v1/releases", {"manifests": manifests, "targets": targets.content.decode()})
        self._memory.keep(root, targets)
        state = "published" if new else "already published"
        self._echo(f"{state} {release.model} {release.version} for {', '.join(release.profiles)}")
        return PublishedRelease(release.model, release.version, release.profiles, bool(new))


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
