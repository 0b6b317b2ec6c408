"""Make the small models of ``tests/data/tasks``, which really learn from the generators of ``tests.support.task_data``.

Needs TensorFlow; the embedding also needs the digits of ``examples/digits``.

Example:
    python -m tests.data.make_task_models
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf
from PIL import Image
from tensorflow import keras

from tests.support.task_data import FEATURES, FRAMES, SOUNDS, STATES, machine, pump, sounds

SEED = 20261121
DIGITS = Path(__file__).resolve().parents[2] / "examples" / "digits"
EMBEDDING_VALUES = 16
layers = keras.layers


def train(network: Any, inputs: Any, targets: Any, loss: str, epochs: int) -> None:
    """Fit in place."""
    network.compile(optimizer=keras.optimizers.Adam(3e-3), loss=loss)
    network.fit(inputs, targets, batch_size=32, epochs=epochs, verbose=0)


def pump_model() -> Any:
    """``sensors`` (1, 4), ``setting`` (1, 2) to ``power`` (1, 1)."""
    data = pump(4000, SEED)
    sensors, setting = layers.Input((4,), name="sensors"), layers.Input((2,), name="setting")
    hidden = layers.Dense(24, activation="relu")(layers.Concatenate()([sensors, setting]))
    hidden = layers.Dense(24, activation="relu")(hidden)
    network = keras.Model([sensors, setting], layers.Dense(1, name="power")(hidden))
    train(network, [data["sensors"], data["setting"]], data["power"], "mse", 60)
    return network


def machine_model() -> Any:
    """``measurements`` (1, 5) to ``state`` (1, 4) probabilities."""
    values, states = machine(3000, SEED)
    network = keras.Sequential(
        [
            layers.Input((len(FEATURES),), name="measurements"),
            layers.Dense(16, activation="relu"),
            layers.Dense(16, activation="relu"),
            layers.Dense(len(STATES), activation="softmax"),
        ]
    )
    train(network, values, states, "sparse_categorical_crossentropy", 30)
    return network


def sounds_model() -> Any:
    """``wave`` (1, 2000) to ``class`` (1, 4) probabilities; the filter bank is learnt."""
    waves, kinds = sounds(1600, SEED)
    network = keras.Sequential(
        [
            layers.Input((FRAMES,), name="wave"),
            layers.Reshape((1, FRAMES, 1)),
            layers.Conv2D(16, (1, 48), strides=(1, 8), activation="relu"),
            layers.Conv2D(16, (1, 9), strides=(1, 4), activation="relu"),
            layers.Conv2D(16, (1, 9), strides=(1, 2), activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(len(SOUNDS), activation="softmax"),
        ]
    )
    train(network, waves, kinds, "sparse_categorical_crossentropy", 25)
    return network


def digits_embedding_model() -> Any:
    """``image`` (1, 8, 8, 1) to ``embedding`` (1, 16): what stands before the classes of a small classifier.

    It learns from the 100 calibration images, shifted by a pixel each way; none of the evaluation images.
    """
    files = sorted((DIGITS / "calibration").glob("*/*.png"))
    pixels = np.stack([np.asarray(Image.open(file), dtype=np.float32) / 255 for file in files])
    labels = np.array([int(file.parent.name) for file in files])
    moves = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)]
    inputs = np.concatenate([np.roll(pixels, move, axis=(1, 2)) for move in moves])[..., np.newaxis]
    image = layers.Input((8, 8, 1), name="image")
    hidden = layers.Conv2D(16, 3, padding="same", activation="relu")(image)
    hidden = layers.MaxPooling2D()(hidden)
    hidden = layers.Conv2D(24, 3, padding="same", activation="relu")(hidden)
    hidden = layers.MaxPooling2D()(hidden)
    embedding = layers.Dense(EMBEDDING_VALUES)(layers.Flatten()(hidden))
    classes = layers.Dense(10, activation="softmax")(layers.ReLU()(embedding))
    train(
        keras.Model(image, classes),
        inputs,
        np.tile(labels, len(moves)),
        "sparse_categorical_crossentropy",
        40,
    )
    return keras.Model(image, embedding)


MODELS: dict[str, tuple[Callable[[], Any], str]] = {
    "pump": (pump_model, "power"),
    "machine": (machine_model, "state"),
    "sounds": (sounds_model, "class"),
    "digits-embedding": (digits_embedding_model, "embedding"),
}


def store(network: Any, output: str, path: Path) -> None:
    """As float32 .tflite with a batch of 1 and names in its signature."""
    specs = [tf.TensorSpec((1, *one.shape[1:]), tf.float32, name=one.name) for one in network.inputs]
    archive = keras.export.ExportArchive()
    archive.track(network)
    archive.add_endpoint(
        name="serving_default",
        fn=lambda *values: {output: network(values if len(values) > 1 else values[0], training=False)},
        input_signature=specs,
    )
    with tempfile.TemporaryDirectory() as folder:
        archive.write_out(folder, verbose=False)
        path.write_bytes(tf.lite.TFLiteConverter.from_saved_model(folder).convert())


def main() -> None:
    """Make all of them."""
    folder = Path(__file__).parent / "tasks"
    folder.mkdir(exist_ok=True)
    for name, (build, output) in MODELS.items():
        keras.utils.set_random_seed(SEED)
        store(build(), output, folder / f"{name}.tflite")


if __name__ == "__main__":
    main()
