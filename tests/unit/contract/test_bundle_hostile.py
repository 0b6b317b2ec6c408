"""Reading files that only look like bundles: all of them are refused, and none costs memory."""

from __future__ import annotations

import stat
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contract.bundle import BundleReader
from contract.bundle_layout import BUNDLE_MAX_BYTES, TAIL_BYTES, End, member_faults, parse_end
from contract.errors import DigestError, ManifestError, RejectedError
from contract.manifest import serialize_manifest
from tests.support.builders import MODEL_BYTES, a_bundle, a_manifest, an_artifact
from tests.support.contract_zip import END, Member, changed, members_of, zip_bytes

MODEL = an_artifact(MODEL_BYTES).sha256


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return a_bundle(tmp_path_factory.mktemp("sound"))


@pytest.fixture(scope="module")
def members(sound: Path) -> list[Member]:
    return members_of(sound)


def read_whole(content: bytes, path: Path) -> None:
    """Read a bundle and every artifact of it."""
    path.write_bytes(content)
    with BundleReader(path) as reader:
        for digest in reader.manifest.artifacts():
            reader.read_artifact(digest)


def refusal(content: bytes, folder: Path) -> RejectedError:
    with pytest.raises((ManifestError, DigestError)) as caught:
        read_whole(content, folder / "hostile.bundle")
    assert len(caught.value.summary()) < 20_000
    return caught.value


def test_the_builder_of_hostile_bundles_builds_sound_ones_from_the_truth(
    sound: Path, members: list[Member]
) -> None:
    assert zip_bytes(members) == sound.read_bytes()


Spoil = Callable[[list[Member]], bytes]
BOMB = zlib.compress(b"\0" * (64 << 20), 9)[2:-4]  # raw deflate
LOCATOR = struct.pack("<4sLQL", b"PK\x06\x07", 0, 0, 1)

