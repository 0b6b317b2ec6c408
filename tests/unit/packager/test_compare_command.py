"""``compare`` on files: sound bundles are compared, damaged ones refused in one line."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner

from packager.cli import main
from tests.support.builders import MODEL_BYTES, a_bundle

OTHER_BYTES = MODEL_BYTES[:-1] + b"!"


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    return a_bundle(tmp_path / "a"), a_bundle(tmp_path / "b", model_bytes=OTHER_BYTES, version="1.1.0")


def test_two_bundles_are_compared_byte_by_byte(two: tuple[Path, Path]) -> None:
    result = CliRunner().invoke(main, ["compare", *map(str, two)])
    assert result.exit_code == 0
    assert f"{len(MODEL_BYTES):,} bytes, 1 of them changed (0%)" in result.stdout
    assert f"to fetch: 1 new files, {len(MODEL_BYTES):,} bytes in all" in result.stdout


def test_json_and_page_say_the_same(two: tuple[Path, Path], tmp_path: Path) -> None:
    page = tmp_path / "change.html"
    result = CliRunner().invoke(main, ["compare", *map(str, two), "--json", "--html", str(page)])
    found = json.loads(result.stdout)
    assert [one["bytes_changed"] for one in found["variants"]] == [1]
    assert found["after"]["size_bytes"] == two[1].stat().st_size
    assert found["before"]["file"] in page.read_text(encoding="utf-8")
    assert stat.S_IMODE(page.stat().st_mode) == 0o644


def test_a_bundle_and_itself_are_the_same(two: tuple[Path, Path]) -> None:
    result = CliRunner().invoke(main, ["compare", str(two[0]), str(two[0]), "--json"])
    found = json.loads(result.stdout)
    assert (found["is_same"], found["variants"][0]["bytes_changed"]) == (True, 0)


def test_bundles_whose_variants_have_other_sizes_are_compared(two: tuple[Path, Path], tmp_path: Path) -> None:
    longer = a_bundle(tmp_path / "c", model_bytes=MODEL_BYTES + b"more")
    result = CliRunner().invoke(main, ["compare", str(two[0]), str(longer), "--json"])
    assert json.loads(result.stdout)["variants"][0]["bytes_changed"] is None


def test_a_damaged_bundle_is_refused_in_one_line_wherever_it_stands(two: tuple[Path, Path]) -> None:
    spoiled = bytearray(two[1].read_bytes())
    spoiled[spoiled.index(OTHER_BYTES)] ^= 1
    two[1].write_bytes(bytes(spoiled))
    for pair in (two, two[::-1]):
        result = CliRunner().invoke(main, ["compare", *map(str, pair)])
        assert result.exit_code == 1
        assert result.stdout == ""
        (line,) = result.stderr.splitlines()
        assert "is damaged" in line
        assert two[1].name in line


@pytest.mark.parametrize("content", [b"", b"no bundle at all"])
def test_what_is_no_bundle_is_refused(two: tuple[Path, Path], tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.bundle").write_bytes(content)
    result = CliRunner().invoke(main, ["compare", str(two[0]), str(tmp_path / "x.bundle")])
    assert result.exit_code == 1
    assert "x.bundle is not a bundle" in result.stderr


def test_a_bundle_that_is_not_there_is_refused(two: tuple[Path, Path], tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["compare", str(two[0]), str(tmp_path / "none.bundle")])
    assert result.exit_code == 1
    assert "none.bundle cannot be read" in result.stderr


def test_a_page_that_cannot_be_written_is_an_error(two: tuple[Path, Path], tmp_path: Path) -> None:
    place = tmp_path / "nowhere" / "change.html"
    result = CliRunner().invoke(main, ["compare", *map(str, two), "--html", str(place)])
    assert result.exit_code == 1
    assert "cannot write" in result.stderr
