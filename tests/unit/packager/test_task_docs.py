"""The pages of tasks name every kind and its options."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from packager.tasks.kinds import KINDS

REFERENCE = Path(__file__).resolve().parents[3] / "docs" / "reference"
PAGES = "\n".join((REFERENCE / name).read_text(encoding="utf-8") for name in ("tasks.md", "tasks-vision.md"))
SECTIONS = {part.partition("\n")[0].strip(): part for part in re.split(r"^## ", PAGES, flags=re.MULTILINE)}


@pytest.mark.parametrize("name", sorted(KINDS))
def test_a_kinds_section_names_its_options(name: str) -> None:
    options = [field.encode_name for field in msgspec.structs.fields(KINDS[name].options)]
    assert [option for option in options if f"`{option}`" not in SECTIONS[name]] == []


@pytest.mark.parametrize(
    "name", ["audio-classification", "embedding", "regression", "tabular-classification"]
)
def test_defaults_are_the_documented_ones(name: str) -> None:
    rows = [line.split("|")[1:-1] for line in SECTIONS[name].splitlines() if line.startswith("| `")]
    documented = {cells[0].strip().strip("`"): cells[1].strip().strip("`") for cells in rows}
    in_words = {"features": "columns named after the inputs", "sample_rate": "required"}
    wanted = {
        field.encode_name: in_words.get(field.encode_name, msgspec.json.encode(field.default).decode())
        for field in msgspec.structs.fields(KINDS[name].options)
    }
    assert documented == wanted
