"""Makes and measures the variants of one model, each once.

Guarantees: however many profiles want a variant, it is quantized once and evaluated once per delegate; what an earlier
run made from the same things is taken from the cache; what cannot be made or run is remembered with its reason instead
of stopping the run.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec
import numpy as np

from contract.errors import RejectedError, RuntimeLoadError
from contract.pixels import is_usual_image
from contract.processing import ImagePreprocessing
from contract.profile import DelegateName, Precision
from packager.border.rewrite import dress
from packager.cache import Stages, processor_kind, stage_key
from packager.description import sample_shape
from packager.evaluate import BLOCK, Evaluation, SettledModel, collect, conclude, measure_latency_ms
from packager.gate import Measurement
from packager.lanes import lane_count
from packager.plan import Rung
from packager.preprocess import input_range
from packager.quantize import (
    Learning,
    Ranges,
    calibrate,
    compare_tensors,
    describe_recipe,
    pin_range,
    quantize,
    tool_versions,
)
from packager.record import Run, decode_run, encode_run
from packager.runtime.flatbuffer import estimate_memory_bytes
from packager.runtime.graph import read_graph
from packager.runtime.interpreter import LoadedModel
from packager.runtime.ranges import is_plain
from packager.selective import Ranking, rank, read_steps
from packager.sources.tflite import SourceModel
from packager.tasks.kind import Presentation
from packager.tasks.task import Array, Inputs, Relative, Scores, Task

_RANKING_SAMPLES = 16
"""Ranges of errors settle within a few samples; each takes two interpreters that keep every tensor."""


class Progress(Protocol):
    """Told what is going on."""

    def start(self, label: str, total: int | None) -> None:
        """A step begins; ``total`` units will follow, None where nobody knows how many."""
        ...

    def advance(self, count: int) -> None:
        """Some more units of the step are done."""
        ...

    def tell(self, line: str) -> None:
        """Something that whoever waits should read now."""
        ...


@dataclass(frozen=True)
class Material:
    """What a run works with.

    Attributes:
        model: The float model.
        task: Its evaluation samples and how they are scored.
        calibration: What static precisions learn ranges from; None where no precision needs it.
        presentation: What the manifest says of the task.
    """

    model: SourceModel
    task: Task
    calibration: Inputs | None
    presentation: Presentation


@dataclass(frozen=True)
class Measured:
    """What one variant on one delegate did."""

    evaluation: Evaluation
    measurement: Measurement


class Finish(Protocol):
    """From a model file to the one that is measured and ships."""

    def __call__(self, content: bytes, /) -> bytes:
        """The finished file."""
        ...


class Workshop:
    """Quantizes and measures on demand, and remembers."""

    def __init__(
        self,
        material: Material,
        progress: Progress,
        stages: Stages,
        finish: Finish = bytes,
    ) -> None:
        """Nothing is made yet.

        Args:
            material: What everything is made from.
            progress: Told what is going on.
            stages: What earlier runs made.
            finish: From a model file to the one that is measured and ships.
        """
        self._material = material
        self._finish = finish
        self._progress = progress
        self._stages = stages
        self._origin = {
            "model": hashlib.sha256(material.model.content).hexdigest(),
            "tools": tool_versions(),
            "processor": processor_kind(),
        }
        self._ranges: dict[Precision, Ranges] = {}
        self._formed: dict[tuple[Precision, tuple[str, ...]], bytes] = {}
        self._made: dict[tuple[Precision, tuple[str, ...]], bytes | str] = {}
        self._measured: dict[tuple[Precision, tuple[str, ...], DelegateName], Measured | str] = {}
        self._blamed: dict[tuple[Precision, tuple[str, ...]], Ranking] = {}

    @property
    def material(self) -> Material:
        """What it works with."""
        return self._material

    @property
    def task(self) -> Task:
        """What is measured."""
        return self._material.task

    def refer_to(self, scores: Scores) -> None:
        """Measure against these scores of the float model from now on, where the task's metric does that."""
        if isinstance(self._material.task, Relative):
            task = self._material.task.with_reference(scores)
            self._material = dataclasses.replace(self._material, task=task)

    @property
    def progress(self) -> Progress:
        """Who is told."""
        return self._progress

    def make(self, rung: Rung) -> bytes | str:
        """The model file of a rung as it ships, or why it cannot be made."""
        key = rung.precision, rung.floats
        if key not in self._made:
            try:
                self._made[key] = self._finish(dress(self._form(rung), self._image))
            except RejectedError as error:
                self._made[key] = str(error)
        return self._made[key]

    def make_integer(self, rung: Rung) -> bytes:
        """The model file of a rung that was made, in the form that computes as few floats as it can.

        Raises:
            RejectedError: It cannot be made.
        """
        return self._finish(dress(self._form(rung), self._image, is_for_accelerator=True))

    @property
    def _image(self) -> ImagePreprocessing | None:
        return self._material.presentation.preprocessing

    def _form(self, rung: Rung) -> bytes:
        """As the quantizer made it."""
        if rung.precision is Precision.FLOAT32:
            return self._material.model.content
        key = rung.precision, rung.floats
        if key not in self._formed:
            self._progress.start(f"quantizing to {rung.name}", None)
            self._formed[key] = self._stages.run(self._made_key(rung), lambda: self._quantize(rung))
        return self._formed[key]

    def _made_key(self, rung: Rung) -> str:
        calibration = self._material.calibration
        return stage_key(
            "quantized",
            **self._origin,
            recipe=describe_recipe(rung.precision, rung.floats),
            calibration=[calibration.sha256, calibration.preparation, self._learning] if calibration else [],
            pinned=self._pinned_range if rung.precision is Precision.STATIC_INT8 else None,
        )

    @property
    def _pinned_range(self) -> tuple[float, float] | None:
        """What the image's real values can be: known, so its scale does not depend on the calibration images."""
        return input_range(self._image) if self._image is not None and is_usual_image(self._image) else None

    @property
    def _learning(self) -> Learning:
        return Learning.AVERAGE if self._image else Learning.EXTREMES

    def _quantize(self, rung: Rung) -> bytes:
        model, precision = self._material.model, rung.precision
        if precision not in self._ranges:
            found = calibrate(
                model.content, precision, model.source, self._calibration_inputs(), self._learning
            )
            if precision is Precision.STATIC_INT8 and self._pinned_range:
                graph = read_graph(model.content)
                found = pin_range(found, graph.tensors[graph.inputs[0]].name, *self._pinned_range)
            self._ranges[precision] = found
        return quantize(model.content, precision, self._ranges[precision], rung.floats)

    def _calibration_inputs(self) -> tuple[Array, ...]:
        calibration = self._material.calibration
        if calibration is not None:
            return calibration.inputs(range(len(calibration)))
        return tuple(np.empty((0, *sample_shape(spec))) for spec in self._material.model.source.inputs)

    def measure(self, rung: Rung) -> Measured | str:
        """How a rung does on its delegate, or why it cannot be made or run."""
        key = rung.precision, rung.floats, rung.delegate
        if key not in self._measured:
            content = self.make(rung)
            try:
                self._measured[key] = content if isinstance(content, str) else self._run(content, rung)
            except RuntimeLoadError as error:
                self._measured[key] = str(error)
        return self._measured[key]

    def _run(self, content: bytes, rung: Rung) -> Measured:
        task = self.task
        self._progress.start(f"measuring {rung.name}", len(task))
        key = stage_key(
            "measured",
            **self._origin,
            variant=hashlib.sha256(content).hexdigest(),
            delegate=rung.delegate,
            samples=[task.sha256, task.preparation, task.scoring],
        )
        run = decode_run(self._stages.run(key, lambda: self._evaluate(content, rung)))
        found = conclude(task, run.answers)
        measurement = Measurement(
            size_bytes=len(content),
            value=found.value,
            samples=len(task),
            peak_memory_bytes=estimate_memory_bytes(content),
            latency_ms_p50=run.latency_ms_p50,
            classes=found.classes,
            useless=found.useless,
        )
        return Measured(found, measurement)

    def _evaluate(self, content: bytes, rung: Rung) -> bytes:
        model, task = self._load(content, rung), self.task
        # One model with memory of earlier samples has to see them all, in order.
        lanes = lane_count(math.ceil(len(task) / BLOCK)) if is_plain(content) else 1
        helpers = [self._load(content, rung) for _ in range(lanes - 1)]
        answers = collect(model, task, self._progress.advance, helpers)
        return encode_run(Run(answers, measure_latency_ms(model, task)))

    def blame(self, rung: Rung, most: int = _RANKING_SAMPLES) -> Ranking:
        """Which operators of a rung's model add how much error.

        Args:
            rung: One that was measured.
            most: On how many samples to compare; a comparison on more that was made before is taken instead.

        Raises:
            RejectedError: The model cannot be compared with the float one.
        """
        known = self._blamed.get((rung.precision, rung.floats))
        if known is None or known.samples < most:
            known = self._blamed[rung.precision, rung.floats] = self._blame(rung, most)
        return known

    def _blame(self, rung: Rung, most: int) -> Ranking:
        model = self._material.model
        made = self._form(rung)
        self._progress.start(f"looking for what spoils {rung.name}", None)
        samples = self._material.calibration or self.task
        every = range(0, len(samples), max(1, len(samples) // most))[:most]
        inputs = samples.inputs(every)
        key = stage_key(
            "compared", **self._origin, variant=hashlib.sha256(made).hexdigest(), inputs=_digest(inputs)
        )
        compare = lambda: msgspec.json.encode(compare_tensors(model.content, made, model.source, inputs))  # noqa: E731
        errors = msgspec.json.decode(self._stages.run(key, compare), type=dict[str, float])
        operators = rank(read_steps(read_graph(model.content)), errors, rung.precision)
        return Ranking(tuple(operators), len(every))

    def outputs(self, rung: Rung, positions: Sequence[int]) -> tuple[Array, ...]:
        """(positions, ...) of every output of a rung that was measured."""
        content = self.make(rung)
        assert isinstance(content, bytes)  # noqa: S101 - asked for shipped rungs only
        return self._load(content, rung).run(self.task.inputs(positions))

    def _load(self, content: bytes, rung: Rung) -> SettledModel:
        names = [spec.name for spec in self._material.model.source.outputs]
        model = LoadedModel(content, rung.delegate, self._image)
        return SettledModel(model, self._material.presentation.decoding, names)


def _digest(arrays: Sequence[Array]) -> str:
    digest = hashlib.sha256()
    for values in arrays:
        digest.update(repr((values.shape, values.dtype.str)).encode())
        digest.update(values.tobytes())
    return digest.hexdigest()
