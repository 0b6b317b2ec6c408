"""Artifacts on the server's disk."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from contract.errors import DigestError, ManifestError, NotFoundError, StorageError, TooLargeError
from server.storage.artifacts import ArtifactStore

CONTENT = b"some model " * 1000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class HungUpError(Exception):
    """The client went away."""


def files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def in_blocks(content: bytes, size: int = 1000) -> Iterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


def test_an_artifact_is_kept_under_its_digest(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    assert not store.has(DIGEST)
    assert store.write(DIGEST, in_blocks(CONTENT))
    assert store.has(DIGEST)
    assert store.size_bytes(DIGEST) == len(CONTENT)
    assert store.path(DIGEST).read_bytes() == CONTENT
    assert files_in(tmp_path) == [f"{DIGEST[:2]}/{DIGEST}"]


def test_an_artifact_that_is_there_is_not_read_again(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    store.write(DIGEST, [CONTENT])
    rest = in_blocks(CONTENT)
    assert not store.write(DIGEST, rest)
    assert next(rest)


def test_other_bytes_than_the_digest_leave_nothing(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    with pytest.raises(DigestError, match=f"artifact {DIGEST} arrived as"):
        store.write(DIGEST, [CONTENT, b"x"])
    with pytest.raises(DigestError):
        store.write(DIGEST, [])
    assert files_in(tmp_path) == []


def test_an_upload_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    def broken() -> Iterator[bytes]:
        yield CONTENT[:100]
        raise HungUpError

    store = ArtifactStore(tmp_path)
    with pytest.raises(HungUpError):
        store.write(DIGEST, broken())
    assert files_in(tmp_path) == []


def test_an_artifact_above_the_limit_is_cut_off(tmp_path: Path) -> None:
    read = 0

    def endless() -> Iterator[bytes]:
        nonlocal read
        while True:
            read += 1000
            yield bytes(1000)

    store = ArtifactStore(tmp_path, max_bytes=10_000)
    with pytest.raises(TooLargeError):
        store.write(DIGEST, endless())
    assert read == 11_000
    assert files_in(tmp_path) == []


def test_what_a_killed_process_left_is_dropped(tmp_path: Path) -> None:
    ArtifactStore(tmp_path)
    (tmp_path / ".incoming" / "draft").write_bytes(b"half")
    ArtifactStore(tmp_path)
    assert files_in(tmp_path) == []


@pytest.mark.parametrize("name", ["../../etc/passwd", DIGEST.upper(), DIGEST[:-1], "", ".incoming"])
def test_what_is_no_digest_reaches_no_file(tmp_path: Path, name: str) -> None:
    store = ArtifactStore(tmp_path)
    for call in (store.path, store.has, store.verify):
        with pytest.raises(ManifestError):
            call(name)
    with pytest.raises(ManifestError):
        store.write(name, [b""])


def test_an_unknown_artifact_is_not_found(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    assert not store.verify(DIGEST)
    with pytest.raises(NotFoundError):
        store.path(DIGEST)


def test_a_flipped_byte_is_served_but_found_by_verifying_and_can_be_mended(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    store.write(DIGEST, [CONTENT])
    assert store.verify(DIGEST)
    spoiled = bytearray(CONTENT)
    spoiled[17] ^= 1
    store.path(DIGEST).write_bytes(spoiled)
    assert store.path(DIGEST).read_bytes() == spoiled
    assert not store.verify(DIGEST)
    assert not store.has(DIGEST)
    assert store.write(DIGEST, [CONTENT])
    assert store.verify(DIGEST)


def test_a_folder_that_cannot_be_used_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError):
        ArtifactStore(tmp_path / "file")
