"""Packing the digits model for two profiles: sizes, accuracy, and how long it takes."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

from tests.benchmarks.harness import Row, at_most, versions_of
from tests.support.packager_builders import DIGITS

RUNS = 3
VERSIONS = versions_of("litefleet", "litert-quantizer", "ai-edge-litert", "numpy")


def rows() -> list[Row]:
    """Pack a few times; sizes and accuracies are the same every time."""
    runs = [_pack() for _ in range(RUNS)]
    report = runs[-1][1]
    samples = report["samples"]
    floating = report["float"]["value"]
    made: list[Row] = []
    for row in report["rows"][:2]:
        name = row["variant"]
        made += [
            Row(
                f"digits {name}: bytes / float bytes",
                row["size_ratio"],
                "ratio",
                1,
                at_most(0.30),
                1.0,
                VERSIONS,
            ),
            Row(
                f"digits {name}: accuracy below float",
                100 * (floating - row["value"]),
                "points",
                samples,
                at_most(1.0),
                100 * floating,
                VERSIONS,
            ),
        ]
    seconds = statistics.median(duration for duration, _ in runs)
    return [*made, Row("pack digits for two profiles", seconds, "s", RUNS, versions=VERSIONS)]


def _pack() -> tuple[float, dict[str, Any]]:
    with tempfile.TemporaryDirectory() as output:
        command = [sys.executable, "-m", "packager.cli", "pack", str(DIGITS / "digits-1.0.0.tflite")]
        command += ["--name", "digits", "--version", "1.0.0", "--json", "--output", output]
        command += ["--profile", "generic-x86-64", "--profile", "generic-x86-64-small"]
        command += ["--calibration", str(DIGITS / "calibration"), "--evaluation", str(DIGITS / "evaluation")]
        started = time.perf_counter()
        done = subprocess.run(command, capture_output=True, check=True, timeout=120)
        return time.perf_counter() - started, json.loads(done.stdout)
