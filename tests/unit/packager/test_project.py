"""The project file: found, read, overridden, refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from contract.errors import ConfigError
from packager.project import (
    REQUIRED,
    PackTable,
    Project,
    find_project,
    gate_rules,
    load_project,
    override,
    parse_project,
)
from packager.rules import Allowance, Rules

SOUND = """
[pack]
model = "model.tflite"
name = "digits"
version = "1.0.0"
profiles = ["raspberry-pi-4"]
evaluation = "data/evaluation"
max_drop = "1%"
"""


def write(folder: Path, content: str = SOUND) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "litefleet.toml"
    path.write_text(content)
    return path


def complete(**changes: Any) -> Project:
    return Project(msgspec.structs.replace(parse_project(SOUND.encode()).pack, **changes))


def test_the_nearest_file_up_the_folders_is_found(tmp_path: Path) -> None:
    outer, inner = write(tmp_path), write(tmp_path / "a" / "b")
    (tmp_path / "a" / "b" / "c").mkdir()
    assert find_project(tmp_path / "a" / "b" / "c") == inner
    assert find_project(tmp_path / "a") == outer


def test_without_a_file_there_are_the_defaults(tmp_path: Path) -> None:
    assert find_project(tmp_path) is None
    assert gate_rules(PackTable()) == Rules()


def test_relative_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    table = load_project(write(tmp_path / "team")).pack
    assert table.model == str(tmp_path / "team" / "model.tflite")
    assert table.evaluation == str(tmp_path / "team" / "data" / "evaluation")
    assert table.output == str(tmp_path / "team" / "dist")
    assert table.calibration == ""


def test_a_flag_takes_precedence_and_one_that_was_not_given_does_not() -> None:
    table = override(complete(), {"version": "1.1.0", "name": None, "min_samples": 7})
    assert (table.version, table.name, table.min_samples) == ("1.1.0", "digits", 7)


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        ("[pack]\nmax_dorp = 1", "pack.max_dorp: unknown key, did you mean 'max_drop'"),
        ("[pakc]", "pakc: unknown key, did you mean 'pack'"),
        ("[pack]\nname = 3", "Expected `str`, got `int` - at `$.pack.name`"),
        ("[pack", "is no TOML file"),
        ("pack = 3", "Expected `object`, got `int`"),
    ],
)
def test_a_file_that_is_wrong_is_refused_with_the_key(content: str, wanted: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_project(content.encode())
    assert wanted in refused.value.summary()


def test_a_file_that_cannot_be_read_or_is_huge_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load_project(tmp_path / "litefleet.toml")
    with pytest.raises(ConfigError, match="is larger than 65536 bytes"):
        load_project(write(tmp_path, "#" * 70_000))


def test_everything_that_is_missing_is_named_with_flag_and_key() -> None:
    with pytest.raises(ConfigError) as refused:
        override(Project(), {})
    assert len(refused.value.faults) == len(REQUIRED)
    assert "no name: give --name, or set pack.name in litefleet.toml" in refused.value.faults


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"std": 0.0}, "std must be above 0"),
        ({"std": ()}, "std must be above 0"),
        ({"pad": 256, "resize": "letterbox"}, "pad must be 0 to 255"),
        (
            {"pad": 1, "resize": "stretch"},
            "pad is what a letterbox is filled with, and resize is not letterbox",
        ),
        ({"resize": "squeeze"}, "resize 'squeeze' is none of stretch, letterbox, center-crop"),
        ({"mean": (1.0, float("inf"))}, "mean must be finite"),
        ({"profiles": ("a", "a")}, "profile a is given twice"),
        ({"class_floor": 1.5}, "class_floor must be 0 to 1"),
        ({"confidence": 1.0}, "confidence must be above 0.5 and below 1"),
        ({"min_samples": 0}, "min_samples must be 1 at least"),
        ({"recovery_trials": 101}, "recovery_trials must be 0 to 100"),
    ],
)
def test_a_setting_out_of_its_range_is_refused(changes: dict[str, Any], wanted: str) -> None:
    with pytest.raises(ConfigError) as refused:
        override(complete(**changes), {})
    assert refused.value.faults == (wanted,)


def test_the_gates_rules_come_from_the_table() -> None:
    table = complete(max_class_drop=0.05, class_floor=0.8, confidence=0.95, recovery_trials=0).pack
    assert gate_rules(table) == Rules(
        max_drop=Allowance(0.01, is_relative=True),
        max_class_drop=Allowance(0.05),
        class_floor=0.8,
        confidence=0.95,
        recovery_trials=0,
    )
