"""What the packager shows on a terminal: tables and progress; the packager's door to rich.

Guarantees: progress goes to standard error, and only when that is a terminal; tables go to standard output and
are never cut off where the output is a file or a pipe.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

from rich import box
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table
from rich.text import Text

from contract.manifest import Manifest
from packager.gate import METRIC, Outcome
from packager.report import PackResult, RungRow, manifest_rows, rung_rows

_PIPE_WIDTH = 160  # no table here is wider
_STYLES = {Outcome.SHIPPED.value: "green", Outcome.REFUSED.value: "red", Outcome.UNAVAILABLE.value: "yellow"}


class StepProgress:
    """Shows the current step as one line with a bar; implements the workshop's ``Progress``."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._task = bars.add_task("", total=None)

    def start(self, label: str, total: int | None) -> None:
        """A step begins."""
        self._bars.remove_task(self._task)
        self._task = self._bars.add_task(label, total=total)

    def advance(self, count: int) -> None:
        """Some more units are done."""
        self._bars.advance(self._task, count)


@contextlib.contextmanager
def step_progress() -> Iterator[StepProgress]:
    """A progress line that is gone when the block ends."""
    is_shown = sys.stderr.isatty()
    # A descriptor of its own: native chatter is kept off number 2 meanwhile (packager.quiet).
    target = os.fdopen(os.dup(2), "w", encoding="utf-8") if is_shown else sys.stderr
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    bars = Progress(
        *columns,
        TimeElapsedColumn(),
        console=Console(file=target),
        transient=True,
        disable=not is_shown,
        redirect_stdout=False,
        redirect_stderr=False,
    )
    try:
        with bars:
            yield StepProgress(bars)
    finally:
        if is_shown:
            target.close()


def _console() -> Console:
    return Console() if sys.stdout.isatty() else Console(width=_PIPE_WIDTH)


def show_pack(result: PackResult) -> None:
    """Print the table of rungs and the bundles."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("profile", "variant", "bytes", "ratio", METRIC, "drop", "host p50", "verdict"):
        is_number = heading not in {"profile", "variant", "verdict"}
        table.add_column(heading, justify="right" if is_number else "left", no_wrap=heading != "verdict")
    reference = result.reference
    float_cells = (f"{reference.float_bytes:,}", "1.000", f"{reference.float_value:.4f}")
    table.add_row(
        "(float model)",
        "",
        *float_cells,
        f"{reference.value - reference.float_value:+.4f}",
        f"{result.float_measured.latency_ms_p50:.3f} ms",
        "",
        end_section=True,
    )
    for row in rung_rows(result):
        table.add_row(row.profile, row.variant, *_numbers(row), _verdict(row))
    console = _console()
    console.print(table)
    console.print(
        f"{METRIC} over {result.float_measured.samples} images; at least {reference.describe()} passes",
        highlight=False,
    )
    for path in result.bundles:
        console.print(Text(f"wrote {path} ({path.stat().st_size:,} bytes)"), soft_wrap=True)


def _numbers(row: RungRow) -> tuple[str, ...]:
    if row.size_bytes is None:
        return ("", "", "", "", "")
    return (
        f"{row.size_bytes:,}",
        f"{row.size_ratio:.3f}",
        f"{row.value:.4f}",
        f"{row.drop:+.4f}",
        f"{row.host_latency_ms_p50:.3f} ms",
    )


def _verdict(row: RungRow) -> Text:
    text = f"{row.verdict}: {row.reason}" if row.reason else row.verdict
    return Text(text, style=_STYLES[row.verdict])


def show_manifest(manifest: Manifest) -> None:
    """Print what a bundle holds."""
    console = _console()
    facts = Table(box=None, show_header=False, pad_edge=False)
    for label, text in manifest_rows(manifest):
        facts.add_row(Text(label, style="bold"), Text(text))
    console.print(facts)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("variant", "delegate", "bytes", METRIC, "float", "memory", "TFLite", "sha256"):
        table.add_column(heading, no_wrap=heading != "sha256")
    for variant in manifest.variants:
        table.add_row(
            variant.name,
            variant.delegate.value,
            f"{variant.artifact.size_bytes:,}",
            f"{variant.metrics.value:.4f}",
            f"{variant.metrics.float_value:.4f}",
            f"{variant.peak_memory_bytes:,}",
            f">= {variant.requires.min_version}",
            variant.artifact.sha256,
        )
    console.print(table)
    console.print(f"{len(manifest.artifacts())} artifacts, every digest is right", highlight=False)
