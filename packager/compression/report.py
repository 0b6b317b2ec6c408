"""What compressing and distilling have to say, as lines and as JSON.

PURE. Rules:

1. A drop is the reference less the value, as in ``packager.report``.
2. Bytes that travel are told plain and compressed: pruning and clustering change only the latter.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from packager.compression.download import Download


class Tried(msgspec.Struct, frozen=True, kw_only=True):
    """One setting that was measured.

    Attributes:
        what: The setting in words.
        value: The metric, 0 to 1.
        fault: What the gate says against it; empty when it passes.
    """

    what: str
    value: float
    fault: str


class LayerRow(msgspec.Struct, frozen=True, kw_only=True):
    """What was done to the weights of one layer.

    Attributes:
        name: Of the weight tensor.
        elements: How many weights it has.
        zeros: How many of them are 0 now.
        values: How many different shares of their channel's largest weight they have at most; 0 for no such limit.
    """

    name: str
    elements: int
    zeros: int
    values: int


class DownloadRow(msgspec.Struct, frozen=True, kw_only=True):
    """What one form of the model takes to download.

    Attributes:
        form: ``float32``, or a precision that it was quantized to.
        before: Of the model as it was given.
        after: Of the compressed one.
    """

    form: str
    before: Download
    after: Download


class CompressionReport(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it.

    Attributes:
        model: The file's name.
        what: What was done to the weights, in words.
        prune: Share of every layer's weights that is 0.
        clusters: Values a layer's weights have at most; 0 for no such limit.
        metric: The task's.
        samples: Over how many.
        before: The metric of the model as it was given.
        after: The metric of the compressed one; None when no setting was tried that can be told of.
        drop_low: Lower end of the drop's bootstrap interval.
        drop_high: Upper end.
        confidence: Of the interval.
        limit: What the gate asked for, in words.
        fault: Why it is refused; empty when it passes.
        tried: Every setting that was measured, in turn.
        layers: What was done to each.
        downloads: Form by form.
        untuned: The metric without fine-tuning; None where there was none.
        epochs: How often fine-tuning saw the training samples; 0 for never.
        output: The file that was written; empty when none was.
    """

    model: str
    what: str
    prune: float
    clusters: int
    metric: str
    samples: int
    before: float
    after: float | None
    drop_low: float | None
    drop_high: float | None
    confidence: float
    limit: str
    fault: str
    tried: tuple[Tried, ...]
    layers: tuple[LayerRow, ...]
    downloads: tuple[DownloadRow, ...]
    untuned: float | None
    epochs: int
    output: str


class DistillationReport(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a distillation.

    Attributes:
        teacher: The file's name.
        student: The file's name.
        metric: The task's.
        samples: Over how many.
        teacher_value: The teacher's metric.
        before: The student's, as it was given.
        alone: The student's after the same training without the teacher; None where that was not made.
        after: The distilled student's.
        teacher_download: The teacher as float .tflite.
        student_download: The distilled student as float .tflite.
        limit: What the gate asked for, in words.
        fault: Why it is refused; empty when it passes.
        epochs: How often the training samples were seen.
        output: The file that was written; empty when none was.
    """

    teacher: str
    student: str
    metric: str
    samples: int
    teacher_value: float
    before: float
    alone: float | None
    after: float
    teacher_download: Download
    student_download: Download
    limit: str
    fault: str
    epochs: int
    output: str


def compression_lines(report: CompressionReport) -> Iterator[str]:
    """For people."""
    yield (
        f"{report.model}: {report.metric} {report.before:.4f} over {report.samples} samples; "
        f"at least {report.limit} passes"
    )
    for one in report.tried:
        yield f"  {one.what}: {report.metric} {one.value:.4f}{', refused: ' + one.fault if one.fault else ''}"
    if report.untuned is not None:
        yield f"  fine-tuned for {report.epochs} epochs; without it {report.metric} {report.untuned:.4f}"
    if report.after is not None and not report.fault:
        interval = (
            f" ({report.confidence:g} bootstrap interval {report.drop_low:+.4f} to {report.drop_high:+.4f})"
            if report.drop_low is not None and report.drop_high is not None
            else ""
        )
        yield f"{report.what}: {report.metric} {report.after:.4f}, drop {report.before - report.after:+.4f}{interval}"
    for layer in report.layers:
        share = f"{layer.zeros / layer.elements:.0%} zeros"
        values = f", at most {layer.values} shares of a channel's largest" if layer.values else ""
        yield f"  {layer.name.partition(';')[0]}: {layer.elements:,} weights, {share}{values}"
    if report.downloads:
        yield from download_lines(report.downloads)
    if report.output:
        yield f"wrote {report.output}"


def download_lines(rows: tuple[DownloadRow, ...]) -> Iterator[str]:
    """A table of what travels, before and after."""
    yield f"{'bytes to download':<18} {'as a file':>22} {'after zlib':>22} {'after lzma':>22}"
    for row in rows:
        cells = (
            f"{before:,} > {after:,}" if before != after else f"{before:,}"
            for before, after in (
                (row.before.plain_bytes, row.after.plain_bytes),
                (row.before.zlib_bytes, row.after.zlib_bytes),
                (row.before.lzma_bytes, row.after.lzma_bytes),
            )
        )
        yield f"{row.form:<18} " + " ".join(f"{cell:>22}" for cell in cells)


def distillation_lines(report: DistillationReport) -> Iterator[str]:
    """For people."""
    yield f"{report.metric} over {report.samples} samples; at least {report.limit} passes"
    yield f"  teacher {report.teacher}: {report.teacher_value:.4f}, {_size(report.teacher_download)}"
    yield f"  student {report.student} as given: {report.before:.4f}"
    if report.alone is not None:
        yield f"  student trained alone for {report.epochs} epochs: {report.alone:.4f}"
    drop = f"{report.teacher_value - report.after:+.4f}"
    yield (
        f"  student distilled for {report.epochs} epochs: {report.after:.4f}, {_size(report.student_download)}, "
        f"drop against the teacher {drop}"
    )
    if report.output:
        yield f"wrote {report.output}"


def _size(download: Download) -> str:
    return f"{download.plain_bytes:,} bytes as float .tflite"