STRANGER = "only artifacts/<sha256>, provenance.json and sbom.json may stand here"
HOSTILE: list[tuple[str, Spoil, str]] = [
    ("nothing", lambda _: b"", "does not end as a bundle does"),
    ("no ZIP", lambda _: b"PK" * 500, "does not end as a bundle does"),
    ("an empty ZIP", lambda _: zip_bytes([]), "does not end as a bundle does"),
    ("a ZIP without members", lambda _: zip_bytes([], before_end=b"\0" * 46), "is not a bundle"),
    ("no manifest", lambda m: zip_bytes(m[1:]), "the first member is not manifest.json"),
    (
        "the manifest not first",
        lambda m: zip_bytes([m[1], m[0], m[2]]),
        "the first member is not manifest.json",
    ),
    ("artifacts in another order", lambda m: zip_bytes([m[0], m[2], m[1]]), "ascending order"),
    ("a member twice", lambda m: zip_bytes([*m, m[-1]]), "ascending order, each once"),
    (
        "two manifests",
        lambda m: zip_bytes([m[0], *m]),
        STRANGER,
    ),
    ("too many members", lambda m: zip_bytes([m[0]] + [m[1]] * 36), "at most 36 are read"),
    ("an artifact missing", lambda m: zip_bytes(m[:-1]), ": missing"),
    (
        "an artifact too many",
        lambda m: zip_bytes([*m, Member(b"artifacts/" + b"f" * 64)]),
        "not in the manifest",
    ),
    (
        "an artifact of another size",
        lambda m: zip_bytes(changed(m, 1, content=m[1].content + b"!")),
        "the manifest says",
    ),
    ("a climbing path", lambda m: zip_bytes([*m, Member(b"artifacts/../../x")]), "may stand here"),
    ("an absolute path", lambda m: zip_bytes([*m, Member(b"/etc/passwd")]), "may stand here"),
    ("a path with a backslash", lambda m: zip_bytes([*m, Member(b"artifacts\\x")]), "may stand here"),
    ("another folder", lambda m: zip_bytes([*m, Member(b"other/" + b"f" * 64)]), "may stand here"),
    ("a folder", lambda m: zip_bytes([*m, Member(b"artifacts/")]), "may stand here"),
    ("a symbolic link", lambda m: zip_bytes(changed(m, 1, mode=stat.S_IFLNK | 0o777)), "not a plain file"),
    ("a device", lambda m: zip_bytes(changed(m, 1, mode=stat.S_IFBLK | 0o600)), "not a plain file"),
    ("a hidden name", lambda m: zip_bytes(changed(m, 2, name=m[2].name + b"\0/../x")), "a hidden name"),
    ("an extra field", lambda m: zip_bytes(changed(m, 1, extra=b"\xca\xfe\0\0")), "an extra field"),
    (
        "a ZIP64 extra field",
        lambda m: zip_bytes(
            changed(
                m, 1, size=0xFFFFFFFF, stored=0xFFFFFFFF, extra=struct.pack("<2H2Q", 1, 16, 1 << 60, 1 << 60)
            )
        ),
        "an extra field",
    ),
    (
        "a nested ZIP64 extra field that is cut off",
        lambda m: zip_bytes(changed(m, 1, size=0xFFFFFFFF, extra=struct.pack("<2H", 1, 16))),
        "is not a bundle",
    ),
    ("a member's comment", lambda m: zip_bytes(changed(m, 1, comment=b"hello")), "a comment"),
    (
        "a deflated bomb",
        lambda m: zip_bytes(changed(m, 1, method=8, content=BOMB, size=64 << 20)),
        "compressed",
    ),
    ("an unknown method", lambda m: zip_bytes(changed(m, 1, method=99)), "compressed"),
    ("an encrypted member", lambda m: zip_bytes(changed(m, 1, flags=0x1)), "encrypted"),
    ("a strongly encrypted member", lambda m: zip_bytes(changed(m, 1, flags=0x41)), "encrypted"),
    ("a streamed member", lambda m: zip_bytes(changed(m, 1, flags=0x8)), "streamed"),
    ("a patch", lambda m: zip_bytes(changed(m, 0, flags=0x20)), "streamed"),
    ("a size that lies", lambda m: zip_bytes(changed(m, 1, size=5)), "two sizes"),
    ("a stored size that lies", lambda m: zip_bytes(changed(m, 1, stored=5)), "two sizes"),
    ("both sizes lie", lambda m: zip_bytes(changed(m, 1, size=1 << 30, stored=1 << 30)), "begins at"),
    (
        "a manifest of gigabytes",
        lambda m: zip_bytes(changed(m, 0, size=1 << 31, stored=1 << 31)),
        "at most 1048576",
    ),
    (
        "an artifact of gigabytes",
        lambda m: zip_bytes(changed(m, 1, size=3 << 30, stored=3 << 30)),
        "at most 2147483648",
    ),
    ("a gap between members", lambda m: zip_bytes(changed(m, 1, gap=b"hidden")), "begins at"),
    ("a gap before the manifest", lambda m: zip_bytes(changed(m, 0, gap=b"#!/bin/sh\n")), "begins at"),
    (
        "a gap before the directory",
        lambda m: zip_bytes(m[:-1] + changed(m[-1:], 0, local_extra=b"x" * 8)),
        "members end",
    ),
    ("members that overlap", lambda m: zip_bytes(changed(m, 1, offset=0)), "begins at 0"),
    ("an offset beyond the file", lambda m: zip_bytes(changed(m, 1, offset=0xFFFFFFF0)), "begins at"),
    (
        "another name in the local header",
        lambda m: zip_bytes(changed(m, 0, local_name=b"manifest.jsox")),
        "is damaged",
    ),
    ("a wrong checksum of the manifest", lambda m: zip_bytes(changed(m, 0, crc=1)), "is damaged"),
    ("a wrong checksum of an artifact", lambda m: zip_bytes(changed(m, 1, crc=1)), "is damaged"),
    (
        "another artifact with the right checksum",
        lambda m: zip_bytes(changed(m, 1, content=m[1].content[:-1] + b"!")),
        "is damaged",
    ),
    (
        "a manifest that is no JSON",
        lambda m: zip_bytes(changed(m, 0, content=b"{")),
        "manifest cannot be read",
    ),
    (
        "a manifest that is not complete",
        lambda m: zip_bytes(changed(m, 0, content=serialize_manifest(a_manifest(golden=None)))),
        "golden: missing",
    ),
    ("bytes behind the end", lambda m: zip_bytes(m) + b"\0", "does not end as a bundle does"),
    ("another ZIP behind the end", lambda m: zip_bytes(m) * 2, "its directory is not where"),
    ("bytes before the begin", lambda m: b"#!/bin/sh\n" + zip_bytes(m), "its directory is not where"),
    ("a comment", lambda m: zip_bytes(m, comment=3) + b"foo", "does not end as a bundle does"),
    ("a comment that is not there", lambda m: zip_bytes(m, comment=3), "several disks or a comment"),
    ("several disks", lambda m: zip_bytes(m, disk=1), "several disks or a comment"),
    ("ZIP64 counts", lambda m: zip_bytes(m, count=0xFFFF), "at most 36 are read"),
    ("ZIP64 sizes", lambda m: zip_bytes(m, size=0xFFFFFFFF, offset=0xFFFFFFFF), "at most 36 are read"),
    ("a ZIP64 locator", lambda m: zip_bytes(m, before_end=LOCATOR), "has ZIP64 records"),
    (
        "a ZIP64 end record that tells of an endless directory",
        lambda m: zip_bytes(
            m,
            before_end=struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 3, 3, 1 << 40, 0) + LOCATOR,
        ),
        "has ZIP64 records",
    ),
    ("a directory larger than any", lambda m: zip_bytes(m, size=1 << 20), "at most 36 are read"),
    ("fewer members than there are", lambda m: zip_bytes(m, count=2), "3 members, the end record says 2"),
    ("more members than there are", lambda m: zip_bytes(m, count=4), "3 members, the end record says 4"),
    ("a directory of rubbish", lambda m: zip_bytes(m[:1], before_end=b"x" * 50), "is not a bundle"),
    ("a directory in the wrong place", lambda m: zip_bytes(m, offset=0), "its directory is not where"),
]


