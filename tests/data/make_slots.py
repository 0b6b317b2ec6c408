"""Make the slot folders that the agent's tests run: ``python tests/data/make_slots.py``.

Guarantees: the same bytes on every run with the same litert-quantizer. Each slot is as the agent fills one:
``manifest.json``, ``variant``, ``artifacts/<sha256>``; static int8 with int8 input and output, calibrated with all
calibration images, and the golden inputs are the first evaluation image of each digit.

Tests need the folders, not this script: they run where there is no quantizer.
"""

from __future__ import annotations

import hashlib
import io
import shutil
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
from ai_edge_litert.interpreter import Interpreter
from litert_quantizer import quantizer, recipe
from PIL import Image

from contract.manifest import (
    Artifact,
    BundleRequires,
    ClassificationPostprocessing,
    Color,
    Golden,
    ImagePreprocessing,
    Manifest,
    Provenance,
    Task,
    Tolerance,
    Variant,
    VariantMetrics,
    check_built,
    serialize_manifest,
)
from contract.profile import DelegateName, Precision
from contract.tensor import DType, Layout, TensorSpec

HERE = Path(__file__).parent
DIGITS = HERE.parent.parent / "examples" / "digits"
SLOTS = HERE / "slots"
VERSIONS = ("1.0.0", "1.1.0")
VARIANT = "static-int8"
TOLERANCE = Tolerance(max_abs_error=2.5 / 256)
"""Two steps of the int8 output, whose scale is 1/256, and half a step for rounding on the way."""


def load_images(paths: list[Path]) -> npt.NDArray[np.float32]:
    """Images as (N, 8, 8, 1) float32, 0 to 1."""
    pixels = np.stack([np.asarray(Image.open(path), np.float32) for path in paths])
    return (pixels / np.float32(255))[..., np.newaxis]


def quantize_model(model: Path) -> bytes:
    """A float model with int8 weights, activations, input and output."""
    images = load_images(sorted((DIGITS / "calibration").glob("*/*.png")))
    work = quantizer.Quantizer(str(model), recipe.static_wi8_ai8())
    calibration = work.calibrate({"serving_default": [{"image": image[np.newaxis]} for image in images]})
    return bytes(work.quantize(calibration, enable_progress_report=False).quantized_model)


def run_model(model: bytes, images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Real-valued outputs (N, 1, 10) of an int8 model."""
    interpreter = Interpreter(model_content=model, num_threads=1)
    interpreter.allocate_tensors()
    source, sink = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    (scale, zero), (out_scale, out_zero) = source["quantization"], sink["quantization"]
    rows = []
    for image in images:
        stored = np.clip(np.rint(image / np.float32(scale)) + zero, -128, 127).astype(np.int8)
        interpreter.set_tensor(source["index"], stored[np.newaxis])
        interpreter.invoke()
        raw = interpreter.get_tensor(sink["index"]).astype(np.float32)
        rows.append((raw - np.float32(out_zero)) * np.float32(out_scale))
    return np.stack(rows)


def make_golden(model: bytes) -> tuple[bytes, int]:
    """The golden artifact and its number of samples."""
    paths = [min(folder.glob("*.png")) for folder in sorted((DIGITS / "evaluation").iterdir())]
    images = load_images(paths)
    stream = io.BytesIO()
    arrays = {"input.image": images, f"expected.{VARIANT}.probabilities": run_model(model, images)[:, 0]}
    np.savez(stream, **arrays)  # type: ignore[arg-type]  # its stub takes the keywords for allow_pickle
    return stream.getvalue(), len(images)


def artifact_of(content: bytes) -> Artifact:
    """Description of some bytes."""
    return Artifact(sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content))


def make_manifest(version: str, source: bytes, model: bytes, golden: bytes, samples: int) -> Manifest:
    """The manifest of one version."""
    return Manifest(
        schema=1,
        model="digits",
        version=version,
        profile="generic-x86-64",
        task=Task.CLASSIFICATION,
        inputs=(
            TensorSpec(
                name="image",
                shape=(1, 8, 8, 1),
                dtype=DType.FLOAT32,
                layout=Layout.NHWC,
                value_range=(0.0, 1.0),
            ),
        ),
        outputs=(TensorSpec(name="probabilities", shape=(1, 10), dtype=DType.FLOAT32, layout=Layout.NC),),
        preprocessing=ImagePreprocessing(width=8, height=8, color=Color.GRAYSCALE, mean=(0.0,), std=(255.0,)),
        postprocessing=ClassificationPostprocessing(top_k=3),
        labels=tuple((DIGITS / "labels.txt").read_text(encoding="utf-8").split()),
        variants=(
            Variant(
                name=VARIANT,
                artifact=artifact_of(model),
                precision=Precision.STATIC_INT8,
                delegate=DelegateName.XNNPACK,
                metrics=VariantMetrics(metric="accuracy", value=0.998, float_value=0.998, samples=500),
                peak_memory_bytes=8 << 20,
            ),
        ),
        golden=Golden(artifact=artifact_of(golden), samples=samples, tolerance={VARIANT: TOLERANCE}),
        requires=BundleRequires(memory_bytes=8 << 20, disk_bytes=1 << 20),
        provenance=Provenance(
            source_name=f"digits-{version}.tflite",
            source_sha256=hashlib.sha256(source).hexdigest(),
            calibration_sha256=hashlib.sha256(b"examples/digits/calibration").hexdigest(),
            evaluation_sha256=hashlib.sha256(b"examples/digits/evaluation").hexdigest(),
            tools={"litert-quantizer": "0.11.0"},
            recipes={VARIANT: "static_wi8_ai8"},
        ),
    )


def make_slot(version: str) -> None:
    """Write one slot folder, replacing what is there."""
    source = DIGITS / f"digits-{version}.tflite"
    model = quantize_model(source)
    golden, samples = make_golden(model)
    manifest = make_manifest(version, source.read_bytes(), model, golden, samples)
    check_built(manifest)
    folder = SLOTS / f"digits-{version}"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "artifacts").mkdir(parents=True)
    for content in (model, golden):
        (folder / "artifacts" / artifact_of(content).sha256).write_bytes(content)
    (folder / "manifest.json").write_bytes(serialize_manifest(manifest))
    (folder / "variant").write_bytes(msgspec.json.encode({"name": VARIANT}))


if __name__ == "__main__":
    for each in VERSIONS:
        make_slot(each)
