from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from contract.bench import Bench
from contract.errors import ConflictError, StorageError
from edge_agent.bench.waiting import FOLDER, KEPT, WaitingBenches
from tests.support.contract_builders import AT, a_bench_result


def a_bench(bench_id: str) -> Bench:
    return Bench(v=1, id=bench_id, at=AT, result=a_bench_result())


def test_what_was_added_is_there_for_the_next_process_oldest_first(tmp_path: Path) -> None:
    for name in ("2", "1", "3"):
        WaitingBenches(tmp_path).add(a_bench(name))
    waiting = WaitingBenches(tmp_path)
    assert waiting.oldest() == a_bench("1")
    waiting.remove("1")
    waiting.remove("1")
    assert waiting.oldest() == a_bench("2")


def test_nothing_is_made_before_something_is_written(tmp_path: Path) -> None:
    waiting = WaitingBenches(tmp_path)
    assert waiting.oldest() is None
    assert list(tmp_path.iterdir()) == []


def test_only_the_owner_can_read_it(tmp_path: Path) -> None:
    WaitingBenches(tmp_path).add(a_bench("1"))
    assert (tmp_path / FOLDER).stat().st_mode & 0o777 == 0o700
    assert (tmp_path / FOLDER / "1.json").stat().st_mode & 0o777 == 0o600


def test_of_too_many_the_oldest_are_dropped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    waiting = WaitingBenches(tmp_path)
    for number in range(KEPT + 2):
        waiting.add(a_bench(f"{number:03}"))
    assert waiting.oldest() == a_bench("002")
    assert "bench 000.json is dropped" in caplog.text


@pytest.mark.parametrize("content", [b"", b"{", b"\x78\x9c", b'{"v":2}'])
def test_a_damaged_file_is_put_aside_and_the_next_is_given(tmp_path: Path, content: bytes) -> None:
    waiting = WaitingBenches(tmp_path)
    waiting.add(a_bench("2"))
    (tmp_path / FOLDER / "1.json").write_bytes(content)
    assert waiting.oldest() == a_bench("2")
    assert (tmp_path / FOLDER / "1.json.damaged").read_bytes() == content
    assert waiting.oldest() == a_bench("2")


def test_a_draft_that_a_power_cut_left_is_no_bench(tmp_path: Path) -> None:
    waiting = WaitingBenches(tmp_path)
    waiting.add(a_bench("2"))
    (tmp_path / FOLDER / "1.json.draft").write_bytes(b"{")
    assert waiting.oldest() == a_bench("2")


def test_a_file_without_end_is_put_aside_and_not_read_to_its_end(tmp_path: Path) -> None:
    waiting = WaitingBenches(tmp_path)
    waiting.add(a_bench("2"))
    with (tmp_path / FOLDER / "1.json").open("wb") as file:
        os.truncate(file.fileno(), 1 << 40)
    assert waiting.oldest() == a_bench("2")
    assert (tmp_path / FOLDER / "1.json.damaged").exists()


def test_a_folder_that_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / FOLDER).write_bytes(b"")
    with pytest.raises(StorageError, match="cannot read"):
        WaitingBenches(tmp_path).oldest()


def test_a_second_bench_is_refused_and_the_first_one_named(tmp_path: Path) -> None:
    with (
        WaitingBenches(tmp_path).alone(),
        pytest.raises(ConflictError, match=f"process {os.getpid()}"),
        WaitingBenches(tmp_path).alone(),
    ):
        pytest.fail("two at a time")
    with WaitingBenches(tmp_path).alone():
        pass


def test_a_bench_that_is_wrong_is_not_kept(tmp_path: Path) -> None:
    wrong = msgspec.structs.replace(a_bench("1"), id="a/b")
    with pytest.raises(Exception, match="id"):
        WaitingBenches(tmp_path).add(wrong)
    assert WaitingBenches(tmp_path).oldest() is None
