"""Which signed metadata the server accepts, and what it signs itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tuf.api.metadata import Delegations, Key, Metadata, Root, Snapshot, Targets, Timestamp

from contract.errors import ConfigError, ConflictError, SignatureError, TooLargeError
from packager.keys import KeySet, create_keys
from packager.trust import (
    TARGETS_LIFETIME,
    sign_first_root,
    sign_first_targets,
    sign_next_root,
    sign_next_targets,
)
from server.trust.metadata import (
    METADATA_MAX_BYTES,
    SNAPSHOT_LIFETIME,
    TIMESTAMP_LIFETIME,
    OnlineKey,
    TrustedRoot,
    load_snapshot,
    load_targets,
    load_timestamp,
    verify_root,
    verify_targets,
)
from tests.support.trust_folder import NOW, TARGET_PATH, later, manifest_bytes


@pytest.fixture(scope="module")
def online() -> OnlineKey:
    return OnlineKey(OnlineKey.generate())


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> KeySet:
    return create_keys(tmp_path_factory.mktemp("publisher") / "keys")


@pytest.fixture(scope="module")
def other_keys(tmp_path_factory: pytest.TempPathFactory) -> KeySet:
    return create_keys(tmp_path_factory.mktemp("other") / "keys")


@pytest.fixture(scope="module")
def trusted(online: OnlineKey, keys: KeySet) -> TrustedRoot:
    return verify_root(sign_first_root(keys, online.public(), NOW).content, None, online, NOW)


def resigned(content: bytes, keys: KeySet, change: Callable[[Root], None]) -> bytes:
    """A root with a change, signed by the publisher."""
    metadata: Metadata[Root] = Metadata.from_bytes(content)
    change(metadata.signed)
    metadata.sign(keys.root[0])
    return metadata.to_bytes()


def test_the_first_root_is_accepted(trusted: TrustedRoot) -> None:
    assert trusted.version == 1


def test_a_key_that_is_none_stops_the_start() -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        OnlineKey(b"-----BEGIN PRIVATE KEY-----")
    foreign = X25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(ConfigError, match="not ed25519"):
        OnlineKey(foreign)


def test_the_public_key_has_no_private_half(online: OnlineKey) -> None:
    public = online.public()
    assert set(public) == {"keyid", "keytype", "scheme", "keyval"}
    assert public["keytype"] == "ed25519"
    assert isinstance(public["keyval"], dict)
    assert set(public["keyval"]) == {"public"}


def test_a_first_root_must_be_version_one(online: OnlineKey, keys: KeySet) -> None:
    second = sign_next_root(sign_first_root(keys, online.public(), NOW), keys, NOW)
    with pytest.raises(ConflictError, match="root version 2 cannot follow 0"):
        verify_root(second.content, None, online, NOW)


def test_a_root_that_its_keys_did_not_sign_is_refused(
    online: OnlineKey, keys: KeySet, other_keys: KeySet
) -> None:
    root = resigned(sign_first_root(keys, online.public(), NOW).content, other_keys, lambda _: None)
    with pytest.raises(SignatureError, match="signed by 0/1"):
        verify_root(root, None, online, NOW)


def test_another_first_root_is_refused(online: OnlineKey, trusted: TrustedRoot, other_keys: KeySet) -> None:
    foreign = sign_first_root(other_keys, online.public(), NOW)
    with pytest.raises(ConflictError, match="trusts another root already"):
        verify_root(foreign.content, trusted, online, NOW)


def test_a_next_root_needs_the_old_roots_signature(
    online: OnlineKey, keys: KeySet, trusted: TrustedRoot, other_keys: KeySet
) -> None:
    own = sign_next_root(sign_first_root(keys, online.public(), NOW), keys, later(days=1))
    assert verify_root(own.content, trusted, online, NOW).version == 2
    foreign = sign_next_root(sign_first_root(other_keys, online.public(), NOW), other_keys, NOW)
    with pytest.raises(SignatureError, match="signed by 0/1"):
        verify_root(foreign.content, trusted, online, NOW)


def test_a_root_that_skips_a_version_is_refused(
    online: OnlineKey, keys: KeySet, trusted: TrustedRoot
) -> None:
    second = sign_next_root(sign_first_root(keys, online.public(), NOW), keys, NOW)
    with pytest.raises(ConflictError, match="cannot follow 1"):
        verify_root(sign_next_root(second, keys, NOW).content, trusted, online, NOW)


def test_a_root_with_another_servers_key_is_refused(online: OnlineKey, keys: KeySet) -> None:
    root = sign_first_root(keys, OnlineKey(OnlineKey.generate()).public(), NOW)
    with pytest.raises(SignatureError) as refused:
        verify_root(root.content, None, online, NOW)
    assert len(refused.value.faults) == 2
    assert all("this server's key alone" in fault for fault in refused.value.faults)


def test_a_root_with_this_servers_key_for_targets_is_refused(online: OnlineKey, keys: KeySet) -> None:
    def add(root: Root) -> None:
        root.add_key(Key.from_dict(str(online.public()["keyid"]), key_fields(online)), Targets.type)
        root.add_key(Key.from_dict(str(online.public()["keyid"]), key_fields(online)), Root.type)

    root = resigned(sign_first_root(keys, online.public(), NOW).content, keys, add)
    with pytest.raises(SignatureError) as refused:
        verify_root(root, None, online, NOW)
    assert refused.value.faults == (
        "root: must not be signed by this server's key",
        "targets: must not be signed by this server's key",
    )


def key_fields(online: OnlineKey) -> dict[str, object]:
    return {name: value for name, value in online.public().items() if name != "keyid"}


def test_a_root_without_consistent_snapshots_is_refused(online: OnlineKey, keys: KeySet) -> None:
    def change(root: Root) -> None:
        root.consistent_snapshot = False

    root = resigned(sign_first_root(keys, online.public(), NOW).content, keys, change)
    with pytest.raises(SignatureError) as refused:
        verify_root(root, None, online, NOW)
    assert refused.value.faults == ("consistent_snapshot: must be true",)


def test_an_expired_root_is_refused(online: OnlineKey, keys: KeySet) -> None:
    root = sign_first_root(keys, online.public(), NOW)
    with pytest.raises(SignatureError) as refused:
        verify_root(root.content, None, online, later(days=366))
    assert refused.value.faults == ("expired at 2027-11-21T12:00:00+00:00",)


def test_targets_follow_targets(keys: KeySet, trusted: TrustedRoot) -> None:
    first = sign_first_targets(keys, NOW)
    before = verify_targets(first.content, trusted, None, NOW)
    second = sign_next_targets(first, {TARGET_PATH: manifest_bytes()}, keys, NOW)
    after = verify_targets(second.content, trusted, before, NOW)
    assert (after.version, list(after.targets)) == (2, [TARGET_PATH])
    with pytest.raises(ConflictError, match="targets version 2 cannot follow 2"):
        verify_targets(second.content, trusted, after, NOW)


def test_targets_by_another_key_are_refused(other_keys: KeySet, trusted: TrustedRoot) -> None:
    with pytest.raises(SignatureError, match="targets was signed by 0/1"):
        verify_targets(sign_first_targets(other_keys, NOW).content, trusted, None, NOW)


def test_targets_by_the_root_key_are_refused(keys: KeySet, trusted: TrustedRoot) -> None:
    metadata = Metadata[Targets](Targets(expires=later(days=1)))
    metadata.sign(keys.root[0])
    with pytest.raises(SignatureError, match="targets was signed by 0/1"):
        verify_targets(metadata.to_bytes(), trusted, None, NOW)


def test_expired_targets_are_refused(keys: KeySet, trusted: TrustedRoot) -> None:
    first = sign_first_targets(keys, NOW)
    with pytest.raises(SignatureError, match="expired"):
        verify_targets(first.content, trusted, None, NOW + TARGETS_LIFETIME)


def test_delegating_targets_are_refused(keys: KeySet, trusted: TrustedRoot) -> None:
    metadata = Metadata[Targets](Targets(expires=later(days=1), delegations=Delegations({}, {})))
    metadata.sign(keys.targets[0])
    with pytest.raises(SignatureError, match="delegate"):
        verify_targets(metadata.to_bytes(), trusted, None, NOW)


def test_metadata_of_another_kind_is_refused(keys: KeySet, trusted: TrustedRoot) -> None:
    with pytest.raises(SignatureError, match="expected targets metadata, got root"):
        verify_targets(trusted.content, trusted, None, NOW)


def test_metadata_above_the_limit_is_not_even_read(trusted: TrustedRoot) -> None:
    with pytest.raises(TooLargeError):
        verify_targets(bytes(METADATA_MAX_BYTES + 1), trusted, None, NOW)


def test_snapshot_and_timestamp_name_what_they_make_valid(online: OnlineKey, keys: KeySet) -> None:
    targets = load_targets(sign_first_targets(keys, NOW).content)
    snapshot = online.sign_snapshot(7, targets, NOW)
    timestamp = online.sign_timestamp(9, snapshot, NOW)
    assert load_snapshot(snapshot.content) == snapshot
    assert load_timestamp(timestamp.content) == timestamp
    assert (snapshot.version, snapshot.names_version, snapshot.expires) == (7, 1, NOW + SNAPSHOT_LIFETIME)
    assert (timestamp.version, timestamp.names_version) == (9, 7)
    assert timestamp.expires == NOW + TIMESTAMP_LIFETIME
    stored: Metadata[Snapshot] = Metadata.from_bytes(snapshot.content)
    stored.signed.meta["targets.json"].verify_length_and_hashes(targets.content)
    named: Metadata[Timestamp] = Metadata.from_bytes(timestamp.content)
    named.signed.snapshot_meta.verify_length_and_hashes(snapshot.content)


def test_a_key_file_can_be_read_again(tmp_path: Path) -> None:
    pem = OnlineKey.generate()
    assert OnlineKey(pem).public() == OnlineKey(pem).public()
