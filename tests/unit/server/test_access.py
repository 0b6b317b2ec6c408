"""Tokens and roles."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from contract.errors import ConfigError, ConflictError, StorageError
from server.trust.access import Access, Role, create_tokens, token_path


def test_tokens_are_secret_long_and_different(tmp_path: Path) -> None:
    create_tokens(tmp_path / "secrets")
    tokens = {token_path(tmp_path / "secrets", role).read_text().strip() for role in Role}
    assert len(tokens) == 2
    assert all(len(token) >= 43 for token in tokens)  # 256 bits in base64
    for role in Role:
        assert stat.S_IMODE(token_path(tmp_path / "secrets", role).stat().st_mode) == 0o600


def test_a_token_gives_its_role_and_nothing_else_does(tmp_path: Path) -> None:
    create_tokens(tmp_path)
    access = Access(tmp_path)
    for role in Role:
        assert access.role_of(token_path(tmp_path, role).read_text().strip()) is role
    for token in ("", "x", "\udcff", "é" * 43, token_path(tmp_path, Role.OPERATOR).read_text()):
        assert access.role_of(token) is None


def test_the_tokens_themselves_are_not_kept(tmp_path: Path) -> None:
    create_tokens(tmp_path)
    token = token_path(tmp_path, Role.OPERATOR).read_text().strip()
    assert token not in repr(vars(Access(tmp_path)))


def test_tokens_are_never_overwritten(tmp_path: Path) -> None:
    create_tokens(tmp_path)
    before = token_path(tmp_path, Role.PUBLISHER).read_bytes()
    token_path(tmp_path, Role.OPERATOR).unlink()
    with pytest.raises(ConflictError, match=r"publisher\.token is there already"):
        create_tokens(tmp_path)
    assert token_path(tmp_path, Role.PUBLISHER).read_bytes() == before
    assert not token_path(tmp_path, Role.OPERATOR).exists()


def test_a_missing_token_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        Access(tmp_path)


def test_an_empty_token_stops_the_start(tmp_path: Path) -> None:
    create_tokens(tmp_path)
    token_path(tmp_path, Role.OPERATOR).write_text("\n")
    with pytest.raises(ConfigError, match="is empty"):
        Access(tmp_path)


def test_one_token_for_two_roles_stops_the_start(tmp_path: Path) -> None:
    create_tokens(tmp_path)
    shared = token_path(tmp_path, Role.PUBLISHER).read_text()
    token_path(tmp_path, Role.OPERATOR).write_text(shared)
    with pytest.raises(ConfigError) as refused:
        Access(tmp_path)
    assert shared.strip() not in refused.value.diagnostics()


def test_a_folder_that_cannot_be_written_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError):
        create_tokens(tmp_path / "file")
