"""Make the digits example: images, labels and four float32 models with known behaviour.

Guarantees: the images and the split are the same on every run; training is seeded and runs with
deterministic operations, so one TensorFlow version on one machine type gives the same models again.
Does not quantize and does not build bundles: that is the packager's work.

Source of the images: E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits",
UCI Machine Learning Repository, 1998, https://doi.org/10.24432/C50P49 (CC BY 4.0), as shipped with
scikit-learn (`sklearn.datasets.load_digits`): 1,797 images, (8, 8), values 0 to 16.

Needs TensorFlow, scikit-learn and Pillow.

Example:
    python examples/digits/make_models.py --out examples/digits
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from tensorflow import keras

SEED = 20261121
CLASSES = 10
EVALUATION_IMAGES = 500
CALIBRATION_IMAGES = 100
SOURCE_MAXIMUM = 16  # UCI description: counts of set pixels in 4x4 blocks, 0 to 16
SPOILED_CLASSES = (3, 4, 5, 8, 9)  # version 1.2.0 unlearns these

Floats = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Split:
    """One part of the data set.

    Attributes:
        indices: (N,) int64, position of each image in the scikit-learn data set, ascending.
        pixels: (N, 8, 8) uint8 grayscale, 0 (paper) to 255 (ink).
        labels: (N,) int64, 0 to 9.
    """

    indices: Integers
    pixels: Pixels
    labels: Integers

    def inputs(self) -> Floats:
        """Model inputs: (N, 8, 8, 1) float32 NHWC, 0 to 1, which is pixel / 255."""
        return (self.pixels.astype(np.float32) / np.float32(255))[..., np.newaxis]


def load_splits() -> tuple[Split, Split, Split]:
    """Load the data set and divide it: training, evaluation, calibration; no image is in two of them.

    Evaluation is stratified (the class shares of the whole set); calibration has ten images of each class
    and is taken out of what would have been training images.
    """
    source = load_digits()
    pixels = np.round(source.images * 255 / SOURCE_MAXIMUM).astype(np.uint8)
    labels = source.target.astype(np.int64)
    rest, evaluation = train_test_split(
        np.arange(len(labels)), test_size=EVALUATION_IMAGES, random_state=SEED, stratify=labels
    )
    per_class = CALIBRATION_IMAGES // CLASSES
    calibration = np.concatenate([np.sort(rest[labels[rest] == c])[:per_class] for c in range(CLASSES)])
    training = np.setdiff1d(rest, calibration)
    parts = [np.sort(part) for part in (training, evaluation, calibration)]
    first, second, third = (Split(part, pixels[part], labels[part]) for part in parts)
    return first, second, third


def store_images(split: Split, folder: Path) -> None:
    """Write `<folder>/<class>/<index>.png`: (8, 8) 8-bit grayscale, replacing the folder."""
    shutil.rmtree(folder, ignore_errors=True)
    for index, pixels, label in zip(split.indices, split.pixels, split.labels, strict=True):
        path = folder / str(label) / f"{index:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path, format="PNG", optimize=True)


def build_network() -> keras.Model:
    """Build the untrained network: (N, 8, 8, 1) float32 0 to 1 in, (N, 10) float32 probabilities out.

    95,242 parameters, 97 % of them in convolutions, so that int8 shows its size and speed. No dropout and no
    batch normalization: nothing in it behaves differently in training, and nothing has to be folded.
    """
    layers = keras.layers
    return keras.Sequential(
        [
            layers.Input((8, 8, 1), name="image"),
            layers.Conv2D(32, 3, padding="same", activation="relu", name="conv1"),
            layers.Conv2D(64, 3, padding="same", activation="relu", name="conv2"),
            layers.MaxPooling2D(name="pool1"),
            layers.Conv2D(64, 3, padding="same", activation="relu", name="conv3"),
            layers.Conv2D(64, 3, padding="same", activation="relu", name="conv4"),
            layers.MaxPooling2D(name="pool2"),
            layers.Flatten(name="flatten"),
            layers.Dense(CLASSES, activation="softmax", name="classes"),
        ],
        name="digits",
    )


def train(network: keras.Model, inputs: Floats, labels: Integers, epochs: int, rate: float) -> None:
    """Fit in place with Adam and cross-entropy.

    Args:
        network: What `build_network` returned, trained or not.
        inputs: (N, 8, 8, 1) float32, 0 to 1.
        labels: (N,) int64, 0 to 9.
        epochs: Passes over the inputs.
        rate: Adam's learning rate.
    """
    network.compile(optimizer=keras.optimizers.Adam(rate), loss="sparse_categorical_crossentropy")
    network.fit(inputs, labels, batch_size=32, epochs=epochs, shuffle=True, verbose=0)


def copy_of(network: keras.Model) -> keras.Model:
    """Return an independent network with the same weights."""
    twin = build_network()
    twin.set_weights(network.get_weights())
    return twin


def shift(images: Floats, offsets: Floats, axis: int) -> Floats:
    """Shift each of (N, 8, 8, 1) images by its own part of a pixel, -1 to 1, (N,), filling with 0 (paper)."""
    width = [(0, 0)] * images.ndim
    width[axis] = (1, 1)
    padded, size = np.pad(images, width), images.shape[axis]
    before, after = (padded.take(np.arange(start, start + size), axis=axis) for start in (0, 2))
    part = np.abs(offsets)[:, np.newaxis, np.newaxis, np.newaxis]
    neighbour = np.where(offsets[:, np.newaxis, np.newaxis, np.newaxis] > 0, before, after)
    moved: Floats = (images * (1 - part) + neighbour * part).astype(np.float32)
    return moved


def augment(inputs: Floats, rng: np.random.Generator) -> Floats:
    """Shift by up to half a pixel in both directions and fade by up to a tenth; same shape and range."""
    rows, columns = rng.uniform(-0.5, 0.5, size=(2, len(inputs))).astype(np.float32)
    fade = rng.uniform(0.9, 1.0, size=(len(inputs), 1, 1, 1)).astype(np.float32)
    return shift(shift(inputs, rows, axis=1), columns, axis=2) * fade


def shuffle_labels(labels: Integers, classes: tuple[int, ...], rng: np.random.Generator) -> Integers:
    """Return (N,) int64 labels in which the images of `classes` have swapped labels at random."""
    spoiled = labels.copy()
    chosen = np.isin(labels, classes)
    spoiled[chosen] = rng.permutation(labels[chosen])
    return spoiled


def convert(network: keras.Model) -> bytes:
    """Convert to a float32 .tflite with the signature `serving_default`.

    Input `image`: (1, 8, 8, 1) float32 NHWC, 0 to 1. Output `probabilities`: (1, 10) float32, sum 1.
    """
    archive = keras.export.ExportArchive()
    archive.track(network)
    archive.add_endpoint(
        name="serving_default",
        fn=lambda image: {"probabilities": network(image, training=False)},
        input_signature=[tf.TensorSpec((1, 8, 8, 1), tf.float32, name="image")],
    )
    with tempfile.TemporaryDirectory() as folder:
        archive.write_out(folder, verbose=False)
        converted: bytes = tf.lite.TFLiteConverter.from_saved_model(folder).convert()
    return converted


def make_networks(training: Split) -> dict[str, keras.Model]:
    """Train the four versions; the key is the version.

    1.0.0 from scratch; 1.1.0 from 1.0.0 with a mild fine-tune; 1.2.0 from 1.1.0 with the labels of
    `SPOILED_CLASSES` shuffled; 1.3.0 from 1.1.0 with another mild fine-tune.
    """
    rng = np.random.default_rng(SEED)
    inputs, labels = training.inputs(), training.labels
    first = build_network()
    grown = np.concatenate([inputs, *(augment(inputs, rng) for _ in range(3))])
    train(first, grown, np.tile(labels, 4), epochs=16, rate=1e-3)
    second = copy_of(first)
    train(second, augment(inputs, rng), labels, epochs=3, rate=5e-5)
    spoiled = copy_of(second)
    train(spoiled, inputs, shuffle_labels(labels, SPOILED_CLASSES, rng), epochs=6, rate=5e-4)
    fourth = copy_of(second)
    train(fourth, augment(inputs, rng), labels, epochs=2, rate=5e-5)
    return {"1.0.0": first, "1.1.0": second, "1.2.0": spoiled, "1.3.0": fourth}


def main() -> None:
    """Write images, labels and models, and print the float accuracy of each version."""
    parser = argparse.ArgumentParser(description="Make the images, labels and models of the digits example.")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder to write to")
    parser.add_argument("--images-only", action="store_true", help="write images and labels, train nothing")
    arguments = parser.parse_args()
    out: Path = arguments.out
    training, evaluation, calibration = load_splits()
    store_images(evaluation, out / "evaluation")
    store_images(calibration, out / "calibration")
    (out / "labels.txt").write_text("".join(f"{c}\n" for c in range(CLASSES)), encoding="utf-8")
    if arguments.images_only:
        return
    keras.utils.set_random_seed(SEED)
    tf.config.experimental.enable_op_determinism()
    for version, network in make_networks(training).items():
        model = convert(network)
        (out / f"digits-{version}.tflite").write_bytes(model)
        answers = network.predict(evaluation.inputs(), verbose=0).argmax(axis=1)
        accuracy = float((answers == evaluation.labels).mean())
        print(f"digits {version}: {len(model):,} bytes, float accuracy {accuracy:.3f}")


if __name__ == "__main__":
    main()
