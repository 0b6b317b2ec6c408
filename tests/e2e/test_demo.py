"""The README's first command, as a stranger runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.tools import require

DEMO = Path(__file__).parents[2] / "examples" / "demo" / "run.py"


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_demo_tells_the_whole_story_and_leaves_nothing_behind(tmp_path: Path) -> None:
    require("mosquitto")
    folder = tmp_path / "d"
    done = subprocess.run(
        [sys.executable, DEMO, "--folder", folder], capture_output=True, text=True, timeout=230, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["requests_failed"] == 0
    assert summary["requests_total"] >= 5000
    assert summary["bytes_int8"] <= 0.30 * summary["bytes_float"]
    assert summary["accuracy_int8"] >= summary["accuracy_float"] - 0.01
    assert [row["what"].split(" by ")[0] for row in summary["refused"]] == [
        "digits 1.2.0",
        *["digits 1.3.0"] * 2,
    ]
    mark = f"LITEFLEET_DEMO={folder}".encode()
    left = [path for path in Path("/proc").glob("[0-9]*/environ") if mark in read_if_there(path)]
    assert left == []


def read_if_there(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
