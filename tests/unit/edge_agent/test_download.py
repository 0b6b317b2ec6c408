"""Artifacts into a slot, over a network that ends in the middle, lies, or starts again."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from contract.errors import DigestError, DownloadError, NotFoundError, StorageError
from contract.manifest import Artifact
from edge_agent.update.download import Meter, Places, fetch_artifacts
from edge_agent.update.http import Answer
from tests.support.builders import an_artifact

CONTENT = bytes(range(256)) * 40
ARTIFACT = an_artifact(CONTENT)
DIGEST = ARTIFACT.sha256


class FakeSource:
    """A server whose next answers a test may spoil, in order; then it is a right one."""

    def __init__(self, *scripted: Answer | Exception, files: dict[str, bytes] | None = None) -> None:
        self.starts: list[int] = []
        self._scripted = list(scripted)
        self._files = files or {DIGEST: CONTENT}

    @contextmanager
    def get(self, url: str, *, start: int = 0) -> Iterator[Answer]:
        self.starts.append(start)
        if self._scripted:
            scripted = self._scripted.pop(0)
            if isinstance(scripted, Exception):
                raise scripted
            yield scripted
            return
        content = self._files[url.rpartition("/")[2]]
        yield Answer(206 if start else 200, start, blocks_of(content[start:]))


def blocks_of(content: bytes, *, then: Exception | None = None) -> Iterator[bytes]:
    for position in range(0, len(content), 1000):
        yield content[position : position + 1000]
    if then is not None:
        raise then


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(artifacts=tmp_path / "slot" / "artifacts", parts=tmp_path / "parts")


def a_meter(total: int = len(CONTENT)) -> tuple[Meter, list[tuple[int, int]]]:
    reports: list[tuple[int, int]] = []
    return Meter(total, lambda done, of: reports.append((done, of))), reports


def fetch(source: FakeSource, places: Places, *artifacts: Artifact) -> Meter:
    meter, _ = a_meter()
    fetch_artifacts(artifacts or (ARTIFACT,), "http://server", places, source, meter)
    return meter


def part_with(places: Places, content: bytes) -> Path:
    places.parts.mkdir(parents=True, exist_ok=True)
    path = places.parts / f"{DIGEST}.part"
    path.write_bytes(content)
    return path


def assert_complete(places: Places) -> None:
    assert (places.artifacts / DIGEST).read_bytes() == CONTENT
    assert [path.name for path in places.artifacts.iterdir()] == [DIGEST]
    assert list(places.parts.iterdir()) == []


def test_a_new_artifact_is_downloaded_whole(places: Places) -> None:
    source = FakeSource()
    assert fetch(source, places).bytes_downloaded == len(CONTENT)
    assert source.starts == [0]
    assert_complete(places)


def test_an_artifact_that_the_slot_has_is_not_fetched_again(places: Places) -> None:
    fetch(FakeSource(), places)
    source = FakeSource()
    assert fetch(source, places).bytes_downloaded == 0
    assert source.starts == []


def test_a_damaged_artifact_in_the_slot_is_fetched_again(places: Places) -> None:
    places.artifacts.mkdir(parents=True)
    (places.artifacts / DIGEST).write_bytes(CONTENT[:-1] + b"x")
    fetch(FakeSource(), places)
    assert_complete(places)


def test_cut_off_in_the_middle_goes_on_from_there(places: Places) -> None:
    cut = Answer(200, 0, blocks_of(CONTENT[:5000], then=DownloadError("cut off")))
    with pytest.raises(DownloadError):
        fetch(FakeSource(cut), places)
    assert (places.parts / f"{DIGEST}.part").read_bytes() == CONTENT[:5000]
    source = FakeSource()
    assert fetch(source, places).bytes_downloaded == len(CONTENT) - 5000
    assert source.starts == [5000]
    assert_complete(places)


def test_a_body_that_ends_too_early_may_be_tried_again(places: Places) -> None:
    with pytest.raises(DownloadError, match=f"ended after 3000 of {len(CONTENT)} bytes"):
        fetch(FakeSource(Answer(200, 0, blocks_of(CONTENT[:3000]))), places)
    fetch(FakeSource(), places)
    assert_complete(places)


def test_a_complete_part_needs_no_request(places: Places) -> None:
    part_with(places, CONTENT)
    source = FakeSource()
    fetch(source, places)
    assert source.starts == []
    assert_complete(places)


def test_a_server_that_ignores_the_range_starts_from_zero(places: Places) -> None:
    part_with(places, CONTENT[:5000])
    source = FakeSource(Answer(200, 0, blocks_of(CONTENT)))
    assert fetch(source, places).bytes_downloaded == len(CONTENT)
    assert source.starts == [5000]
    assert_complete(places)


@pytest.mark.parametrize(
    "answer", [Answer(416, 0, iter(())), Answer(206, 0, iter(())), Answer(206, -1, iter(()))]
)
def test_a_server_that_cannot_go_on_there_is_asked_for_the_whole(places: Places, answer: Answer) -> None:
    part_with(places, CONTENT[:5000])
    source = FakeSource(answer)
    fetch(source, places)
    assert source.starts == [5000, 0]
    assert_complete(places)


def test_a_server_that_then_refuses_the_whole_may_be_tried_again(places: Places) -> None:
    part_with(places, CONTENT[:5000])
    with pytest.raises(DownloadError, match="status 500"):
        fetch(FakeSource(Answer(416, 0, iter(())), Answer(500, 0, iter(()))), places)


def test_a_damaged_part_is_fetched_once_more_from_zero(places: Places) -> None:
    part_with(places, b"x" * 5000)
    source = FakeSource()
    fetch(source, places)
    assert source.starts == [5000, 0]
    assert_complete(places)


@pytest.mark.parametrize("size", [len(CONTENT), len(CONTENT) + 1])
def test_a_part_of_full_size_with_other_bytes_is_fetched_again(places: Places, size: int) -> None:
    part_with(places, b"x" * size)
    source = FakeSource()
    fetch(source, places)
    assert source.starts == [0]
    assert_complete(places)


def test_a_flipped_byte_on_the_server_is_refused_after_exactly_one_retry(places: Places) -> None:
    spoiled = CONTENT[:-1] + b"x"
    source = FakeSource(files={DIGEST: spoiled})
    with pytest.raises(DigestError) as refused:
        fetch(source, places)
    assert source.starts == [0, 0]
    assert DIGEST in str(refused.value)
    assert hashlib.sha256(spoiled).hexdigest() in str(refused.value)
    assert list(places.artifacts.iterdir()) == []
    assert list(places.parts.iterdir()) == []


def test_more_bytes_than_promised_are_never_written(places: Places) -> None:
    source = FakeSource(files={DIGEST: CONTENT + bytes(5000)})
    with pytest.raises(DigestError, match=f"more than {len(CONTENT)} bytes"):
        fetch(source, places)
    assert source.starts == [0, 0]
    assert list(places.parts.iterdir()) == []


def test_cut_off_while_retrying_may_be_tried_again(places: Places) -> None:
    wrong = Answer(200, 0, blocks_of(bytes(len(CONTENT))))
    with pytest.raises(DownloadError):
        fetch(FakeSource(wrong, DownloadError("cut off")), places)
    fetch(FakeSource(), places)
    assert_complete(places)


@pytest.mark.parametrize("status", [404, 410])
def test_an_artifact_that_the_server_lost_is_not_found(places: Places, status: int) -> None:
    with pytest.raises(NotFoundError):
        fetch(FakeSource(Answer(status, 0, iter(()))), places)


@pytest.mark.parametrize("status", [206, 302, 401, 416, 429, 500, 503])
def test_every_other_answer_may_be_tried_again(places: Places, status: int) -> None:
    with pytest.raises(DownloadError, match=str(status)):
        fetch(FakeSource(Answer(status, 0, iter(()))), places)


def test_an_artifact_of_another_slot_is_linked_instead_of_downloaded(places: Places, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / DIGEST).write_bytes(CONTENT)
    part_with(places, CONTENT[:5000])
    source = FakeSource()
    reusing = Places(places.artifacts, places.parts, reuse=[tmp_path / "absent", other])
    assert fetch(source, reusing).bytes_downloaded == 0
    assert source.starts == []
    assert_complete(places)
    assert (places.artifacts / DIGEST).samefile(other / DIGEST)


def test_a_damaged_artifact_of_another_slot_is_left_alone(places: Places, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for folder, content in ((first, CONTENT[:-1] + b"x"), (second, CONTENT[:-1])):
        folder.mkdir()
        (folder / DIGEST).write_bytes(content)
    source = FakeSource()
    fetch(source, Places(places.artifacts, places.parts, reuse=[first, second]))
    assert source.starts == [0]
    assert_complete(places)
    assert (first / DIGEST).read_bytes() == CONTENT[:-1] + b"x"


def test_a_link_in_another_slot_is_not_followed(places: Places, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (tmp_path / "elsewhere").write_bytes(CONTENT)
    (other / DIGEST).symlink_to(tmp_path / "elsewhere")
    source = FakeSource()
    fetch(source, Places(places.artifacts, places.parts, reuse=[other]))
    assert source.starts == [0]


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="no second file system to copy from")  # noqa: S108
def test_an_artifact_on_another_disk_is_copied(places: Places) -> None:
    other = Path("/dev/shm") / f"litefleet-{os.getpid()}"  # noqa: S108
    other.mkdir()
    try:
        (other / DIGEST).write_bytes(CONTENT)
        assert (
            fetch(FakeSource(), Places(places.artifacts, places.parts, reuse=[other])).bytes_downloaded == 0
        )
        assert_complete(places)
    finally:
        (other / DIGEST).unlink()
        other.rmdir()


def test_a_disk_that_is_too_small_is_told_before_anything_is_asked(places: Places) -> None:
    source = FakeSource()
    with pytest.raises(StorageError, match=f"{1 << 60} bytes are to come"):
        fetch(source, places, Artifact(sha256=DIGEST, size_bytes=1 << 60))
    part_with(places, CONTENT[:5000])
    with pytest.raises(StorageError, match=f"{(1 << 60) - 5000} bytes are to come"):
        fetch(source, places, Artifact(sha256=DIGEST, size_bytes=1 << 60))
    assert source.starts == []


def test_a_disk_that_fills_up_is_a_storage_error_and_gets_its_space_back(places: Places) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(StorageError, match="No space left"):
        fetch(FakeSource(Answer(200, 0, blocks_of(CONTENT[:5000], then=full))), places)
    assert list(places.parts.iterdir()) == []


def test_a_failing_disk_is_a_storage_error_and_keeps_the_part(places: Places) -> None:
    failing = OSError(errno.EIO, "Input/output error")
    with pytest.raises(StorageError):
        fetch(FakeSource(Answer(200, 0, blocks_of(CONTENT[:5000], then=failing))), places)
    assert (places.parts / f"{DIGEST}.part").stat().st_size == 5000


def test_another_slot_that_cannot_be_read_is_a_storage_error(places: Places, tmp_path: Path) -> None:
    places.artifacts.mkdir(parents=True)
    (places.artifacts / f"{DIGEST}.reused" / "inside").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / DIGEST).write_bytes(CONTENT)
    with pytest.raises(StorageError):
        fetch(FakeSource(), Places(places.artifacts, places.parts, reuse=[tmp_path / "other"]))


def test_progress_counts_reused_bytes_and_ends_at_the_total(places: Places, tmp_path: Path) -> None:
    second = an_artifact(b"second" * 100)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / second.sha256).write_bytes(b"second" * 100)
    total = ARTIFACT.size_bytes + second.size_bytes
    meter, reports = a_meter(total)
    reusing = Places(places.artifacts, places.parts, reuse=[tmp_path / "other"])
    fetch_artifacts([ARTIFACT, second], "http://server", reusing, FakeSource(), meter)
    assert reports[0] == (second.size_bytes, total)
    assert reports[-1] == (total, total)
    assert [done for done, _ in reports] == sorted(done for done, _ in reports)
