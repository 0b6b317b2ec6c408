"""The publisher's keys."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from contract.errors import ConfigError, ConflictError, StorageError
from packager.keys import ROOT_KEY_FILE, TARGETS_KEY_FILE, create_keys, load_keys


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_new_keys_are_two_different_ones_that_only_the_owner_can_read(tmp_path: Path) -> None:
    keys = create_keys(tmp_path / "config" / "keys")
    assert keys.root[0].public_key.keyid != keys.targets[0].public_key.keyid
    assert {signer.public_key.keytype for signer in (*keys.root, *keys.targets)} == {"ed25519"}
    assert mode_of(keys.folder) == 0o700
    assert sorted(path.name for path in keys.folder.iterdir()) == [ROOT_KEY_FILE, TARGETS_KEY_FILE]
    assert {mode_of(path) for path in keys.folder.iterdir()} == {0o600}
    assert [path.name for path in (tmp_path / "config").iterdir()] == ["keys"]


def test_keys_can_be_loaded_again(tmp_path: Path) -> None:
    made, loaded = create_keys(tmp_path / "keys"), load_keys(tmp_path / "keys")
    assert loaded.root[0].public_key == made.root[0].public_key
    assert loaded.targets[0].public_key == made.targets[0].public_key


def test_an_empty_folder_may_be_used(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir(mode=0o755)
    create_keys(tmp_path / "keys")
    assert mode_of(tmp_path / "keys") == 0o700


def test_keys_are_never_overwritten(tmp_path: Path) -> None:
    create_keys(tmp_path / "keys")
    before = (tmp_path / "keys" / ROOT_KEY_FILE).read_bytes()
    with pytest.raises(ConflictError, match="never overwritten") as refused:
        create_keys(tmp_path / "keys")
    assert "--keys" in refused.value.remedy
    assert (tmp_path / "keys" / ROOT_KEY_FILE).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["keys"]


def test_a_folder_that_cannot_be_made_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError):
        create_keys(tmp_path / "file" / "keys")


def test_missing_keys_are_told_how_to_make_them(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no key") as refused:
        load_keys(tmp_path)
    assert f"litefleet-packager keys init --keys {tmp_path}" in refused.value.remedy


def test_a_key_that_others_can_read_is_not_used(tmp_path: Path) -> None:
    create_keys(tmp_path / "keys")
    (tmp_path / "keys" / TARGETS_KEY_FILE).chmod(0o640)
    with pytest.raises(ConfigError, match="can be read by others") as refused:
        load_keys(tmp_path / "keys")
    assert refused.value.remedy.startswith("chmod 600")


def test_a_file_that_is_no_key_is_refused(tmp_path: Path) -> None:
    keys = create_keys(tmp_path / "keys")
    path = keys.folder / ROOT_KEY_FILE
    path.write_bytes(b"-----BEGIN PRIVATE KEY-----")
    with pytest.raises(ConfigError, match="not a private key"):
        load_keys(keys.folder)
    path.write_bytes(
        X25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    with pytest.raises(ConfigError, match="not an ed25519 key"):
        load_keys(keys.folder)
    path.unlink()
    path.mkdir()
    with pytest.raises(ConfigError, match="cannot be read"):
        load_keys(keys.folder)
