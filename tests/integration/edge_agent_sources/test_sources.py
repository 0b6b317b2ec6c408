"""Sources with a real worker, a real child process, real inotify."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from PIL import Image

from edge_agent.inference.pool import Pool
from edge_agent.inference.sources.settings import Source
from edge_agent.source_processes import SourceProcesses
from tests.support.inference_slots import ROOT, images_of, is_running, serve, told, wait_until
from tests.support.source_process import a_source, answers, ended


def put(folder: Path, digit: int, name: str) -> None:
    Image.fromarray(images_of(digit)[0]).save(folder / name)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for digit in range(3):
        (tmp_path / "images" / str(digit)).mkdir(parents=True)
        put(tmp_path / "images" / str(digit), digit, "a.png")
    return tmp_path / "images"


def test_images_are_answered_from_the_first_deployment_on_until_input_ends(
    pool: Pool, run_dir: Path, folder: Path, tmp_path: Path
) -> None:
    results = tmp_path / "results.jsonl"
    with a_source(
        run_dir, path=str(folder), rate_hz=200, sinks=[{"kind": "file", "path": str(results)}]
    ) as source:
        assert source.stderr is not None
        assert "not deployed" in source.stderr.readline()
        serve(pool)
        wait_until(lambda: len(answers(results)) > 5, "answers")
        serve(pool, "1.1.0")
        wait_until(lambda: answers(results)[-1]["version"] == "1.1.0", "answers of the new version")

        counts, errors = ended(source)

    assert errors == "source of digits: well again\n"
    assert counts.answered == len(answers(results))
    assert counts.captured - counts.answered in {0, 1}  # one may be on its way when the end comes
    assert counts.dropped == counts.skipped == counts.failed == 0
    first = answers(results)[:3]
    assert [each["classes"][0]["index"] for each in first] == [0, 1, 2]
    assert first[0]["source"] == str(folder / "0" / "a.png")


def test_the_end_of_input_ends_a_source_that_never_found_its_model(run_dir: Path, folder: Path) -> None:
    with a_source(run_dir, path=str(folder)) as source:
        assert source.stderr is not None
        assert "no litefleet agent" in source.stderr.readline()
        ended(source)


def test_trouble_is_told_when_it_changes_and_never_ends_the_source(
    pool: Pool, run_dir: Path, folder: Path
) -> None:
    serve(pool)
    (folder / "1" / "a.png").write_bytes(b"no image")
    with a_source(run_dir, path=str(folder), rate_hz=100) as source:
        assert source.stderr is not None
        assert "cannot be read as an image" in source.stderr.readline()
        assert "well again" in source.stderr.readline()
        assert "cannot be read as an image" in source.stderr.readline()
        counts, _ = ended(source)
    assert counts.failed >= 2
    assert counts.answered >= 2


def test_an_empty_folder_is_told_once_and_looked_at_again(pool: Pool, run_dir: Path, tmp_path: Path) -> None:
    serve(pool)
    with a_source(run_dir, path=str(tmp_path), rate_hz=100) as source:
        assert source.stderr is not None
        assert source.stderr.readline() == f"source of digits: no images in {tmp_path}\n"
        put(tmp_path, 3, "a.png")
        assert source.stderr.readline() == "source of digits: well again\n"
        counts, errors = ended(source)
    assert errors == ""
    assert counts.failed == 0


def test_new_files_are_answered_when_written_and_moved_away_none_lost(
    pool: Pool, run_dir: Path, tmp_path: Path
) -> None:
    serve(pool)
    inbox, results = tmp_path / "in", tmp_path / "results.jsonl"
    inbox.mkdir()
    (inbox / "broken.png").write_bytes(b"no image")
    sinks = [{"kind": "file", "path": str(results)}]
    with a_source(
        run_dir, kind="watch", path=str(inbox), done="move:seen", rate_hz=100, sinks=sinks
    ) as source:
        wait_until((inbox / "seen" / "broken.png").exists, "the old file, put away")
        content = next((ROOT / "examples" / "digits" / "evaluation" / "7").glob("*.png")).read_bytes()
        with (inbox / "slow.png").open("wb") as file:
            file.write(content[:20])
            file.flush()
            for number in range(20):
                put(inbox, number % 10, f"{number}.png")
            wait_until(lambda: len(answers(results)) == 20, "twenty answers")
            assert (inbox / "slow.png").exists()
            file.write(content[20:])
        wait_until(lambda: len(answers(results)) == 21, "the slow one")
        counts, _ = ended(source)
    assert {Path(each["source"]).name for each in answers(results)} == {
        "slow.png",
        *(f"{number}.png" for number in range(20)),
    }
    assert len(list((inbox / "seen").iterdir())) == 22
    assert (counts.answered, counts.failed, counts.dropped) == (21, 1, 0)


def test_files_that_stay_are_answered_once_and_the_newest_wins(
    pool: Pool, run_dir: Path, tmp_path: Path
) -> None:
    serve(pool)
    put(tmp_path, 1, "old.png")
    results = tmp_path / "results.jsonl"
    sinks = [{"kind": "file", "path": str(results)}]
    with a_source(run_dir, kind="watch", path=str(tmp_path), rate_hz=2, sinks=sinks) as source:

        def is_watched() -> bool:
            put(tmp_path, 2, "first.png")
            return bool(answers(results))

        wait_until(is_watched, "an answer")
        for number in range(30):
            put(tmp_path, 3, f"{number}.png")
        wait_until(lambda: any("29.png" in each["source"] for each in answers(results)), "the newest")
        counts, _ = ended(source)
    names = [Path(each["source"]).name for each in answers(results)]
    assert "old.png" not in names
    assert len(names) < 10
    assert counts.captured - counts.answered - counts.skipped - counts.dropped in {0, 1}
    assert counts.skipped > 0


def test_a_callback_that_fails_and_one_that_is_missing(pool: Pool, run_dir: Path, folder: Path) -> None:
    serve(pool)
    sinks = [{"kind": "callback", "function": "tests.support.source_callback:fail_every_other"}]
    with a_source(run_dir, path=str(folder), rate_hz=100, sinks=sinks) as source:
        assert source.stderr is not None
        lines = [source.stderr.readline() for _ in range(3)]
        counts, _ = ended(source)
    assert "callback sink: tests.support.source_callback:fail_every_other failed: ValueError" in "".join(
        lines
    )
    assert "printed" in "".join(lines)
    assert counts.sink_dropped > 0
    with a_source(run_dir, path=str(folder), sinks=[{"kind": "callback", "function": "no.such:f"}]) as source:
        _, errors = source.communicate(timeout=20)
    assert source.returncode == 1
    assert "no.such:f cannot be loaded" in errors


def test_the_agent_hears_of_losses_and_sets_the_rate(pool: Pool, run_dir: Path, folder: Path) -> None:
    serve(pool)
    sinks = msgspec.convert(
        [{"kind": "hook", "command": ["/bin/sh", "-c", "sleep 30"], "timeout_s": 20, "queue": 1}],
        type=tuple[Any, ...],
    )
    settings = msgspec.convert(
        {"model": "digits", "path": str(folder), "rate_hz": 100, "sinks": sinks}, type=Source
    )
    children = SourceProcesses([settings], run_dir)
    children.set_rate(0.25)
    news: list[tuple[str, str]] = []
    try:

        def has_told() -> bool:
            children.tick(time.monotonic())
            news.extend(children.news(time.monotonic()))
            return bool(news)

        wait_until(has_told, "an overload")
        process = children._children[0].process
        assert process is not None
        assert str(folder) not in told(process.pid, "cmdline"), "settings may hold a password"
    finally:
        children.stop()
        children.join()
    assert not is_running(process.pid)
    assert news[0][0] == "digits"
    assert "answers lost at a full or failing sink" in news[0][1]
    assert children.counts[0].rate_hz == 25
    assert children.counts[0].answered > 0
