"""How long ``litefleet-packager --help`` takes, against importing click alone."""

from __future__ import annotations

import statistics
import subprocess
import sys

from tests.benchmarks.harness import Row, at_most, median_ratio, time_alternating, versions_of

BLOCKS = 15


def rows() -> list[Row]:
    """Start both in turns."""

    def start(*command: str) -> None:
        subprocess.run([sys.executable, *command], capture_output=True, check=True, timeout=60)

    help_s, click_s = time_alternating(
        lambda: start("-m", "packager.cli", "--help"), lambda: start("-c", "import click"), blocks=BLOCKS
    )
    ratio = median_ratio(help_s, click_s)
    versions = versions_of("click")
    return [
        Row("litefleet-packager --help / import click", ratio, "ratio", BLOCKS, at_most(2.0), 1.0, versions),
        Row("litefleet-packager --help", 1000 * statistics.median(help_s), "ms", BLOCKS, at_most(300.0)),
    ]
