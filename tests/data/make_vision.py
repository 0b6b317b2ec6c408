"""Teaches the tests' detector and segmenter, and writes them to ``tests/data/vision``; needs TensorFlow.

Run: ``python -m tests.data.make_vision`` in an environment with TensorFlow; takes three minutes. Training is seeded,
but another TensorFlow or processor gives other weights, so tests must hold for any well-taught model.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tests.support.vision_shapes import LABELS, SIZE, Shapes, draw

FOLDER = Path(__file__).parent / "vision"
GRID = 6
ANCHOR = 0.36
PICTURES = 6000
SCALES = np.array([10, 10, 5, 5], np.float32)


def anchors() -> np.ndarray:
    """(36, 4) centre y, centre x, height, width in fractions: one square in the middle of each cell."""
    centres = (np.arange(GRID) + 0.5) / GRID
    y, x = np.meshgrid(centres, centres, indexing="ij")
    sides = np.full_like(y, ANCHOR)
    return np.stack([y, x, sides, sides], axis=-1).reshape(-1, 4).astype(np.float32)


def _block(x: Any, filters: int, stride: int, *, separable: bool = False) -> Any:
    layers = tf.keras.layers
    make = layers.SeparableConv2D if separable else layers.Conv2D
    x = make(filters, 3, strides=stride, padding="same", use_bias=False)(x)
    return layers.ReLU()(layers.BatchNormalization()(x))


def detector() -> Any:
    """SSD: (1, 48, 48, 3) to encoded boxes (1, 36, 4) and scores (1, 36, 4), the first of nothing."""
    layers = tf.keras.layers
    image = tf.keras.Input((SIZE, SIZE, 3), batch_size=1, name="image")
    x = _block(image, 8, 2)
    x = _block(x, 16, 2)
    x = _block(x, 24, 2)
    x = _block(x, 32, 1, separable=True)
    x = _block(x, 32, 1, separable=True)
    x = _block(x, 32, 1, separable=True)
    boxes = layers.Reshape((GRID * GRID, 4), name="boxes")(layers.Conv2D(4, 1)(x))
    scores = layers.Reshape((GRID * GRID, len(LABELS) + 1))(layers.Conv2D(len(LABELS) + 1, 1)(x))
    return tf.keras.Model(image, {"boxes": boxes, "scores": layers.Softmax(name="scores")(scores)})


def segmenter() -> Any:
    """(1, 48, 48, 3) to scores (1, 24, 24, 4), the first of nothing."""
    layers = tf.keras.layers
    image = tf.keras.Input((SIZE, SIZE, 3), batch_size=1, name="image")
    fine = _block(image, 12, 2)
    middle = _block(fine, 16, 2)
    coarse = _block(middle, 24, 2)
    coarse = _block(coarse, 24, 1, separable=True)
    x = layers.Concatenate()([layers.UpSampling2D()(coarse), middle])
    x = _block(x, 16, 1, separable=True)
    x = layers.Concatenate()([layers.UpSampling2D()(x), fine])
    x = _block(x, 12, 1, separable=True)
    scores = layers.Softmax(name="scores")(layers.Conv2D(len(LABELS) + 1, 1)(x))
    return tf.keras.Model(image, {"scores": scores})


def _encoded(picture: Shapes) -> np.ndarray:
    """(36, 5): encoded box and class of each anchor; class 0 for nothing, -1 for not taught."""
    at = anchors()
    found = np.zeros((len(at), 5), np.float32)
    for kind, box in zip(picture.classes, picture.boxes / SIZE, strict=True):
        centre, side = (box[:2] + box[2:]) / 2, box[2:] - box[:2]
        distance = np.abs(at[:, :2] - centre).max(axis=1)
        target = np.concatenate([(centre - at[:, :2]) / at[:, 2:], np.log(side / at[:, 2:])], axis=1) * SCALES
        near = distance <= 0.5 / GRID
        found[(distance <= 0.85 / GRID) & (found[:, 4] == 0), 4] = -1
        found[near] = np.concatenate([target[near], np.full((near.sum(), 1), kind + 1)], axis=1)
    return found


def _detection_loss(truth: Any, found: dict[str, Any]) -> Any:
    kind = tf.cast(tf.maximum(truth[..., 4], 0), tf.int32)
    counted = tf.cast(truth[..., 4] >= 0, tf.float32)
    positive = tf.cast(truth[..., 4] > 0, tf.float32)
    cross = tf.keras.losses.sparse_categorical_crossentropy(kind, found["scores"])
    away = tf.reduce_sum(tf.abs(found["boxes"] - truth[..., :4]), axis=-1)
    return tf.reduce_sum(cross * counted * (1 + 2 * positive) + 0.5 * away * positive) / tf.reduce_sum(
        positive
    )


def _segmentation_loss(truth: Any, found: dict[str, Any]) -> Any:
    return tf.reduce_mean(tf.keras.losses.sparse_categorical_crossentropy(truth, found["scores"]))


def teach(
    build: Callable[[], Any], truths: np.ndarray, loss: Callable[..., Any], epochs: int, images: np.ndarray
) -> Any:
    """Train with falling steps."""
    fixed = build()
    model = tf.keras.models.clone_model(fixed, input_tensors=tf.keras.Input((SIZE, SIZE, 3), name="image"))
    batch = 64
    steps = epochs * (len(images) // batch)
    optimizer = tf.keras.optimizers.Adam(tf.keras.optimizers.schedules.CosineDecay(4e-3, steps))

    @tf.function  # type: ignore[untyped-decorator]
    def step(pictures: Any, wanted: Any) -> Any:
        with tf.GradientTape() as tape:
            value = loss(wanted, model(pictures, training=True))
        gradients = tape.gradient(value, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return value

    random = np.random.default_rng(0)
    for epoch in range(epochs):
        order = random.permutation(len(images))
        values = [
            float(step(images[order[at : at + batch]], truths[order[at : at + batch]]))
            for at in range(0, len(order) - batch + 1, batch)
        ]
        sys.stderr.write(f"{epoch}: {np.mean(values):.4f}\n")
    fixed.set_weights(model.get_weights())
    return fixed


def save(model: Any, name: str) -> None:
    """As a float .tflite file."""
    content = tf.lite.TFLiteConverter.from_keras_model(model).convert()
    (FOLDER / name).write_bytes(content)
    sys.stderr.write(f"{name}: {len(content)} bytes\n")


def main() -> None:
    """Make both."""
    tf.keras.utils.set_random_seed(7)
    FOLDER.mkdir(exist_ok=True)
    pictures = [draw(100_000 + number) for number in range(PICTURES)]
    images = np.stack([one.pixels for one in pictures]).astype(np.float32) / 255
    save(
        teach(detector, np.stack([_encoded(one) for one in pictures]), _detection_loss, 40, images),
        "detector.tflite",
    )
    masks = np.stack([one.mask[::2, ::2] for one in pictures]).astype(np.int32)
    save(teach(segmenter, masks, _segmentation_loss, 14, images), "segmenter.tflite")


if __name__ == "__main__":
    main()
