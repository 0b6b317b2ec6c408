"""TensorFlow's side of the MobileNetV2 benchmark; run in TensorFlow's own environment, without litefleet.

``make IMAGES FOLDER`` trains MobileNetV2 (alpha 1, 224 x 224 x 3, ten classes) for a few minutes and writes the
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
SMALL, FULL = 96, 224
SMALL_EPOCHS, BATCH = 10, 32


def make(images: Path, folder: Path) -> None:
    """Train small first, because that is quicker, then once over the images in full size."""
    import numpy as np
    import tensorflow as tf

    tf.keras.utils.set_random_seed(SEED)
    with np.load(images) as stored:
        pixels, classes = stored["train"], stored["train_classes"]
    weights = None
    for size, epochs, rate in ((SMALL, SMALL_EPOCHS, 1e-3), (FULL, 1, 2e-4)):
        model = tf.keras.applications.MobileNetV2(weights=None, input_shape=(size, size, 3), classes=10)
        for layer in model.layers:
            if isinstance(layer, tf.keras.layers.BatchNormalization):
                layer.momentum = 0.9  # some hundred steps must do: Keras' 0.999 needs thousands
        if weights is not None:
            model.set_weights(weights)
        model.compile(tf.keras.optimizers.Adam(rate), "sparse_categorical_crossentropy")
        model.fit(_batches(tf, pixels, classes, size), epochs=epochs, verbose=0)
        weights = model.get_weights()
    model.export(folder / "model", verbose=False)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder / "model"))
    (folder / "float.tflite").write_bytes(converter.convert())


def _batches(tf: Any, pixels: Any, classes: Any, size: int) -> Any:
    def enlarge(image: Any, label: Any) -> Any:
        shifted = tf.image.random_crop(
            tf.pad(image, [[1, 1], [1, 1], [0, 0]], constant_values=-1.0), image.shape
        )
        return tf.repeat(tf.image.resize(shifted, (size, size)), 3, -1), label

    examples = tf.data.Dataset.from_tensor_slices((pixels, classes))
    return examples.shuffle(len(pixels), seed=SEED).map(enlarge).batch(BATCH).prefetch(2)


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
