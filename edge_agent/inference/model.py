"""One model at work: a slot's variant on a runtime, with the real values that applications deal in.

Guarantees: inputs and outputs are found by name and checked against the manifest before the first request; what is
read from memory that an application shares is copied before it is checked; the model is warm before it is ready.
Owned by one thread.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import numpy.typing as npt

from contract.decoding import Decoder, settle
from contract.errors import InferenceError, InputError, RuntimeLoadError, SelfTestError
from contract.pixels import takes_pixels
from contract.profile import CPU_DELEGATES
from contract.tensor import DType
from contract.vision import fit_image, prepare_image
from edge_agent.inference import protocol
from edge_agent.inference.borders import match_borders
from edge_agent.inference.control import SelfTestReport
from edge_agent.inference.engine import UNPROVED, Engine
from edge_agent.inference.greeting import check_answer_size, describe, with_stored
from edge_agent.inference.image_files import fit_file
from edge_agent.inference.postprocess import (
    FEW_CLASSES,
    Dequantizer,
    best_classes,
    best_numbers,
    check_numbers,
    softmax,
)
from edge_agent.inference.preprocess import PixelQuantizer, Quantizer, check_finite
from edge_agent.inference.runtime import Border, Graph, Runtime
from edge_agent.inference.selftest import GoldenCases, golden_cases, judge
from edge_agent.inference.slot import Slot
from edge_agent.inference.stored import values_at
from edge_agent.inference.weight_cache import is_worth

if TYPE_CHECKING:
    from pathlib import Path

    from contract.manifest import Variant
    from edge_agent.inference.answering import Shortcut
    from edge_agent.inference.compiled import CompiledGraph

WARM_UP_RUNS = 3
"""The first run allocates and touches memory, the second may still; measured on digits: 5, 1.2, 1.0 times the rest."""
_WARM_UP_S = 0.005
"""A run that would end later does not begin: what is left shows in models that take less (MobileNetV2 224: 1.0 in the
second run), and for those a worker rehearses requests besides."""


class LoadedModel:
    """A model that is ready to infer.

    Attributes:
        graph: On the runtime.
        threads: Of its interpreter.
        run_seconds: Number of threads to the time of one run, as it was measured; None when nothing was to be.
        warm_s: How long the last run of the warm-up took, seconds.
        digest: sha256 of the model file.
        welcome: What applications are told.
    """

    def __init__(self, slot: Slot, runtime: Runtime, threads: int, engine: Engine = UNPROVED) -> None:
        """Load, check and warm up.

        Raises:
            DigestError: The model file is damaged.
            StorageError: It cannot be read.
            RuntimeLoadError: The runtime refuses it, or it is not what the manifest describes.
            MessageError: It has more or longer tensor names than a frame holds.
        """
        manifest = slot.manifest
        self._slot = slot
        self.digest = slot.variant.artifact.sha256
        self.threads = threads
        self.run_seconds: dict[int, float] | None = None
        self.warm_s = 0.0
        self._load = functools.partial(_open, slot.variant, slot.model_path(), runtime, engine)
        self.graph: Graph | CompiledGraph = self._load(threads)
        self._inputs = match_borders(manifest.inputs, self.graph.inputs, "input")
        self._outputs = match_borders(manifest.outputs, self.graph.outputs, "output")
        self._output_names = [border.name for border in self._outputs]
        self._run_order = [self._inputs.index(border) for border in self.graph.inputs]
        self._read_order = [self.graph.outputs.index(border) for border in self._outputs]
        first, recipe = self._inputs[0], manifest.preprocessing
        self._takes_pixels = manifest.inputs[0].dtype is DType.FLOAT32 and takes_pixels(
            first.dtype.name, first.scale, first.zero_point, recipe
        )
        self._quantizers: list[Quantizer | PixelQuantizer | None] = [
            Quantizer(border.name, border.shape, border.scale, border.zero_point, border.dtype)
            if spec.dtype is DType.FLOAT32 and border.dtype != np.float32
            else None
            for spec, border in zip(manifest.inputs, self._inputs, strict=True)
        ]
        if self._takes_pixels and recipe is not None:
            self._quantizers[0] = PixelQuantizer(first.name, recipe)
        self._dequantizers = [
            Dequantizer(border.scale, border.zero_point, border.dtype, _size(border))
            if border.scale
            else None
            for border in self._outputs
        ]
        self._labels = [label.encode() for label in manifest.labels]
        self._decoder = self._plan_decoding()
        self.welcome = self._describe()
        check_answer_size(manifest.postprocessing, self._labels, self._outputs[0].shape)
        self.warm_up()

    def _plan_decoding(self) -> Decoder | None:
        manifest = self._slot.manifest
        if manifest.decoding is None:
            return None
        if any(at.shape[:1] != (1,) for at in self._outputs):
            raise RuntimeLoadError("outputs are decoded one request at a time: the model's batch must be 1")
        shapes = [(at.name, at.shape) for at in self._outputs]
        return Decoder(manifest.decoding, shapes, manifest.preprocessing)

    def _describe(self) -> protocol.Welcome:
        own = [(at.name, at.shape) for at in self._outputs]
        answered = own if self._decoder is None else self._decoder.results
        welcome = describe(self._slot, [at.shape for at in self._inputs], answered, self.threads)
        stored = self._stored_output()
        return welcome if stored is None else with_stored(welcome, stored)

    def _stored_output(self) -> protocol.StoredOutput | None:
        """How applications read the output as it is stored; None where they cannot."""
        border, dequantizer, recipe = (
            self._outputs[0],
            self._dequantizers[0],
            self._slot.manifest.postprocessing,
        )
        if not self._has_shortcut() or dequantizer is None or not dequantizer.keeps_order:
            return None
        return protocol.StoredOutput(
            dtype=DType(border.dtype.name),
            scale=border.scale,
            zero_point=border.zero_point,
            top_k=min(recipe.top_k, _size(border)) if recipe else 0,
            labels=self._slot.manifest.labels,
        )

    def _has_shortcut(self) -> bool:
        recipe = self._slot.manifest.postprocessing
        if len(self._inputs) > 1 or len(self._outputs) > 1 or self._decoder is not None:
            return False
        return recipe is None or not (recipe.softmax or recipe.top_k > FEW_CLASSES)

    @property
    def is_accelerated(self) -> bool:
        """Whether a delegate in a library of its own runs it."""
        return self.graph.delegate.actual not in {name.value for name in CPU_DELEGATES}

    def use_threads(self, threads: int) -> None:
        """Load it again with so many threads; cold.

        Raises:
            RuntimeLoadError: The runtime refuses it.
        """
        del self.graph  # memory holds one of them
        self.graph = self._load(threads)
        self.threads = threads
        self.welcome = msgspec.structs.replace(self.welcome, threads=threads)

    def warm_up(self) -> None:
        """Run until it is as fast as it gets.

        Raises:
            RuntimeLoadError: It does not run.
        """
        zeros = [np.zeros(border.shape, border.dtype) for border in self.graph.inputs]
        began = time.perf_counter()
        ends = began + _WARM_UP_S
        try:
            for _ in range(WARM_UP_RUNS):
                self.graph.run(zeros)
                ended = time.perf_counter()
                self.warm_s = ended - began
                if ended + self.warm_s > ends:
                    break
                began = ended
        except InferenceError as error:
            raise RuntimeLoadError(f"the first run failed: {error}") from error

    def infer(self, tensors: Sequence[npt.NDArray[Any]]) -> list[npt.NDArray[np.float32]]:
        """Run on ready inputs.

        Args:
            tensors: In the manifest's order, shape and dtype; may be shared memory.

        Returns:
            Real values in the manifest's order of outputs.

        Raises:
            InputError: Values are not finite.
            InferenceError: The runtime failed, or an output is NaN.
        """
        return self._run([self._stored(place, tensor) for place, tensor in enumerate(tensors)])

    def _stored(self, place: int, tensor: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """An input as the model stores it."""
        quantizer = self._quantizers[place]
        if quantizer is not None:
            return quantizer.quantize(tensor)
        if tensor.dtype.kind != "f":
            return tensor  # every whole number will do, and the interpreter makes the only copy
        own = tensor.copy()
        check_finite(own, self._inputs[place].name)
        return own

    def shortcut(
        self,
        inputs: Sequence[npt.NDArray[Any]],
        outputs: Sequence[npt.NDArray[np.float32]],
        *,
        takes_stored: bool,
    ) -> Shortcut | None:
        """A way of few steps, each gone with cold caches: for one input and one output, without decoding.

        Args:
            inputs: Shared memory.
            outputs: Shared memory.
            takes_stored: Whether the client can read the output as it is stored.
        """
        if not self._has_shortcut():
            return None
        recipe, stored = self._slot.manifest.postprocessing, self.welcome.stored
        if stored is not None and takes_stored:
            return self._leaving_stored(
                inputs[0], values_at(outputs[0], stored).reshape(-1).view(np.uint8).data
            )
        if self._outputs[0].dtype == np.float32 and recipe is not None:
            count = min(recipe.top_k, _size(self._outputs[0]))
            return functools.partial(self._answer_real, inputs[0], outputs[0], count)
        return None

    def _leaving_stored(self, given: npt.NDArray[Any], wanted: memoryview) -> Shortcut:
        """``infer``; the rest is the client's. Each name that is looked up on the way takes a microsecond."""
        run_one = self.graph.run_one
        if self._quantizers[0] is None and given.dtype.kind != "f":

            def leave() -> None:
                wanted[:] = run_one(given).tobytes()

            return leave

        def quantize_and_leave() -> None:
            wanted[:] = run_one(self._stored(0, given)).tobytes()

        return quantize_and_leave

    def _answer_real(
        self, given: npt.NDArray[Any], wanted: npt.NDArray[np.float32], count: int
    ) -> list[tuple[int, float, bytes]]:
        """``infer``, ``finish`` and ``classify``, the last from what no client can reach."""
        real = self.graph.run_one(self._stored(0, given))
        best = best_numbers(real.reshape(-1), count, self._outputs[0].name)
        wanted[...] = real
        return self._labelled(best)

    def _labelled(self, best: list[tuple[int, float]]) -> list[tuple[int, float, bytes]]:
        labels = self._labels
        return [(index, score, labels[index] if index < len(labels) else b"") for index, score in best]

    def _run(self, stored: Sequence[npt.NDArray[Any]]) -> list[npt.NDArray[np.float32]]:
        """Inputs as the model stores them, in the manifest's order."""
        raw = self.graph.run([stored[place] for place in self._run_order])
        real = [
            raw[place].astype(np.float32, copy=False) if dequantizer is None else dequantizer.real(raw[place])
            for place, dequantizer in zip(self._read_order, self._dequantizers, strict=True)
        ]
        decoding = self._slot.manifest.decoding
        if decoding is not None:
            real = settle(decoding, self._output_names, real)
        for values, border in zip(real, self._outputs, strict=True):
            if not border.scale:
                check_numbers(values, border.name)
        return real

    def infer_image(self, pixels: npt.NDArray[np.uint8]) -> list[npt.NDArray[np.float32]]:
        """Run on an image (H, W, C) uint8; only for models whose welcome ``takes_images``. See ``infer``."""
        recipe = self._slot.manifest.preprocessing
        assert recipe is not None  # noqa: S101 - the caller saw takes_images
        if self._takes_pixels:
            # What another process may change meanwhile are pixels before and after.
            return self._run([fit_image(pixels, recipe).reshape(self._inputs[0].shape)])
        return self.infer([prepare_image(pixels, recipe)])

    def infer_file(self, content: bytes) -> tuple[list[npt.NDArray[np.float32]], tuple[int, int]]:
        """Run on an image file; the file's height and width too. See ``infer_image``.

        Raises:
            InputError: It cannot be decoded, or is too large.
        """
        recipe = self._slot.manifest.preprocessing
        assert recipe is not None  # noqa: S101 - the caller saw takes_files
        picture = fit_file(content, recipe)
        return self.infer_image(picture.pixels), picture.size

    def finish(
        self, outputs: Sequence[npt.NDArray[np.float32]], size: tuple[int, int] | None
    ) -> Sequence[npt.NDArray[np.float32]]:
        """What applications get, as ``welcome`` describes it: decoded where the manifest says how, else the outputs.

        Args:
            outputs: Of ``infer``.
            size: Height and width of the image; None for a request with tensors.
        """
        return outputs if self._decoder is None else self._decoder.decode(outputs, size)

    def classify(self, outputs: Sequence[npt.NDArray[np.float32]]) -> list[tuple[int, float, bytes]]:
        """Index, score and UTF-8 label of the best classes; none for a model without postprocessing."""
        recipe = self._slot.manifest.postprocessing
        if recipe is None:
            return []
        scores = outputs[0].reshape(-1)
        if recipe.softmax:
            scores = softmax(scores)
        return self._labelled(best_classes(scores, recipe.top_k))

    def self_test(self) -> SelfTestReport:
        """Run the golden inputs.

        Raises:
            SelfTestError: The answers are not the expected ones, or the golden data does not fit.
            DigestError: The golden artifact is damaged.
            StorageError: It cannot be read.
            ManifestError: It is no golden artifact.
        """
        began = time.perf_counter()
        cases = self._golden_cases()
        tolerance = self._slot.golden.tolerance[self._slot.variant.name]
        samples = enumerate(self._inputs_of(cases))
        answers = [self._infer_golden(sample, inputs) for sample, inputs in samples]
        actual = {
            border.name: np.stack([answer[place] for answer in answers])
            for place, border in enumerate(self._outputs)
        }
        verdict = judge(cases.expected, actual, tolerance)
        return SelfTestReport(
            samples=cases.samples,
            worst_abs_error=verdict.worst_abs_error,
            max_abs_error=tolerance.max_abs_error,
            top1_agreement=verdict.top1_agreement,
            duration_s=time.perf_counter() - began,
        )

    def _infer_golden(self, sample: int, inputs: Sequence[npt.NDArray[Any]]) -> list[npt.NDArray[np.float32]]:
        try:
            return self.infer(inputs)
        except (InferenceError, InputError) as error:
            raise SelfTestError(f"golden sample {sample} could not be run: {error}") from error

    def golden_inputs(self) -> list[list[npt.NDArray[Any]]]:
        """Of every golden sample, what ``infer`` takes; raises as ``self_test`` does."""
        return self._inputs_of(self._golden_cases())

    def _inputs_of(self, cases: GoldenCases) -> list[list[npt.NDArray[Any]]]:
        pairs = list(zip(cases.inputs, self._inputs, strict=True))
        return [[a[sample].reshape(b.shape) for a, b in pairs] for sample in range(cases.samples)]

    def _golden_cases(self) -> GoldenCases:
        specs = self._slot.manifest.inputs
        return golden_cases(
            self._slot.load_golden(),
            variant=self._slot.variant.name,
            inputs=[
                (s.name, _size(b), np.dtype(s.dtype.value)) for s, b in zip(specs, self._inputs, strict=True)
            ],
            outputs=[(border.name, _size(border)) for border in self._outputs],
            samples=self._slot.golden.samples,
        )


def _open(
    variant: Variant, path: Path, runtime: Runtime, engine: Engine, threads: int
) -> Graph | CompiledGraph:
    if is_worth(variant.artifact.size_bytes, variant.delegate, runtime.name, engine):
        from edge_agent.inference.cached_weights import (
            open_cached,  # nothing of it is needed by a small model
        )

        graph = open_cached(runtime, path, variant, threads)
        if graph is not None:
            return graph
    return Graph(runtime, path, variant, threads, engine)


def _size(border: Border) -> int:
    return int(np.prod(border.shape, dtype=np.int64))