@pytest.mark.parametrize(("spoil", "fault"), [row[1:] for row in HOSTILE], ids=[row[0] for row in HOSTILE])
def test_is_refused(tmp_path: Path, members: list[Member], spoil: Spoil, fault: str) -> None:
    assert fault in refusal(spoil(members), tmp_path).summary()


def test_an_artifact_changed_with_its_checksum_is_a_digest_error(
    tmp_path: Path, members: list[Member]
) -> None:
    index = next(i for i, member in enumerate(members) if MODEL.encode() in member.name)
    spoiled = members[index].content[:-1] + b"!"
    error = refusal(zip_bytes(changed(members, index, content=spoiled)), tmp_path)
    assert isinstance(error, DigestError)


def test_local_extra_bytes_cannot_shift_another_content_in(tmp_path: Path, members: list[Member]) -> None:
    # The data of the second member begins 8 bytes late, and ends within the third one's header.
    shifted = changed(members, 1, local_extra=b"x" * 8, content=members[1].content[:-8])
    size = len(members[1].content)
    shifted = changed(shifted, 1, size=size, stored=size)
    refusal(zip_bytes(shifted), tmp_path)


def test_a_file_cut_off_anywhere_is_refused(tmp_path: Path, sound: Path) -> None:
    content = sound.read_bytes()
    for length in [*range(0, len(content), 101), *range(len(content) - 120, len(content))]:
        refusal(content[:length], tmp_path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(st.data())
def test_a_flipped_bit_is_refused_or_harmless(tmp_path: Path, sound: Path, data: st.DataObject) -> None:
    content = bytearray(sound.read_bytes())
    # Headers are where it is interesting: the first kilobytes and the directory at the end.
    place = data.draw(st.integers(0, 2200) | st.integers(len(content) - 420, len(content) - 1))
    content[place] ^= 1 << data.draw(st.integers(0, 7))
    path = tmp_path / "flipped.bundle"
    path.write_bytes(content)
    try:
        with BundleReader(path) as reader:
            assert reader.read_artifact(MODEL) == MODEL_BYTES
    except RejectedError:
        pass


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300), st.integers(0, 70_000), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_any_end_record_raises_manifest_error_alone(
    tmp_path: Path, body: bytes, count: int, size: int, offset: int
) -> None:
    end = END.pack(b"PK\x05\x06", 0, 0, count % 65_536, count % 65_536, size, offset, 0)
    refusal(body + end, tmp_path)
    fitting = END.pack(b"PK\x05\x06", 0, 0, count % 35, count % 35, len(body), 0, 0)
    refusal(body + fitting, tmp_path)


def test_an_enormous_directory_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "bomb.bundle"
    directory = 512 << 20
    with path.open("wb") as file:  # a sparse file: takes no space
        file.seek(directory)
        file.write(END.pack(b"PK\x05\x06", 0, 0, 3, 3, directory, 0, 0))
    tracemalloc.start()
    try:
        with pytest.raises(ManifestError, match="at most 36"):
            BundleReader(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20


def test_a_file_larger_than_any_bundle_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "large.bundle"
    with path.open("wb") as file:
        file.truncate(BUNDLE_MAX_BYTES + 1)
    with pytest.raises(ManifestError, match="at most 2000000000 are read"):
        BundleReader(path)


def test_what_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="No such file"):
        BundleReader(tmp_path / "missing.bundle")
    with pytest.raises(ManifestError, match="Is a directory"):
        BundleReader(tmp_path)


def test_a_directory_without_members_has_a_fault() -> None:
    end = parse_end((b"\0" * 20 + END.pack(b"PK\x05\x06", 0, 0, 0, 0, 0, 0, 0))[-TAIL_BYTES:], 22)
    assert end == End(members=0, directory_bytes=0, directory_offset=0)
    assert member_faults([], end) == ["the first member is not manifest.json"]


def test_a_bundle_truncated_after_it_was_opened_is_damaged(tmp_path: Path, sound: Path) -> None:
    path = tmp_path / "shrinking.bundle"
    path.write_bytes(sound.read_bytes())
    with BundleReader(path) as reader:
        with path.open("r+b") as file:
            file.truncate(2000)
        with pytest.raises(ManifestError, match="is damaged"):
            [reader.read_artifact(digest) for digest in reader.manifest.artifacts()]
