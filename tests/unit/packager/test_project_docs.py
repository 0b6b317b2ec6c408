"""The project file's page names every key, and the CI examples call commands that exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import click
import msgspec
import pytest
import yaml  # type: ignore[import-untyped]

from packager.cli import main
from packager.project import REQUIRED, PackTable, parse_project

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "reference" / "project-file.md").read_text(encoding="utf-8")
EXAMPLES = sorted((ROOT / "examples" / "ci").glob("*.yml"))


def flag_of(field: str) -> str:
    renamed = {"model": "MODEL", "profiles": "--profile"}
    return renamed.get(field, f"--{field.replace('_', '-')}")


def test_every_key_stands_in_the_documentation_with_its_default_and_flag() -> None:
    rows = [line.split("|")[1:-1] for line in PAGE.splitlines() if line.startswith("| `")]
    documented = {
        cells[0].strip().strip("`"): (cells[1].strip(), cells[2].strip().strip("`")) for cells in rows
    }
    wanted = {}
    for field in msgspec.structs.fields(PackTable):
        default = (
            "none" if field.default in {"", None} else f"`{msgspec.json.encode(field.default).decode()}`"
        )
        shown = "required" if field.name in REQUIRED else default
        wanted[f"pack.{field.encode_name}"] = (shown, flag_of(field.name))
    assert documented == wanted


def test_every_key_has_its_flag() -> None:
    flags = {name for parameter in main.commands["pack"].params for name in parameter.opts}
    assert {
        flag_of(field.name) for field in msgspec.structs.fields(PackTable) if field.name != "model"
    } <= flags


def test_the_documented_example_is_a_sound_project_file() -> None:
    (content,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    assert parse_project(content.encode()).pack.max_drop == "1%"


def scripts_in(text: str) -> list[str]:
    """Every line that a CI file runs: ``run`` of GitHub's steps, ``script`` of GitLab's jobs."""
    found: Any = yaml.safe_load(text)
    steps = [step for job in found.get("jobs", {}).values() for step in job["steps"]]
    lines = [step["run"] for step in steps if "run" in step]
    return lines + [line for job in found.values() if isinstance(job, dict) for line in job.get("script", [])]


def commands_in(text: str) -> list[list[str]]:
    """Every call of litefleet in a CI file, as words up to a redirection."""
    calls = [line for line in scripts_in(text) if line.startswith("litefleet-packager ")]
    return [shlex.split(call.partition(">")[0]) for call in calls]


def faults_of(call: list[str]) -> list[str]:
    """What the command line says against a call's words, without running it."""
    command: click.Command | None = main.commands.get(call[1])
    if command is None:
        return [f"no command {call[1]}"]
    known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    return [f"{call[1]} has no {word}" for word in call[2:] if word.startswith("-") and word not in known]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_a_ci_example_packs_and_calls_nothing_that_does_not_exist(path: Path) -> None:
    calls = commands_in(path.read_text(encoding="utf-8"))
    assert ["litefleet-packager", "pack", "--json"] in calls
    assert [fault for call in calls for fault in faults_of(call)] == []


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_a_ci_example_hides_no_failure(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"continue-on-error|allow_failure|\|\| true", text)


def test_a_call_that_does_not_exist_is_found() -> None:
    assert faults_of(["litefleet-packager", "pakc"]) == ["no command pakc"]
    assert faults_of(["litefleet-packager", "pack", "--gate"]) == ["pack has no --gate"]
    assert len(EXAMPLES) == 2
