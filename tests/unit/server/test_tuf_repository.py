"""The repository on disk: what a device can read, also when the server ends in the middle of writing."""

from __future__ import annotations

import errno
import stat
from datetime import datetime
from pathlib import Path

import pytest

from contract.errors import (
    ConfigError,
    ConflictError,
    ManifestError,
    NotFoundError,
    SignatureError,
    StorageError,
)
from packager.keys import create_keys
from packager.trust import sign_first_root, sign_first_targets, sign_next_root, sign_next_targets
from server.storage.durable import storage_errors, write_durably
from server.trust.additions import target_of
from server.trust.repository import TufRepository
from tests.support.builders import PROFILE, a_manifest
from tests.support.trust_folder import (
    NOW,
    TARGET_PATH,
    TrustFolder,
    a_trust_folder,
    an_online_key,
    later,
    manifest_bytes,
)


class PowerCutError(Exception):
    """The process ends here."""


class FailingDisk:
    """Writes durably, until the given number of files was written."""

    def __init__(self, error: Exception) -> None:
        self.left = -1
        self._error = error

    def write(self, path: Path, content: bytes) -> None:
        if self.left == 0:
            raise self._error
        self.left -= 1
        write_durably(path, content)


@pytest.fixture
def trust(tmp_path: Path) -> TrustFolder:
    return a_trust_folder(tmp_path / "server")


def test_an_empty_repository_has_no_root_and_no_targets(tmp_path: Path) -> None:
    repository = TufRepository(tmp_path / "tuf", an_online_key(tmp_path))
    assert repository.newest_root() is None
    assert repository.published() == {}
    assert not repository.refresh(NOW)
    with pytest.raises(NotFoundError):
        repository.metadata("timestamp.json")
    with pytest.raises(ConflictError, match="trusts no publisher"):
        repository.add_targets(b"{}", {}, NOW)


