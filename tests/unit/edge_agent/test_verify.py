"""What a device believes, and the attacks that it refuses; named after them (TUF specification, 1.5.2)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from contract.errors import (
    DigestError,
    DownloadError,
    NotFoundError,
    RollbackAttackError,
    SignatureError,
    StorageError,
    TooLargeError,
)
from contract.manifest import MANIFEST_MAX_BYTES, parse_manifest
from edge_agent.update.verify import Repository, fetch_manifest, load_time_floor
from packager.keys import create_keys
from packager.trust import sign_first_root, sign_next_root, sign_next_targets
from tests.support.builders import a_manifest
from tests.support.trust_folder import (
    NOW,
    TARGET_PATH,
    TrustFolder,
    a_trust_folder,
    later,
    manifest_bytes,
    missing,
    serve_forged_targets,
)


@pytest.fixture
def trust(tmp_path: Path) -> TrustFolder:
    folder = a_trust_folder(tmp_path / "server")
    folder.publish(a_manifest())
    return folder


@pytest.fixture
def device(tmp_path: Path) -> Path:
    return tmp_path / "device"


def spoil(path: Path, change: dict[str, Any]) -> None:
    """Change signed fields of a metadata file, and leave the signatures as they were."""
    metadata = json.loads(path.read_bytes())
    metadata["signed"].update(change)
    path.write_text(json.dumps(metadata))


def test_a_signed_manifest_arrives_as_it_was_signed(trust: TrustFolder, device: Path) -> None:
    assert trust.fetch_as_device(device) == manifest_bytes()


def test_fetching_again_uses_what_is_trusted_already(trust: TrustFolder, device: Path) -> None:
    asked: list[str] = []

    def counting(url: str) -> Iterator[bytes]:
        asked.append(url.rpartition("/")[2])
        return trust.fetch(url)

    trust.fetch_as_device(device)
    trust.fetch_as_device(device, fetch=counting)
    assert asked[:2] == ["2.root.json", "timestamp.json"]
    assert len(asked) == 3
    assert asked[2].endswith(".manifest.json")


def test_a_version_with_build_metadata_is_found(trust: TrustFolder, device: Path) -> None:
    manifest = a_manifest(version="1.1.0-rc.1+build.7")
    trust.publish(manifest)
    content = trust.fetch_as_device(device, manifest.target_path())
    assert parse_manifest(content).version == "1.1.0-rc.1+build.7"


def test_a_release_nobody_signed_is_not_found(trust: TrustFolder, device: Path) -> None:
    with pytest.raises(NotFoundError, match=r"nobody signed digits/9\.0\.0"):
        trust.fetch_as_device(device, TARGET_PATH.replace("1.0.0", "9.0.0"))


def test_arbitrary_software_attack_with_other_targets_is_refused(trust: TrustFolder, device: Path) -> None:
    spoil(trust.metadata / "2.targets.json", {"targets": {}})
    with pytest.raises(SignatureError):
        trust.fetch_as_device(device)


def test_arbitrary_software_attack_on_the_manifest_is_refused(trust: TrustFolder, device: Path) -> None:
    (place,) = (trust.folder / "tuf" / "targets").rglob("*.manifest.json")
    content = bytearray(place.read_bytes())
    content[len(content) // 2] ^= 1
    place.write_bytes(content)
    with pytest.raises(DigestError, match="not what was signed"):
        trust.fetch_as_device(device)
    assert not (device / "trust" / "manifest.json").exists()


def test_wrong_key_attack_with_a_whole_other_repository_is_refused(
    trust: TrustFolder, device: Path, tmp_path: Path
) -> None:
    other = a_trust_folder(tmp_path / "other")
    other.publish(a_manifest(version="6.6.6"))
    trust.pin(device)
    with pytest.raises(SignatureError, match="timestamp was signed by 0/1 keys"):
        trust.fetch_as_device(device, fetch=other.fetch)


def test_wrong_key_attack_by_the_server_on_targets_is_refused(trust: TrustFolder, device: Path) -> None:
    """A stolen server has the online key, but it may not sign targets."""
    thief = create_keys(trust.folder / "thief")
    foreign = sign_next_targets(trust.targets, {TARGET_PATH: b"{}"}, thief, NOW)
    serve_forged_targets(trust, foreign.content)
    with pytest.raises(SignatureError, match="targets was signed by 0/1 keys"):
        trust.fetch_as_device(device)


def test_wrong_key_attack_with_a_next_root_is_refused(trust: TrustFolder, device: Path) -> None:
    thief = create_keys(trust.folder / "thief")
    foreign = sign_next_root(sign_first_root(thief, trust.repository.online_key(), NOW), thief, NOW)
    (trust.metadata / "2.root.json").write_bytes(foreign.content)
    with pytest.raises(SignatureError, match="root was signed by 0/1 keys"):
        trust.fetch_as_device(device)


def test_rollback_attack_on_the_timestamp_is_refused(trust: TrustFolder, device: Path) -> None:
    old = (trust.metadata / "timestamp.json").read_bytes()
    trust.publish(a_manifest(version="1.1.0"))
    trust.fetch_as_device(device)
    (trust.metadata / "timestamp.json").write_bytes(old)
    with pytest.raises(RollbackAttackError, match="older than what was accepted"):
        trust.fetch_as_device(device)


def test_rollback_attack_on_targets_with_the_stolen_online_key_is_refused(
    trust: TrustFolder, device: Path
) -> None:
    old_targets = trust.targets
    trust.publish(a_manifest(version="1.1.0"))
    trust.fetch_as_device(device)
    serve_forged_targets(trust, old_targets.content)
    with pytest.raises(RollbackAttackError):
        trust.fetch_as_device(device)


def test_freeze_attack_is_refused_after_a_day(trust: TrustFolder, device: Path) -> None:
    trust.fetch_as_device(device, now=later(hours=23))
    with pytest.raises(RollbackAttackError, match=r"timestamp\.json is expired at 2026-11-22"):
        trust.fetch_as_device(device, now=later(hours=25))


def test_freeze_attack_on_a_board_that_lost_its_clock_is_refused(trust: TrustFolder, device: Path) -> None:
    frozen = (trust.metadata / "timestamp.json").read_bytes()
    trust.repository.refresh(later(days=2))
    trust.fetch_as_device(device, now=later(days=2))
    for path in (device / "trust").glob("t*.json"):
        path.unlink()  # a power cut took the metadata, but not the floor
    (trust.metadata / "timestamp.json").write_bytes(frozen)
    with pytest.raises(RollbackAttackError, match="expired"):
        trust.fetch_as_device(device, now=datetime(1970, 1, 1, tzinfo=timezone.utc))


def test_a_floor_that_the_caller_knows_counts_too(trust: TrustFolder, device: Path) -> None:
    start = datetime(1970, 1, 1, tzinfo=timezone.utc)
    trust.fetch_as_device(device, now=start)
    with pytest.raises(RollbackAttackError, match="expired"):
        trust.fetch_as_device(device, now=start, time_floor=later(days=2))


def test_a_board_without_a_clock_can_still_update(trust: TrustFolder, device: Path) -> None:
    start = datetime(1970, 1, 1, tzinfo=timezone.utc)
    assert trust.fetch_as_device(device, now=start) == manifest_bytes()
    assert load_time_floor(device / "trust") == start
    assert trust.fetch_as_device(device, now=NOW) == manifest_bytes()
    assert load_time_floor(device / "trust") == NOW


def test_a_clock_in_the_far_future_does_not_raise_the_floor(trust: TrustFolder, device: Path) -> None:
    trust.fetch_as_device(device)
    with pytest.raises(RollbackAttackError):
        trust.fetch_as_device(device, now=later(days=10_000))
    assert trust.fetch_as_device(device) == manifest_bytes()


@pytest.mark.parametrize("content", [b"", b"soon", b"99999999999999999999999"])
def test_a_damaged_floor_starts_again(trust: TrustFolder, device: Path, content: bytes) -> None:
    (device / "trust").mkdir(parents=True)
    (device / "trust" / "time_floor").write_bytes(content)
    assert trust.fetch_as_device(device) == manifest_bytes()
    assert load_time_floor(device / "trust") == NOW


@pytest.mark.parametrize(("ours", "theirs"), [("3.targets", "2.targets"), ("3.snapshot", "2.snapshot")])
def test_mix_and_match_attack_is_refused(trust: TrustFolder, device: Path, ours: str, theirs: str) -> None:
    """Each file is validly signed, but they were never published together."""
    trust.publish(a_manifest(version="1.1.0"))
    (trust.metadata / f"{ours}.json").write_bytes((trust.metadata / f"{theirs}.json").read_bytes())
    with pytest.raises(SignatureError):
        trust.fetch_as_device(device)


def test_endless_data_attack_is_cut_off(trust: TrustFolder, device: Path) -> None:
    sent = 0

    def endless(url: str) -> Iterator[bytes]:
        nonlocal sent
        if not url.endswith("timestamp.json"):
            yield from trust.fetch(url)
            return
        while True:
            sent += 1 << 14
            yield bytes(1 << 14)

    with pytest.raises(DownloadError, match="exceeding"):
        trust.fetch_as_device(device, fetch=endless)
    assert sent <= 1 << 15


def test_a_manifest_signed_with_a_huge_length_is_not_downloaded(trust: TrustFolder, device: Path) -> None:
    huge = sign_next_targets(trust.targets, {TARGET_PATH: bytes(MANIFEST_MAX_BYTES + 1)}, trust.keys, NOW)
    serve_forged_targets(trust, huge.content)
    with pytest.raises(TooLargeError):
        trust.fetch_as_device(device)


@pytest.mark.parametrize(
    "rubbish",
    [b"", b"<html>log in to the hotel's network</html>", b'{"signed": 1}', b"\xff\xfe", b"[" * 9000],
)
def test_what_is_not_metadata_is_refused(trust: TrustFolder, device: Path, rubbish: bytes) -> None:
    (trust.metadata / "timestamp.json").write_bytes(rubbish)
    with pytest.raises(SignatureError):
        trust.fetch_as_device(device)


def test_a_server_without_trust_is_reported_as_such(trust: TrustFolder, device: Path) -> None:
    with pytest.raises(NotFoundError):
        trust.fetch_as_device(device, fetch=missing)


def test_a_failing_server_may_be_tried_again(trust: TrustFolder, device: Path) -> None:
    def failing(url: str) -> Iterator[bytes]:
        raise DownloadError(f"{url} was answered with status 502")

    with pytest.raises(DownloadError, match="502"):
        trust.fetch_as_device(device, fetch=failing)


def test_a_renewed_root_is_followed_and_kept(trust: TrustFolder, device: Path) -> None:
    trust.fetch_as_device(device)
    renewed = sign_next_root(trust.root, trust.keys, later(days=300))
    trust.repository.establish(renewed.content, trust.targets.content, later(days=300))
    trust.publish(a_manifest(version="1.1.0"), now=later(days=301))
    trust.fetch_as_device(device, now=later(days=301))
    assert (device / "trust" / "root.json").read_bytes() == renewed.content
    trust.publish(a_manifest(version="1.2.0"), now=later(days=400))
    assert trust.fetch_as_device(device, now=later(days=400)) == manifest_bytes()


def test_an_expired_root_is_refused(trust: TrustFolder, device: Path) -> None:
    trust.publish(a_manifest(version="1.1.0"), now=later(days=366))
    with pytest.raises(RollbackAttackError, match=r"root\.json is expired"):
        trust.fetch_as_device(device, now=later(days=366))


def test_damaged_trusted_files_are_fetched_again(trust: TrustFolder, device: Path) -> None:
    trust.fetch_as_device(device)
    for path in (device / "trust").glob("*.json"):
        if not path.is_symlink():
            path.write_bytes(b"\0" * 100)
    assert trust.fetch_as_device(device) == manifest_bytes()


def test_a_pinned_root_that_is_no_root_is_refused(trust: TrustFolder, device: Path) -> None:
    trust.pin(device).write_bytes(trust.targets.content)
    with pytest.raises(SignatureError):
        trust.fetch_as_device(device)


def test_a_missing_pinned_root_says_what_to_do(trust: TrustFolder, device: Path) -> None:
    repository = Repository("http://server", device / "root.json", device / "trust")
    with pytest.raises(StorageError) as refused:
        fetch_manifest(repository, TARGET_PATH, trust.fetch, NOW)
    assert "is missing" in str(refused.value)
    assert refused.value.remedy


def test_a_trust_folder_that_cannot_be_written_is_a_storage_error(trust: TrustFolder, device: Path) -> None:
    (device / "trust" / "timestamp.json").mkdir(parents=True)
    with pytest.raises(StorageError, match="keep signed metadata"):
        trust.fetch_as_device(device)
