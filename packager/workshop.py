"""Makes and measures the precisions of one model, each once.

Guarantees: however many profiles want a precision, it is quantized once and evaluated once per delegate; what
cannot be made or run is remembered with its reason instead of stopping the run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from contract.errors import RejectedError, RuntimeLoadError
from contract.manifest import ImagePreprocessing
from contract.profile import DelegateName, Precision
from packager.evaluate import Evaluation, EvaluationSet, evaluate, measure_latency_ms
from packager.gate import Measurement
from packager.images import ImageSet
from packager.preprocess import to_inputs
from packager.quantize import quantize
from packager.runtime.flatbuffer import estimate_memory_bytes
from packager.runtime.interpreter import LoadedModel
from packager.sources.tflite import SourceModel

Floats = npt.NDArray[np.float32]


class Progress(Protocol):
    """Told what is going on."""

    def start(self, label: str, total: int | None) -> None:
        """A step begins; ``total`` units will follow, None where nobody knows how many."""
        ...

    def advance(self, count: int) -> None:
        """Some more units of the step are done."""
        ...


@dataclass(frozen=True)
class Material:
    """What a run works with: the model, and its images with the way from pixels to inputs.

    Attributes:
        model: The float model.
        samples: Evaluation images.
        calibration: Calibration images; None where no precision needs them.
        preprocessing: From pixels to inputs.
    """

    model: SourceModel
    samples: EvaluationSet
    calibration: ImageSet | None
    preprocessing: ImagePreprocessing


@dataclass(frozen=True)
class Measured:
    """What one precision on one delegate did."""

    evaluation: Evaluation
    measurement: Measurement


class Workshop:
    """Quantizes and measures on demand, and remembers."""

    def __init__(self, material: Material, progress: Progress) -> None:
        self._material = material
        self._progress = progress
        self._made: dict[Precision, bytes | str] = {}
        self._measured: dict[tuple[Precision, DelegateName], Measured | str] = {}

    def make(self, precision: Precision) -> bytes | str:
        """The model file of a precision, or why it cannot be made."""
        if precision is Precision.FLOAT32:
            return self._material.model.content
        if precision not in self._made:
            self._progress.start(f"quantizing to {precision.value}", None)
            try:
                self._made[precision] = quantize(
                    self._material.model.content, precision, self._material.model.source, self._calibration()
                )
            except RejectedError as error:
                self._made[precision] = str(error)
        return self._made[precision]

    def _calibration(self) -> Floats:
        images = self._material.calibration
        if images is None:
            return np.empty((0, *self._material.model.source.image_shape), dtype=np.float32)
        return to_inputs(images.pixels, self._material.preprocessing)

    def measure(self, precision: Precision, delegate: DelegateName) -> Measured | str:
        """How a precision does on a delegate, or why it cannot be made or run."""
        key = precision, delegate
        if key not in self._measured:
            content = self.make(precision)
            try:
                self._measured[key] = content if isinstance(content, str) else self._run(content, key)
            except RuntimeLoadError as error:
                self._measured[key] = str(error)
        return self._measured[key]

    def _run(self, content: bytes, key: tuple[Precision, DelegateName]) -> Measured:
        material = self._material
        self._progress.start(f"measuring {key[0].value}", len(material.samples.classes))
        model = LoadedModel(content, key[1])
        evaluation = evaluate(model, material.samples, material.preprocessing, self._progress.advance)
        measurement = Measurement(
            size_bytes=len(content),
            value=evaluation.accuracy,
            samples=evaluation.samples,
            peak_memory_bytes=estimate_memory_bytes(content),
            latency_ms_p50=measure_latency_ms(model, material.samples, material.preprocessing),
        )
        return Measured(evaluation, measurement)

    def inputs(self, positions: Sequence[int]) -> Floats:
        """(positions, H, W, C) float32 inputs of evaluation images."""
        return to_inputs(self._material.samples.images.pixels[list(positions)], self._material.preprocessing)

    def outputs(self, precision: Precision, delegate: DelegateName, positions: Sequence[int]) -> Floats:
        """(positions, classes) float32 real outputs of a precision that was measured."""
        content = self.make(precision)
        assert isinstance(content, bytes)  # noqa: S101 - asked for shipped variants only
        return LoadedModel(content, delegate).run(self.inputs(positions))
