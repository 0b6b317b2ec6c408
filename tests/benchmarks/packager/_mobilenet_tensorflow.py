"""TensorFlow's side of the MobileNetV2 benchmark; run in TensorFlow's own environment, without litefleet.

``make IMAGES WEIGHTS FOLDER`` trains MobileNetV2 (alpha 1, 224 x 224 x 3, ten classes) from published weights and
writes the SavedModel ``model`` and ``float.tflite``. ``quantize FOLDER CALIBRATION MADE`` does TFLiteConverter's
post-training int8 and prints what it took as one JSON line.
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
GROUP = "model_weights/mobilenetv2_1.00_160"
"""Where the file of weights has those of the network without its last layer; 160 is the size it was trained at."""
CUT = "block_15_add"
"""Layers up to this one keep the published weights; what stands behind it, 0.9 of 2.2 million, is trained on."""
EPOCHS, RATE = 4, 5e-4
"""Of Adam; the rate falls to zero along a cosine. Fixed before the first run: nothing was chosen by results."""


def make(images: Path, weights: Path, folder: Path) -> None:
    """Transfer learning as Keras's guide has it: normalizations keep their statistics, the lower layers their weights.

    So the lower layers run once for every image, at 224 x 224, and only what stands behind them runs every epoch.
    """
    import numpy as np
    import tensorflow as tf

    tf.keras.utils.set_random_seed(SEED)
    with np.load(images) as stored:
        train, classes = stored["train"], stored["train_classes"]
    model = tf.keras.applications.MobileNetV2(weights=None, input_shape=(SIZE, SIZE, 3), classes=10)
    _load_weights(model, weights)
    cut = model.get_layer(CUT).output
    lower, upper = tf.keras.Model(model.input, cut), tf.keras.Model(cut, model.output)
    run = tf.function(lambda batch: tf.cast(lower(_enlarge(tf, batch), training=False), tf.float16))
    inputs = np.concatenate(
        [run(tf.constant(train[start : start + BATCH])).numpy() for start in range(0, len(train), BATCH)]
    )
    for layer in upper.layers:
        layer.trainable = not isinstance(layer, tf.keras.layers.BatchNormalization)
    steps = EPOCHS * -(-len(train) // BATCH)
    rate = tf.keras.optimizers.schedules.CosineDecay(RATE, steps)
    upper.compile(tf.keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
    upper.fit(inputs, classes, batch_size=BATCH, epochs=EPOCHS, verbose=2)
    model.export(folder / "model", verbose=False)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder / "model"))
    (folder / "float.tflite").write_bytes(converter.convert())


def _load_weights(model: Any, weights: Path) -> None:
    """By the names of layers and weights; arrays only, so that nothing in the file is ever run."""
    import h5py

    with h5py.File(weights) as file:
        group = file[GROUP]
        stored = {}
        for path in group.attrs["weight_names"]:
            name = path.decode() if isinstance(path, bytes) else str(path)
            *_, layer, weight = name.split(":")[0].split("/")
            stored[layer, weight] = group[name][()]
    for layer in model.layers[:-1]:
        layer.set_weights([stored.pop((layer.name, weight.name)) for weight in layer.weights])
    if stored:
        raise ValueError(f"no place for {sorted(stored)}")


def _enlarge(tf: Any, images: Any) -> Any:
    """(N, 28, 28, 1) to (N, 224, 224, 3)."""
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
        make(Path(places[0]), Path(places[1]), Path(places[2]))
    else:
        quantize(Path(places[0]), Path(places[1]), Path(places[2]))
