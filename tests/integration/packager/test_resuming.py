"""Killed in the middle of its work, packing leaves nothing half-written, and the next run goes on where it stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.packager_builders import DIGITS
from tests.support.packager_models import collapsing

COMMAND = [sys.executable, "-m", "packager.cli", "pack", "--json"]
TIMEOUT_S = 100.0
PROJECT = f"""
[pack]
model = "model.tflite"
name = "digits"
version = "1.0.0"
profiles = ["generic-x86-64", "generic-x86-64-small"]
calibration = "{DIGITS / "calibration"}"
evaluation = "{DIGITS / "evaluation"}"
labels = "{DIGITS / "labels.txt"}"
"""


def environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "XDG_CACHE_HOME": str(folder / "cache")}


def run(folder: Path, *flags: str) -> dict[str, Any]:
    done = subprocess.run(
        [*COMMAND, *flags],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def stages(folder: Path) -> list[Path]:
    return sorted((folder / "cache" / "litefleet" / "pack").glob("*.stage"))


def kill_after(folder: Path, wanted: int) -> None:
    """Start packing, and kill it as soon as that many stages are in the cache."""
    with subprocess.Popen(
        COMMAND, cwd=folder, env=environment(folder), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        deadline = time.monotonic() + TIMEOUT_S
        while len(stages(folder)) < wanted:
            assert process.poll() is None, "it ended before it could be killed"
            assert time.monotonic() < deadline, "it does not get on"
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == -signal.SIGKILL


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "litefleet.toml").write_text(PROJECT)
    (tmp_path / "model.tflite").write_bytes(collapsing())
    return tmp_path


def test_killed_while_packing_leaves_no_bundle_and_the_next_run_reuses_every_finished_stage(
    project: Path,
) -> None:
    kill_after(project, 3)
    assert not (project / "dist").exists()
    kept = len(stages(project))
    resumed = run(project)
    assert resumed["stages"]["reused"] >= kept >= 3
    assert resumed["stages"]["made"] > 0
    bundles = {Path(path).name: Path(path).read_bytes() for path in resumed["bundles"]}
    fresh = run(project, "--no-cache", "--output", "fresh")
    assert fresh["stages"]["reused"] == 0
    assert {Path(path).name: (project / path).read_bytes() for path in fresh["bundles"]} == bundles


def test_a_spoiled_cache_entry_is_made_again_and_the_bundles_are_the_same(project: Path) -> None:
    first = run(project)
    contents = [Path(path).read_bytes() for path in first["bundles"]]
    for entry in stages(project):
        content = bytearray(entry.read_bytes())
        content[len(content) // 2] ^= 0xFF
        entry.write_bytes(content)
    again = run(project)
    assert again["stages"] == {"reused": 0, "made": first["stages"]["made"]}
    assert [Path(path).read_bytes() for path in again["bundles"]] == contents


def test_another_calibration_set_takes_nothing_that_depends_on_it(project: Path) -> None:
    first = run(project)
    other = run(project, "--calibration", str(DIGITS / "evaluation"))
    # The float model's measurement, and what is made without calibration: quantized, measured, compared.
    assert 0 < other["stages"]["reused"] < first["stages"]["made"]
    assert other["bundles"]
    rows = {row["variant"]: row for row in other["rows"]}
    assert rows["static-int8-selective"]["verdict"] == "shipped"


def test_a_dry_run_prints_the_plan_with_its_reasons_and_makes_nothing(project: Path) -> None:
    found = run(project, "--dry-run", "--max-drop", "1%")
    assert [board["profile"] for board in found["profiles"]] == ["generic-x86-64", "generic-x86-64-small"]
    assert all(rung["reason"] for board in found["profiles"] for rung in board["rungs"])
    assert found["rules"][0].startswith("accuracy may drop by 1% at most")
    assert sorted(path.name for path in project.iterdir()) == ["litefleet.toml", "model.tflite"]


def test_a_dry_run_for_people_names_every_rung_and_says_that_nothing_was_made(project: Path) -> None:
    done = subprocess.run(
        [*COMMAND[:-1], "--dry-run"], cwd=project, env=environment(project), capture_output=True, text=True,
        timeout=TIMEOUT_S, check=True,
    )  # fmt: skip
    assert "1. static-int8 (xnnpack): integers throughout" in done.stdout
    assert "nothing was made or written" in done.stdout


def test_in_a_folder_below_the_project_file_pack_needs_no_flags(project: Path) -> None:
    (project / "src" / "deep").mkdir(parents=True)
    done = subprocess.run(
        [*COMMAND, "--dry-run"], cwd=project / "src" / "deep", env=environment(project), capture_output=True,
        text=True, timeout=TIMEOUT_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert f"settings from {project / 'litefleet.toml'}" in done.stderr


def test_a_mistyped_key_of_the_project_file_ends_with_exit_code_2(project: Path) -> None:
    (project / "litefleet.toml").write_text(PROJECT + "max_dorp = 0.1\n")
    done = subprocess.run(
        COMMAND, cwd=project, env=environment(project), capture_output=True, text=True, timeout=TIMEOUT_S,
        check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "pack.max_dorp: unknown key, did you mean 'max_drop'" in done.stderr