def test_the_online_key_is_secret_and_never_overwritten(tmp_path: Path) -> None:
    path = an_online_key(tmp_path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    before = path.read_bytes()
    with pytest.raises(ConflictError, match="is there already"):
        TufRepository.create_online_key(path)
    assert path.read_bytes() == before


def test_a_missing_online_key_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        TufRepository(tmp_path / "tuf", tmp_path / "online.key")


def test_establishing_the_same_again_changes_nothing(trust: TrustFolder) -> None:
    before = (trust.metadata / "timestamp.json").read_bytes()
    assert not trust.repository.establish(trust.root.content, trust.targets.content, NOW)
    assert (trust.metadata / "timestamp.json").read_bytes() == before
    assert trust.repository.newest_root() == trust.root.content


def test_another_root_is_refused_once_one_is_trusted(trust: TrustFolder) -> None:
    thief = create_keys(trust.folder / "thief")
    root = sign_first_root(thief, trust.repository.online_key(), NOW)
    with pytest.raises(ConflictError, match="another root"):
        trust.repository.establish(root.content, sign_first_targets(thief, NOW).content, NOW)
    assert trust.repository.newest_root() == trust.root.content


def test_first_targets_that_hold_something_are_refused(tmp_path: Path) -> None:
    keys = create_keys(tmp_path / "keys")
    repository = TufRepository(tmp_path / "tuf", an_online_key(tmp_path))
    root = sign_first_root(keys, repository.online_key(), NOW)
    targets = sign_next_targets(sign_first_targets(keys, NOW), {TARGET_PATH: manifest_bytes()}, keys, NOW)
    with pytest.raises(ConflictError):
        repository.establish(root.content, targets.content, NOW)
    assert repository.newest_root() is None


def test_a_published_manifest_can_be_read(trust: TrustFolder) -> None:
    trust.publish(a_manifest())
    target = target_of(manifest_bytes())
    assert trust.repository.published() == {TARGET_PATH: target}
    content = trust.repository.manifest("digits", "1.0.0", PROFILE, target.hashes["sha256"])
    assert content == manifest_bytes()


def test_names_that_are_no_identifiers_reach_no_file(trust: TrustFolder) -> None:
    trust.publish(a_manifest())
    digest = target_of(manifest_bytes()).hashes["sha256"]
    for parts in (
        ("..", "1.0.0", PROFILE, digest),
        ("digits", "../1.0.0", PROFILE, digest),
        ("digits", "1.0.0", "/", digest),
        ("digits", "1.0.0", PROFILE, "../" + digest),
    ):
        with pytest.raises(ManifestError):
            trust.repository.manifest(*parts)
    with pytest.raises(NotFoundError):
        trust.repository.manifest("digits", "1.0.0", PROFILE, "0" * 64)
    for name in ("../1.root.json", "root.json", "01.root.json", "1.other.json", "timestamp.json\n", ""):
        with pytest.raises(NotFoundError):
            trust.repository.metadata(name)


def test_two_publishers_at_once_cannot_both_win(trust: TrustFolder) -> None:
    signed, contents = trust.sign(a_manifest(version="1.1.0"))
    trust.publish(a_manifest())
    with pytest.raises(ConflictError) as refused:
        trust.repository.add_targets(signed.content, contents, NOW)
    assert "publish again" in refused.value.remedy


def test_a_changed_version_is_refused_and_changes_nothing(trust: TrustFolder) -> None:
    trust.publish(a_manifest())
    before = {path.name: path.read_bytes() for path in trust.metadata.iterdir()}
    changed = a_manifest(labels=tuple("abcdefghij"))
    signed, contents = trust.sign(changed)
    with pytest.raises(ConflictError):
        trust.repository.add_targets(signed.content, contents, NOW)
    assert {path.name: path.read_bytes() for path in trust.metadata.iterdir()} == before


def test_an_arbitrary_target_path_is_refused_and_writes_nothing(trust: TrustFolder) -> None:
    content = manifest_bytes()
    for path in ("../../../../escaped/manifest.json", "/tmp/escaped/manifest.json", "a/b/c/manifest.json"):  # noqa: S108
        signed = sign_next_targets(trust.targets, {path: content}, trust.keys, NOW)
        with pytest.raises(ManifestError):
            trust.repository.add_targets(signed.content, {path: content}, NOW)
    assert not (trust.folder / "tuf" / "targets").exists()


def test_expired_targets_are_refused(trust: TrustFolder) -> None:
    signed, contents = trust.sign(a_manifest())
    with pytest.raises(SignatureError, match="expired"):
        trust.repository.add_targets(signed.content, contents, later(days=366))


@pytest.mark.parametrize("files_written", range(5))
def test_killed_while_publishing_leaves_what_devices_can_read(tmp_path: Path, files_written: int) -> None:
    disk = FailingDisk(PowerCutError())
    trust = a_trust_folder(tmp_path / "server", write=disk.write)
    trust.publish(a_manifest())
    two = (a_manifest(version="1.1.0"), a_manifest(version="1.1.0", profile="raspberry-pi-4"))
    disk.left = files_written  # two manifests, targets, snapshot; the timestamp would be the fifth
    with pytest.raises(PowerCutError):
        trust.publish(*two)
    assert trust.fetch_as_device(tmp_path / "during") == manifest_bytes()
    with pytest.raises(NotFoundError):
        trust.fetch_as_device(tmp_path / "during", two[0].target_path())

    restarted = TufRepository(trust.folder / "tuf", an_online_key(trust.folder))
    after = TrustFolder(trust.folder, trust.keys, restarted, trust.root, trust.targets)
    assert not restarted.refresh(NOW)
    after.publish(a_manifest(version="1.2.0"))  # other content under the same version numbers
    content = after.fetch_as_device(tmp_path / "during", TARGET_PATH.replace("1.0.0", "1.2.0"))
    assert content == manifest_bytes(version="1.2.0")
    assert set(restarted.published()) == {TARGET_PATH, TARGET_PATH.replace("1.0.0", "1.2.0")}


@pytest.mark.parametrize("files_written", range(4))
def test_killed_while_establishing_can_be_established_again(tmp_path: Path, files_written: int) -> None:
    disk = FailingDisk(PowerCutError())
    disk.left = files_written
    with pytest.raises(PowerCutError):
        a_trust_folder(tmp_path / "server", write=disk.write)
    restarted = TufRepository(tmp_path / "server" / "tuf", an_online_key(tmp_path / "server"))
    assert restarted.newest_root() is None
    keys = create_keys(tmp_path / "other keys")
    root, targets = sign_first_root(keys, restarted.online_key(), NOW), sign_first_targets(keys, NOW)
    assert restarted.establish(root.content, targets.content, NOW)
    assert restarted.newest_root() == root.content


@pytest.mark.parametrize("files_written", range(4))
def test_killed_while_renewing_can_be_renewed_again(tmp_path: Path, files_written: int) -> None:
    disk = FailingDisk(PowerCutError())
    trust = a_trust_folder(tmp_path / "server", write=disk.write)
    trust.publish(a_manifest())
    root = sign_next_root(trust.root, trust.keys, later(days=1))
    targets = sign_next_targets(trust.targets, {}, trust.keys, later(days=1))
    disk.left = files_written
    with pytest.raises(PowerCutError):
        trust.repository.establish(root.content, targets.content, NOW)
    assert trust.fetch_as_device(tmp_path / "device") == manifest_bytes()
    disk.left = -1
    assert trust.repository.establish(root.content, targets.content, NOW)
    assert trust.repository.newest_root() == root.content
    assert trust.fetch_as_device(tmp_path / "device") == manifest_bytes()


def test_a_full_disk_is_reported_and_the_next_call_works(tmp_path: Path) -> None:
    disk = FailingDisk(StorageError("no space"))
    trust = a_trust_folder(tmp_path / "server", write=disk.write)
    disk.left = 1
    with pytest.raises(StorageError):
        trust.publish(a_manifest())
    disk.left = -1
    trust.publish(a_manifest())
    assert trust.fetch_as_device(tmp_path / "device") == manifest_bytes()


def test_renewal_may_not_change_what_is_published(trust: TrustFolder) -> None:
    trust.publish(a_manifest())
    emptied = sign_next_targets(sign_first_targets(trust.keys, NOW), {}, trust.keys, NOW)
    third = sign_next_targets(emptied, {}, trust.keys, NOW)
    with pytest.raises(ConflictError):
        trust.repository.establish(trust.root.content, third.content, NOW)
    grown, _ = trust.sign(a_manifest(version="1.1.0"))
    with pytest.raises(ManifestError, match="cannot be accepted"):
        trust.repository.establish(trust.root.content, grown.content, NOW)


@pytest.mark.parametrize(
    ("at", "signed"),
    [
        (later(hours=11), set()),
        (later(hours=13), {"timestamp.json"}),
        (later(days=3), {"timestamp.json"}),
        (later(days=4), {"timestamp.json", "3.snapshot.json"}),
        (later(days=30), {"timestamp.json", "3.snapshot.json"}),
    ],
)
def test_what_expires_soon_is_signed_again(trust: TrustFolder, at: datetime, signed: set[str]) -> None:
    trust.publish(a_manifest())
    before = {path.name: path.read_bytes() for path in trust.metadata.iterdir()}
    assert trust.repository.refresh(at) == bool(signed)
    after = {path.name: path.read_bytes() for path in trust.metadata.iterdir()}
    assert {name for name in after if after[name] != before.get(name)} == signed
    assert trust.fetch_as_device(trust.folder / "device", now=at) == manifest_bytes()
    assert not trust.repository.refresh(at)


def test_a_damaged_repository_says_so(trust: TrustFolder) -> None:
    (trust.metadata / "1.snapshot.json").write_bytes(b"\0" * 10)
    with pytest.raises(StorageError, match="damaged"):
        trust.repository.published()
    (trust.metadata / "1.snapshot.json").unlink()
    with pytest.raises(StorageError, match="cannot be read"):
        trust.repository.published()


def test_a_disk_that_refuses_a_file_leaves_no_draft(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "inside").touch()
    with pytest.raises(StorageError, match="could not be written"):
        write_durably(tmp_path / "taken", b"content")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_a_full_disk_gets_the_remedy_that_helps(tmp_path: Path) -> None:
    with pytest.raises(StorageError) as refused, storage_errors("x"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert "free some space" in refused.value.remedy
