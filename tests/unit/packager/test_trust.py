"""What a publisher signs, believes and remembers."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from contract.errors import (
    ConflictError,
    NotFoundError,
    RollbackAttackError,
    ServerUnavailableError,
    SignatureError,
    StorageError,
)
from packager.keys import KeySet, create_keys
from packager.memory import Memory
from packager.trust import (
    ROOT_LIFETIME,
    TARGETS_LIFETIME,
    Repository,
    Signed,
    check_own_root,
    fetch_trusted,
    read_targets,
    sign_first_root,
    sign_first_targets,
    sign_next_root,
    sign_next_targets,
)
from server.trust.additions import target_of
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


def look(
    trust: TrustFolder, cache: Path, last: Signed | None = None, *, day: float = 0
) -> tuple[Signed, Signed]:
    """Fetch as the publisher, some days later."""
    repository = Repository("http://server", cache)
    return fetch_trusted(repository, trust.root, last, trust.fetch, later(days=day))


def test_signed_targets_hold_everything_published_and_the_new(trust: TrustFolder) -> None:
    path = TARGET_PATH.replace("1.0.0", "1.1.0")
    signed = sign_next_targets(trust.targets, {path: manifest_bytes(version="1.1.0")}, trust.keys, NOW)
    assert signed.version == trust.targets.version + 1
    assert signed.expires == NOW + TARGETS_LIFETIME
    assert set(signed.digests) == {TARGET_PATH, path}
    assert signed.digests[TARGET_PATH] == target_of(manifest_bytes()).hashes["sha256"]


def test_several_root_keys_and_a_threshold_are_possible(tmp_path: Path, trust: TrustFolder) -> None:
    second = create_keys(tmp_path / "second")
    both = dataclasses.replace(trust.keys, root=(*trust.keys.root, *second.root))
    signed = sign_first_root(both, trust.repository.online_key(), NOW, threshold=2)
    check_own_root(signed.content, both)
    one = json.loads(signed.content)
    del one["signatures"][0]
    with pytest.raises(SignatureError, match="signed by 1/2 keys"):
        check_own_root(json.dumps(one).encode(), both)


def test_a_server_key_that_claims_to_be_the_publishers_is_refused(trust: TrustFolder, tmp_path: Path) -> None:
    """Or the root would hold the server's key under the name of the publisher's targets key."""
    keys = create_keys(tmp_path / "keys")
    mine = keys.targets[0].public_key
    for stolen in (
        {**trust.repository.online_key(), "keyid": mine.keyid},
        {**trust.repository.online_key(), "keyval": mine.keyval},
    ):
        with pytest.raises(SignatureError, match="as its own"):
            sign_first_root(keys, stolen, NOW)


@pytest.mark.parametrize("key", [{}, {"keyid": "x"}, {"keyid": "x", "keytype": 1, "scheme": 2, "keyval": 3}])
def test_a_server_key_that_is_none_is_refused(tmp_path: Path, key: dict[str, object]) -> None:
    with pytest.raises(SignatureError, match="cannot be understood"):
        sign_first_root(create_keys(tmp_path / "keys"), key, NOW)


def test_a_root_signed_by_these_keys_is_taken_over(trust: TrustFolder) -> None:
    assert check_own_root(trust.root.content, trust.keys) == trust.root


def test_a_root_of_another_publisher_is_refused(trust: TrustFolder, tmp_path: Path) -> None:
    with pytest.raises(ConflictError, match="another publisher's root key"):
        check_own_root(trust.root.content, create_keys(tmp_path / "keys"))


def test_a_root_with_these_keys_but_without_their_signature_is_refused(trust: TrustFolder) -> None:
    unsigned = json.loads(trust.root.content)
    unsigned["signed"]["version"] = 2
    with pytest.raises(SignatureError):
        check_own_root(json.dumps(unsigned).encode(), trust.keys)


def test_what_is_no_root_is_refused(trust: TrustFolder) -> None:
    with pytest.raises(SignatureError, match="expected root metadata, got targets"):
        check_own_root(trust.targets.content, trust.keys)


def test_what_the_server_has_is_verified(trust: TrustFolder, tmp_path: Path) -> None:
    assert look(trust, tmp_path / "cache") == (trust.root, trust.targets)


def test_targets_by_a_stolen_server_are_refused(trust: TrustFolder, tmp_path: Path) -> None:
    thief = create_keys(tmp_path / "thief")
    serve_forged_targets(trust, sign_next_targets(trust.targets, {}, thief, NOW).content)
    with pytest.raises(SignatureError, match="does not verify under the pinned root"):
        look(trust, tmp_path / "cache")


def test_a_server_that_stopped_renewing_is_refused(trust: TrustFolder, tmp_path: Path) -> None:
    with pytest.raises(RollbackAttackError, match="expired or too old"):
        look(trust, tmp_path / "cache", day=2)


def test_own_signatures_that_expired_can_still_be_renewed(trust: TrustFolder, tmp_path: Path) -> None:
    trust.repository.refresh(later(days=400))
    assert trust.root.expires == NOW + ROOT_LIFETIME < later(days=400)
    root, targets = look(trust, tmp_path / "cache", trust.targets, day=400)
    new_root = sign_next_root(root, trust.keys, later(days=400))
    new_targets = sign_next_targets(targets, {}, trust.keys, later(days=400))
    assert trust.repository.establish(new_root.content, new_targets.content, later(days=400))
    assert trust.fetch_as_device(tmp_path / "device", now=later(days=400)) == manifest_bytes()


def test_a_server_that_cannot_be_reached_may_be_tried_again(trust: TrustFolder, tmp_path: Path) -> None:
    def unreachable(url: str) -> Iterator[bytes]:
        raise ServerUnavailableError(f"{url} does not answer")

    repository = Repository("http://server", tmp_path / "cache")
    with pytest.raises(ServerUnavailableError, match="does not answer"):
        fetch_trusted(repository, trust.root, None, unreachable, NOW)
    with pytest.raises(NotFoundError):
        fetch_trusted(repository, trust.root, None, missing, NOW)


def test_a_server_that_sends_without_end_is_cut_off(trust: TrustFolder, tmp_path: Path) -> None:
    def endless(url: str) -> Iterator[bytes]:
        return itertools.repeat(bytes(1000)) if url.endswith("timestamp.json") else trust.fetch(url)

    with pytest.raises(ServerUnavailableError, match="exceeding"):
        fetch_trusted(Repository("http://server", tmp_path / "cache"), trust.root, None, endless, NOW)


def test_a_cache_that_cannot_be_written_is_a_storage_error(trust: TrustFolder, tmp_path: Path) -> None:
    (tmp_path / "cache").touch()
    with pytest.raises(StorageError):
        look(trust, tmp_path / "cache")


@pytest.fixture
def keys(tmp_path: Path) -> KeySet:
    return create_keys(tmp_path / "keys")


def test_a_new_memory_is_empty(keys: KeySet) -> None:
    memory = Memory(keys.folder)
    assert memory.root() is None
    assert memory.targets() is None


def test_what_was_kept_is_remembered(trust: TrustFolder, keys: KeySet) -> None:
    Memory(keys.folder).keep(trust.root, trust.targets)
    assert Memory(keys.folder).root() == trust.root
    assert Memory(keys.folder).targets() == trust.targets
    Memory(keys.folder).keep(trust.root, trust.targets)
    newer, _ = trust.sign(a_manifest(version="1.1.0"))
    Memory(keys.folder).keep(trust.root, newer)
    assert Memory(keys.folder).targets() == newer


def test_a_server_that_shows_older_targets_is_refused(trust: TrustFolder, keys: KeySet) -> None:
    memory = Memory(keys.folder)
    memory.keep(trust.root, trust.targets)
    first = sign_first_targets(trust.keys, NOW)
    with pytest.raises(RollbackAttackError, match="shows targets 1, but these keys signed 2"):
        memory.keep(trust.root, first)
    assert memory.targets() == trust.targets


def test_a_server_that_shows_others_under_the_same_number_is_refused(
    trust: TrustFolder, keys: KeySet
) -> None:
    memory = Memory(keys.folder)
    memory.keep(trust.root, trust.targets)
    other = sign_next_targets(sign_first_targets(trust.keys, NOW), {}, trust.keys, NOW)
    assert other.version == trust.targets.version
    with pytest.raises(RollbackAttackError, match="other targets 2"):
        memory.keep(trust.root, other)


def test_the_cache_is_beside_the_keys(keys: KeySet) -> None:
    assert Memory(keys.folder).cache == keys.folder / "cache"


def test_a_damaged_memory_is_refused(trust: TrustFolder, keys: KeySet) -> None:
    memory = Memory(keys.folder)
    memory.keep(trust.root, trust.targets)
    (keys.folder / "targets.json").write_bytes(trust.targets.content[:-10])
    with pytest.raises(SignatureError):
        memory.targets()


def test_a_folder_that_cannot_be_written_is_a_storage_error(trust: TrustFolder, tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        Memory(tmp_path / "absent").keep(trust.root, read_targets(trust.targets.content))


def test_a_file_in_the_way_leaves_no_draft(trust: TrustFolder, keys: KeySet) -> None:
    (keys.folder / "root.json" / "inside").mkdir(parents=True)
    before = sorted(path.name for path in keys.folder.iterdir())
    with pytest.raises(StorageError):
        Memory(keys.folder).keep(trust.root, trust.targets)
    assert sorted(path.name for path in keys.folder.iterdir()) == before
