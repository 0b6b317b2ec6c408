"""Publisher, repository and device side by side in folders: everything real but the network between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from contract.errors import NotFoundError
from contract.manifest import Manifest, serialize_manifest
from edge_agent.update.verify import Repository, fetch_manifest
from packager.keys import KeySet, create_keys
from packager.trust import Signed, sign_first_root, sign_first_targets, sign_next_targets
from server.storage.durable import write_durably
from server.trust.metadata import OnlineKey, load_targets, load_timestamp
from server.trust.repository import TufRepository
from tests.support.builders import PROFILE, a_manifest

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=timezone.utc)
TARGET_PATH = f"digits/1.0.0/{PROFILE}/manifest.json"


def manifest_bytes(**changes: Any) -> bytes:
    """The signed form of ``a_manifest``."""
    return serialize_manifest(a_manifest(**changes))


@dataclass
class TrustFolder:
    """A publisher with keys and a server's repository that trusts them."""

    folder: Path
    keys: KeySet
    repository: TufRepository
    root: Signed
    targets: Signed

    @property
    def metadata(self) -> Path:
        return self.folder / "tuf" / "metadata"

    def sign(self, *manifests: Manifest, now: datetime = NOW) -> tuple[Signed, dict[str, bytes]]:
        """Sign manifests on top of what is published, without publishing."""
        contents = {manifest.target_path(): serialize_manifest(manifest) for manifest in manifests}
        return sign_next_targets(self.targets, contents, self.keys, now), contents

    def publish(self, *manifests: Manifest, now: datetime = NOW) -> None:
        """Sign and publish."""
        signed, contents = self.sign(*manifests, now=now)
        self.repository.add_targets(signed.content, contents, now)
        self.targets = signed

    def fetch(self, url: str) -> Iterator[bytes]:
        """What a device's GET would bring."""
        kind, _, rest = unquote(urlsplit(url).path).removeprefix("/tuf/").partition("/")
        if kind == "metadata":
            yield self.repository.metadata(rest)
        else:
            model, version, profile, name = rest.split("/")
            yield self.repository.manifest(model, version, profile, name.removesuffix(".manifest.json"))

    def pin(self, device: Path) -> Path:
        """Give a device the first root; its path."""
        device.mkdir(parents=True, exist_ok=True)
        path = device / "root.json"
        path.write_bytes(self.root.content)
        return path

    def fetch_as_device(
        self,
        device: Path,
        path: str = TARGET_PATH,
        *,
        now: datetime = NOW,
        time_floor: datetime | None = None,
        fetch: Callable[[str], Iterator[bytes]] | None = None,
    ) -> bytes:
        """Let a device, whose state is in a folder, verify and fetch a manifest."""
        root_path = device / "root.json" if (device / "root.json").exists() else self.pin(device)
        repository = Repository("http://server", root_path, device / "trust", time_floor)
        return fetch_manifest(repository, path, fetch or self.fetch, now)


def an_online_key(folder: Path) -> Path:
    """The server's key in a folder, made when missing."""
    path = folder / "online.key"
    if not path.exists():
        TufRepository.create_online_key(path)
    return path


def a_trust_folder(
    folder: Path, *, now: datetime = NOW, write: Callable[[Path, bytes], None] = write_durably
) -> TrustFolder:
    """Make keys and a repository that trusts them; nothing is published yet."""
    keys = create_keys(folder / "keys")
    repository = TufRepository(folder / "tuf", an_online_key(folder), write=write)
    root = sign_first_root(keys, repository.online_key(), now)
    targets = sign_first_targets(keys, now)
    repository.establish(root.content, targets.content, now)
    return TrustFolder(folder, keys, repository, root, targets)


def serve_forged_targets(trust: TrustFolder, content: bytes, now: datetime = NOW) -> None:
    """What the thief of a server can do: sign snapshot and timestamp over any targets with the online key."""
    key = OnlineKey(an_online_key(trust.folder).read_bytes())
    timestamp = load_timestamp((trust.metadata / "timestamp.json").read_bytes())
    targets = load_targets(content)
    (trust.metadata / f"{targets.version}.targets.json").write_bytes(content)
    snapshot = key.sign_snapshot(timestamp.names_version + 1, targets, now)
    (trust.metadata / f"{snapshot.version}.snapshot.json").write_bytes(snapshot.content)
    forged = key.sign_timestamp(timestamp.version + 1, snapshot, now)
    (trust.metadata / "timestamp.json").write_bytes(forged.content)


def later(**delta: float) -> datetime:
    """Some time after NOW."""
    return NOW + timedelta(**delta)


def missing(url: str) -> Iterator[bytes]:
    """A server that has nothing."""
    raise NotFoundError(f"{url} is not on the server")
