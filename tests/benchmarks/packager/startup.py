"""How long ``litefleet-packager --help`` takes, that of its slowest command, and ``import packager``.

Beside them stands importing click alone, in turns with ``--help``.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Iterator

import click

from packager.cli import main
from tests.benchmarks.harness import Row, at_most, median_ratio, time_alternating, versions_of

BLOCKS, COMMAND_BLOCKS, GOAL_MS = 15, 5, 300.0


def rows() -> list[Row]:
    """Start them in turns."""
    help_s, click_s = time_alternating(
        lambda: _start("-m", "packager.cli", "--help"), lambda: _start("-c", "import click"), blocks=BLOCKS
    )
    import_s = [_start("-c", "import packager") for _ in range(BLOCKS)]
    commands = sorted(_commands(main))
    seconds: dict[str, list[float]] = {" ".join(command): [] for command in commands}
    for _ in range(COMMAND_BLOCKS):
        for command in commands:
            seconds[" ".join(command)].append(_start("-m", "packager.cli", *command, "--help"))
    medians = {name: 1000 * statistics.median(values) for name, values in seconds.items()}
    slowest = max(medians, key=lambda name: medians[name])
    ratio, goal = median_ratio(help_s, click_s), at_most(GOAL_MS)
    return [
        Row("--help / import click", ratio, "ratio", BLOCKS, at_most(2.0), 1.0, versions_of("click")),
        Row("--help", 1000 * statistics.median(help_s), "ms", BLOCKS, goal),
        Row(
            f"--help of the slowest of {len(commands)} commands", medians[slowest], "ms", COMMAND_BLOCKS, goal
        ),
        Row("import packager", 1000 * statistics.median(import_s), "ms", BLOCKS, goal),
    ]


def _start(*command: str) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, *command], capture_output=True, check=True, timeout=60)
    return time.perf_counter() - started


def _commands(group: click.Group, before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        path = (*before, name)
        yield path
        if isinstance(command, click.Group):
            yield from _commands(command, path)
