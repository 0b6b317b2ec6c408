"""Measures changed forms of one float model against it, and holds them to the gate.

Guarantees: both sides see the same samples, scored by the same task; each content is measured once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from contract.errors import ManifestError
from contract.profile import DelegateName, Precision
from packager.bootstrap import SHOWN_CONFIDENCE, drop_interval
from packager.cache import Stages
from packager.compression.download import download_of
from packager.compression.plan import Compression
from packager.compression.report import DownloadRow, LayerRow
from packager.compression.rewrite import compress_model
from packager.gate import Measurement, Reference
from packager.judge import FLOAT_RUNG, make_reference, measure_float
from packager.plan import Rung
from packager.rules import Rules
from packager.workshop import Material, Progress, Workshop

_QUANTIZED = Rung(Precision.DYNAMIC_INT8, DelegateName.XNNPACK)
"""What travels most often is int8; this form of it needs no calibration."""


@dataclass(frozen=True)
class Trial:
    """A changed form of the model.

    Attributes:
        compression: What was done to its weights.
        content: The float .tflite file.
        layers: What was done to each.
        measured: How it did.
        fault: What the gate says against it; empty when it passes.
    """

    compression: Compression
    content: bytes
    layers: tuple[LayerRow, ...]
    measured: Measurement
    fault: str


def with_content(material: Material, content: bytes) -> Material:
    """The same samples with another form of the float model."""
    return dataclasses.replace(material, model=dataclasses.replace(material.model, content=content))


class Bench:
    """Measures against one reference."""

    def __init__(self, material: Material, rules: Rules, progress: Progress, stages: Stages) -> None:
        """Measure the model as it was given.

        Raises:
            ManifestError: It cannot be measured.
        """
        self._progress, self._stages = progress, stages
        self._workshop = Workshop(material, progress, stages)
        self._floating = measure_float(self._workshop)
        # Some metrics are relative to the float model's answers.
        self._workshop.refer_to(self._floating.evaluation.scores)
        self.material = dataclasses.replace(material, task=self._workshop.task)
        self.reference: Reference = make_reference(self.material.task, self._floating, rules, None)
        self.trials: dict[Compression, Trial] = {}

    @property
    def samples(self) -> int:
        """How many samples there are."""
        return len(self.material.task)

    def try_out(self, wanted: Compression, content: bytes | None = None) -> Trial:
        """Compress and measure.

        Args:
            wanted: What to do to the weights.
            content: Of the float model; None for the one that was given.

        Raises:
            ManifestError: It cannot be compressed or measured.
        """
        known = self.trials.get(wanted) if content is None else None
        if known is not None:
            return known
        self._progress.start(f"compressing: {wanted.describe()}", None)
        made, layers = compress_model(content or self.material.model.content, wanted)
        measured = self.measure(made)
        trial = Trial(wanted, made, layers, measured, self.reference.accuracy_fault(measured))
        if content is None:
            self.trials[wanted] = trial
        return trial

    def measure(self, content: bytes) -> Measurement:
        """How a float model does, with the interval of its drop.

        Raises:
            ManifestError: It cannot be measured.
        """
        found = Workshop(with_content(self.material, content), self._progress, self._stages).measure(
            FLOAT_RUNG
        )
        if isinstance(found, str):
            raise ManifestError(f"the changed model cannot be measured: {found}")
        confidence = self.reference.rules.confidence or SHOWN_CONFIDENCE
        scores = found.evaluation.scores, self._floating.evaluation.scores
        interval = drop_interval(self.material.task, *scores, confidence)
        return dataclasses.replace(found.measurement, drop_interval=interval)

    def downloads(self, content: bytes) -> tuple[DownloadRow, ...]:
        """What the model and a changed form of it take to download, in float and in int8."""
        other = Workshop(with_content(self.material, content), self._progress, self._stages)
        return download_rows(self._workshop, other, (FLOAT_RUNG, _QUANTIZED))


def download_rows(before: Workshop, after: Workshop, rungs: Sequence[Rung]) -> tuple[DownloadRow, ...]:
    """What rungs of two forms of one model take to download; without those that cannot be made."""
    rows = []
    for rung in rungs:
        left, right = before.make(rung), after.make(rung)
        if isinstance(left, bytes) and isinstance(right, bytes):
            rows.append(DownloadRow(form=rung.name, before=download_of(left), after=download_of(right)))
    return tuple(rows)
