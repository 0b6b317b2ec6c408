"""What the packager shows on a terminal: tables and progress; the packager's door to rich.

Guarantees: progress goes to standard error, and only when that is a terminal; tables go to standard output and
are never cut off where the output is a file or a pipe.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence

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
from contract.profile import Precision
from packager.bootstrap import SHOWN_CONFIDENCE
from packager.compression.report import download_lines
from packager.gate import Outcome
from packager.notes import note_line
from packager.preview import Preview
from packager.report import PackResult, RungRow, manifest_rows, rung_rows

_PIPE_WIDTH = 160  # no table here is wider
_STYLES = {Outcome.SHIPPED.value: "green", Outcome.REFUSED.value: "red", Outcome.UNAVAILABLE.value: "yellow"}

# Bits of weights and activations, as the field writes them; "dyn" quantizes activations anew in each run.
_BITS = {
    Precision.STATIC_INT8: "W8A8",
    Precision.STATIC_INT16: "W8A16",
    Precision.DYNAMIC_INT8: "W8A8 dyn",
    Precision.WEIGHT_ONLY_INT8: "W8A32",
    Precision.WEIGHT_ONLY_INT4: "W4A32",
    Precision.FLOAT16: "W16A32",
    Precision.FLOAT32: "W32A32",
}


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

    def tell(self, line: str) -> None:
        """A line that stays on standard error, above the progress."""
        self._bars.console.print(Text(line), soft_wrap=True)


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
    """Print one table a profile, why rungs do not ship, and the bundles."""
    console = _console()
    reference, floating = result.reference, result.float_measured
    console.print(
        f"float model: {reference.float_bytes:,} bytes, {reference.metric} {reference.float_value:.4f} over "
        f"{floating.samples} samples, {floating.latency_ms_p50:.3f} ms; "
        f"at least {reference.describe()} passes",
        highlight=False,
        soft_wrap=True,
    )
    rows = list(rung_rows(result))
    for profile in result.verdicts:
        _show_profile(console, profile, reference.metric, [row for row in rows if row.profile == profile])
        _show_notes(console, profile, result)
    confidence = reference.rules.confidence or SHOWN_CONFIDENCE
    console.print(
        f"up to: upper end of the {confidence:g} bootstrap interval of the drop; p50 ms: median on this machine",
        highlight=False,
        soft_wrap=True,
    )
    for line in download_lines(result.downloads) if result.downloads else ():
        console.print(Text(line), soft_wrap=True)
    if result.stages_reused:
        stages = result.stages_reused + result.stages_made
        console.print(
            f"{result.stages_reused} of {stages} steps were done by an earlier run", highlight=False
        )
    for path in (*result.bundles, *result.reports):
        console.print(Text(f"wrote {path} ({path.stat().st_size:,} bytes)"), soft_wrap=True)


def _show_profile(console: Console, profile: str, metric: str, rows: Sequence[RungRow]) -> None:
    table = Table(
        title=profile,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    table.add_column("variant", overflow="fold")
    table.add_column("precision", no_wrap=True)
    for heading in ("bytes", "ratio", metric, "drop", "up to", "p50 ms"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for row in rows:
        table.add_row(
            row.variant,
            _BITS[Precision(row.precision)],
            *_numbers(row),
            Text(row.verdict, style=_STYLES[row.verdict]),
        )
    console.print(table)
    for row in rows:
        if row.reason:
            console.print(Text(f"  {row.variant}: {row.reason}"), soft_wrap=True)
        if row.cost_bytes is not None:
            cost = f"costs {row.cost_bytes:+,} bytes and {row.cost_ms:+.3f} ms"
            # Converters join the names of what they fused; the first says enough here, all stand in --json.
            names = ", ".join(name.partition(";")[0] for name in row.floats)
            console.print(
                Text(f"  {row.variant}: {len(row.floats)} operators in float, {cost}: {names}"),
                soft_wrap=True,
            )


def _show_notes(console: Console, profile: str, result: PackResult) -> None:
    """What the rungs cost on the board, and what its delegates take."""
    for note in result.notes:
        if note.profile == profile:
            console.print(Text(f"  {note_line(note)}"), soft_wrap=True)
    for tpu in result.edgetpu:
        if tpu.profile == profile:
            console.print(Text(f"  Edge TPU: {tpu.text}"), soft_wrap=True)


def _numbers(row: RungRow) -> tuple[str, ...]:
    if row.size_bytes is None:
        return ("",) * 6
    return (
        f"{row.size_bytes:,}",
        f"{row.size_ratio:.3f}",
        f"{row.value:.4f}",
        f"{row.drop:+.4f}",
        "" if row.drop_high is None else f"{row.drop_high:+.4f}",
        f"{row.host_latency_ms_p50:.3f}",
    )


def show_preview(preview: Preview) -> None:
    """Print what would be done, and why."""
    console = _console()
    samples = f"{preview.samples} samples, {preview.calibration_samples} calibration samples"
    lines = [
        f"{preview.model}: {preview.metric} over {samples}",
        "gate:",
        *(f"  {rule}" for rule in preview.rules),
        f"made and measured once for all profiles: {', '.join(preview.work)}",
    ]
    for line in lines:
        console.print(Text(line), soft_wrap=True)
    for profile in preview.profiles:
        budgets = f"memory {profile.peak_memory_bytes:,} bytes, bundle {profile.bundle_bytes:,} bytes at most"
        console.print(Text.assemble("\n", (profile.profile, "bold"), f": {budgets}"), soft_wrap=True)
        for number, rung in enumerate(profile.rungs, start=1):
            what = rung.delegate if rung.is_made else "not made"
            console.print(Text(f"  {number}. {rung.variant} ({what}): {rung.reason}"), soft_wrap=True)
            if rung.is_made:
                console.print(Text(f"     cost here: {rung.cost}"), soft_wrap=True)
    console.print(Text("\nnothing was made or written (--dry-run)"), soft_wrap=True)


def show_manifest(manifest: Manifest, records: Sequence[tuple[str, str]] = ()) -> None:
    """Print what a bundle holds.

    Args:
        manifest: The bundle's.
        records: Label and text of more lines.
    """
    console = _console()
    for label, text in [*manifest_rows(manifest), *records]:
        console.print(Text.assemble((f"{label:<12}", "bold"), text), soft_wrap=True)
    table = Table(box=box.SIMPLE_HEAD, collapse_padding=True)
    metric = manifest.variants[0].metrics.metric if manifest.variants else "metric"
    for heading in ("variant", "delegate", "bytes", metric, "float", "memory", "TFLite"):
        is_text = heading in {"variant", "delegate"}
        table.add_column(heading, justify="left" if is_text else "right", no_wrap=True)
    for variant in manifest.variants:
        table.add_row(
            variant.name,
            variant.delegate.value,
            f"{variant.artifact.size_bytes:,}",
            f"{variant.metrics.value:.4f}",
            f"{variant.metrics.float_value:.4f}",
            f"{variant.peak_memory_bytes:,}",
            f">= {variant.requires.min_version}",
        )
    console.print(table)
    for variant in manifest.variants:
        console.print(Text(f"  {variant.artifact.sha256}  {variant.name}"), soft_wrap=True)
    if manifest.golden:
        console.print(Text(f"  {manifest.golden.artifact.sha256}  golden inputs and outputs"), soft_wrap=True)
    console.print(f"{len(manifest.artifacts())} artifacts, every digest is right", highlight=False)
