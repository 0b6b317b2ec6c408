"""Measure the digits models: bytes and evaluation accuracy, float and static int8, as a Markdown table.

Guarantees: calibrates with every image of `calibration/` and counts right answers over every image of
`evaluation/`, on the default delegate (XNNPACK). Does not gate and does not write: README.md's table
comes from here, not from the packager.

Needs ai-edge-litert, litert-quantizer and Pillow; not TensorFlow.

Example:
    python examples/digits/measure.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from ai_edge_litert.interpreter import Interpreter
from litert_quantizer import quantizer, recipe
from PIL import Image

HERE = Path(__file__).parent
SIGNATURE = "serving_default"


def load_images(folder: Path) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Load `<class>/<index>.png`: (N, 1, 8, 8, 1) float32 NHWC 0 to 1, and (N,) int64 labels 0 to 9."""
    paths = sorted(folder.glob("*/*.png"))
    pixels = np.stack([np.asarray(Image.open(path), dtype=np.float32) for path in paths])
    labels = np.array([int(path.parent.name) for path in paths], dtype=np.int64)
    return (pixels / np.float32(255))[:, np.newaxis, :, :, np.newaxis], labels


def quantize(model: Path, images: npt.NDArray[np.float32]) -> bytes:
    """Quantize weights and activations to int8, calibrated with (N, 1, 8, 8, 1) images, 0 to 1."""
    work = quantizer.Quantizer(str(model), recipe.static_wi8_ai8())
    calibration = work.calibrate({SIGNATURE: [{"image": image} for image in images]})
    return bytes(work.quantize(calibration, enable_progress_report=False).quantized_model)


def measure_accuracy(model: bytes, images: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]) -> float:
    """Return the share of right answers, 0 to 1; quantizes the input when the model takes int8."""
    interpreter = Interpreter(model_content=model)
    interpreter.allocate_tensors()
    source, sink = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    scale, zero_point = source["quantization"]
    right = 0
    for image, label in zip(images, labels, strict=True):
        tensor = image
        if source["dtype"] is np.int8:
            tensor = np.clip(np.round(image / scale) + zero_point, -128, 127).astype(np.int8)
        interpreter.set_tensor(source["index"], tensor)
        interpreter.invoke()
        right += int(interpreter.get_tensor(sink["index"]).argmax() == label)
    return right / len(labels)


def main() -> None:
    """Print one table row per model."""
    calibration, _ = load_images(HERE / "calibration")
    images, labels = load_images(HERE / "evaluation")
    print("| Model | float bytes | float accuracy | int8 bytes | int8 accuracy | int8 / float bytes |")
    print("|---|---|---|---|---|---|")
    for path in sorted(HERE.glob("digits-*.tflite")):
        model = path.read_bytes()
        small = quantize(path, calibration)
        accuracies = [measure_accuracy(each, images, labels) for each in (model, small)]
        print(
            f"| {path.stem} | {len(model):,} | {accuracies[0]:.1%} | {len(small):,} | {accuracies[1]:.1%} "
            f"| {len(small) / len(model):.3f} |"
        )


if __name__ == "__main__":
    main()
