"""What earlier runs made: taken when it is whole, made again when it is not, never in the way."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from packager.cache import Stages, default_cache_folder, processor_kind, stage_key


class Work:
    """Counts how often it is done."""

    def __init__(self, content: bytes = b"made") -> None:
        self.done = 0
        self._content = content

    def __call__(self) -> bytes:
        self.done += 1
        return self._content


def entries(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_stage_is_done_once_and_taken_by_later_runs(tmp_path: Path) -> None:
    work = Work()
    first, second = Stages(tmp_path / "cache"), Stages(tmp_path / "cache")
    assert first.run("a" * 64, work) == second.run("a" * 64, work) == b"made"
    assert work.done == 1
    assert (first.made, first.reused, second.made, second.reused) == (1, 0, 0, 1)
    assert (tmp_path / "cache").stat().st_mode & 0o077 == 0


def test_without_a_folder_everything_is_made_again(tmp_path: Path) -> None:
    work = Work()
    stages = Stages(None)
    stages.run("a", work)
    stages.run("a", work)
    assert (work.done, stages.made, stages.reused) == (2, 2, 0)


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty"])
def test_a_damaged_entry_is_noticed_and_made_again(tmp_path: Path, damage: str) -> None:
    work = Work(b"made" * 100)
    Stages(tmp_path).run("a", work)
    path = tmp_path / "a.stage"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes({"flipped": bytes(content), "cut": bytes(content[:50]), "empty": b""}[damage])
    assert Stages(tmp_path).run("a", work) == b"made" * 100
    assert work.done == 2
    assert Stages(tmp_path).run("a", work) == b"made" * 100
    assert work.done == 2


def test_work_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> bytes:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        Stages(tmp_path).run("a", fail)
    assert entries(tmp_path) == []


def test_what_was_used_longest_ago_goes_first(tmp_path: Path) -> None:
    stages = Stages(tmp_path, max_bytes=350)  # three entries of 100 bytes and a digest of 32 do not fit
    for age, key in ((30, "old"), (20, "middle")):
        stages.run(key, Work(b"x" * 100))
        os.utime(tmp_path / f"{key}.stage", (time.time() - age, time.time() - age))
    stages.run("old", Work())  # used again
    stages.run("new", Work(b"x" * 100))
    assert entries(tmp_path) == ["new.stage", "old.stage"]


def test_what_a_killed_run_left_is_removed_once_it_is_surely_dead(tmp_path: Path) -> None:
    for name, age_s in ((".draft-dead", 100_000), (".draft-alive", 10)):
        (tmp_path / name).write_bytes(b"half")
        os.utime(tmp_path / name, (time.time() - age_s, time.time() - age_s))
    Stages(tmp_path).run("a", Work())
    assert entries(tmp_path) == [".draft-alive", "a.stage"]


def test_a_cache_that_cannot_be_used_does_not_stop_the_work(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    assert Stages(tmp_path / "file").run("a", Work()) == b"made"
    assert "cannot be" in caplog.text


def test_a_key_depends_on_everything_that_it_is_made_from_and_on_nothing_else() -> None:
    key = stage_key("quantized", model="a", recipe="b")
    assert key == stage_key("quantized", recipe="b", model="a")
    assert len({key, stage_key("compared", model="a", recipe="b"), stage_key("quantized", model="b")}) == 3


def test_the_folder_is_the_users_cache_folder() -> None:
    assert default_cache_folder({"XDG_CACHE_HOME": "/var/x"}) == Path("/var/x/litefleet/pack")
    home = Path("~/.cache").expanduser() / "litefleet" / "pack"
    assert default_cache_folder({}) == default_cache_folder({"XDG_CACHE_HOME": "relative"}) == home


def test_processors_with_other_instructions_do_not_share_entries(tmp_path: Path) -> None:
    (tmp_path / "one").write_text("model name: x\nflags\t: sse avx2\n")
    (tmp_path / "two").write_text("model name: x\nflags\t: sse\n")
    kinds = {processor_kind(tmp_path / name) for name in ("one", "two", "none")}
    assert len(kinds) == 3
