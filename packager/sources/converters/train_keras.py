"""Trains a Keras model on: under its pruning mask and clusters, or towards a teacher.

Guarantees: pruned weights are 0 and clustered ones equal after every step; the same files, order and library give the
same weights on the same kind of processor (fixed seed, TensorFlow's deterministic operators). Models are loaded as they
are for conversion: in safe mode, and never with code of their own.

The folder holds ``job.json`` (an ``Order``), the model, ``samples.npy`` (N, ...) float32 and ``classes.npy`` (N,)
int64, and the teacher where there is one. It gets ``trained.keras``; ``progress.jsonl`` grows while it works.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from .from_keras import load_model
from .from_savedmodel import tool_versions
from .job import RefusedError
from .shrink import cluster, prune

_KERNEL_CHANNELS = {"Conv2D": -1, "Conv2DTranspose": -2, "Dense": -1}
"""Layer to the axis of its kernel's output channels: what converts to the operators that the packager compresses."""
_LOOKED_AT = 64  # samples that tell probabilities from logits
_PROGRESS_S = 0.5
_LEAST = 1e-7  # of a probability, before its logarithm: float32 keeps no smaller difference to 1


@dataclass(frozen=True)
class Order:
    """What to do.

    Attributes:
        source: File of the model.
        teacher: File of the teacher; empty for none.
        mode: ``train``.
        epochs: How often all samples are seen.
        batch: Samples a step.
        learning_rate: Of Adam.
        seed: Of everything drawn.
        prune: Share of every kernel that becomes and stays 0.
        clusters: How many values a kernel has; 0 for no such limit.
        elements_least: Smaller kernels stay as they are.
        temperature: Softens teacher and student.
        alpha: How much the teacher counts, 0 to 1; the rest is the true classes'.
    """

    source: str
    teacher: str
    mode: str
    epochs: int
    batch: int
    learning_rate: float
    seed: int
    prune: float
    clusters: int
    elements_least: int
    temperature: float
    alpha: float


def work(folder: Path, raw: Mapping[str, Any]) -> dict[str, Any]:
    """Do an order, and say how it went."""
    order = Order(**raw)
    keras.utils.set_random_seed(order.seed)
    tf.config.experimental.enable_op_determinism()
    samples = np.load(folder / "samples.npy", mmap_mode="r", allow_pickle=False)
    classes = np.load(folder / "classes.npy", allow_pickle=False)
    model = _load(folder / order.source, samples, "the model")
    teacher = _load(folder / order.teacher, samples, "the teacher") if order.teacher else None
    course = Course(order, model, teacher, samples[:_LOOKED_AT])
    with (folder / "progress.jsonl").open("w", encoding="utf-8") as file:
        history = _run(course, samples, classes, lambda row: _write(file, row))
    model.save(folder / "trained.keras")
    return {"history": history, "tools": tool_versions()}


def _load(path: Path, samples: Any, what: str) -> Any:
    model = load_model(path)
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise RefusedError(f"{what} has several inputs or outputs: only classifiers are trained")
    if tuple(model.inputs[0].shape[1:]) != samples.shape[1:]:
        raise RefusedError(
            f"{what} takes {tuple(model.inputs[0].shape[1:])}, the samples are {samples.shape[1:]}"
        )
    if len(model.outputs[0].shape) != 2:
        raise RefusedError(f"{what} gives {tuple(model.outputs[0].shape)}, not one row of scores")
    return model


def _run(course: Course, samples: Any, classes: Any, report: Callable[[dict[str, Any]], None]) -> list[Any]:
    order, count = course.order, len(classes)
    draw = np.random.default_rng(order.seed)
    steps = math.ceil(count / order.batch)
    history: list[dict[str, Any]] = []
    told, done = time.monotonic(), 0
    for epoch in range(1, order.epochs + 1):
        shuffled, losses, right = draw.permutation(count), 0.0, 0
        for start in range(0, count, order.batch):
            # Sorted: a memory-mapped file is read forwards. Within a batch the order means nothing.
            chosen = np.sort(shuffled[start : start + order.batch])
            loss, hits = course.step(tf.constant(samples[chosen]), tf.constant(classes[chosen]))
            losses, right, done = losses + float(loss) * len(chosen), right + int(hits), done + 1
            if time.monotonic() - told > _PROGRESS_S:
                told = time.monotonic()
                report({"done": done, "total": steps * order.epochs})
        if not math.isfinite(losses):
            raise RefusedError(f"training diverged in epoch {epoch}: lower the learning rate")
        history.append({"epoch": epoch, "loss": losses / count, "accuracy": right / count})
        report({"done": done, "total": steps * order.epochs, **history[-1]})
    return history


def _write(file: Any, row: dict[str, Any]) -> None:
    file.write(json.dumps(row) + "\n")
    file.flush()


class Course:
    """One way from a model's weights to better ones."""

    def __init__(self, order: Order, model: Any, teacher: Any, samples: Any) -> None:
        """Shrink the model's kernels, and get ready.

        Args:
            order: What to do.
            model: Trained; changed.
            teacher: None for none.
            samples: A few, to tell probabilities from logits.
        """
        self.order = order
        self._model, self._teacher = model, teacher
        self._optimizer = keras.optimizers.Adam(order.learning_rate)
        self._optimizer.build(model.trainable_variables)
        self._is_probability = _gives_probabilities(model, samples)
        self._is_teacher_probability = teacher is not None and _gives_probabilities(teacher, samples)
        self._holds = [hold for layer in _layers(model) if (hold := _hold(layer, order))]
        for hold in self._holds:
            hold()
        self.step = tf.function(self._step, reduce_retracing=True)

    def _step(self, samples: Any, classes: Any) -> Any:
        with tf.GradientTape() as tape:
            logits = _logits(self._model(samples, training=True), is_probability=self._is_probability)
            losses = keras.losses.sparse_categorical_crossentropy(classes, logits, from_logits=True)
            loss = tf.reduce_mean(losses)
            if self._teacher is not None:
                loss = (1 - self.order.alpha) * loss + self.order.alpha * self._distance(samples, logits)
            total = tf.add_n([loss, *self._model.losses])
        variables = self._model.trainable_variables
        self._optimizer.apply(tape.gradient(total, variables), variables)
        for hold in self._holds:
            hold()
        hits = tf.reduce_sum(tf.cast(tf.argmax(logits, axis=1) == classes, tf.int64))
        return loss, hits

    def _distance(self, samples: Any, logits: Any) -> Any:
        """Hinton, Vinyals, Dean, Distilling the Knowledge in a Neural Network (2015), section 2: with T squared."""
        heat = self.order.temperature
        scores = self._teacher(samples, training=False)
        wanted = tf.nn.softmax(_logits(scores, is_probability=self._is_teacher_probability) / heat)
        found = tf.nn.log_softmax(logits / heat)
        divergence = tf.reduce_sum(wanted * (tf.math.log(wanted + _LEAST) - found), axis=1)
        return heat**2 * tf.reduce_mean(divergence)


def _logits(scores: Any, *, is_probability: bool) -> Any:
    """Scores whose softmax are the model's probabilities."""
    return tf.math.log(tf.clip_by_value(scores, _LEAST, 1.0)) if is_probability else scores


def _gives_probabilities(model: Any, samples: Any) -> bool:
    scores = np.asarray(model(samples, training=False))
    return bool((scores >= 0).all() and np.allclose(scores.sum(axis=1), 1, atol=1e-3))


def _layers(model: Any) -> list[Any]:
    return list(model._flatten_layers(include_self=False))  # noqa: SLF001 - Keras has no public way into nested models


def _hold(layer: Any, order: Order) -> Callable[[], None] | None:
    """What brings a layer's kernel back to what it may be after each step; None for a layer that is free."""
    axis = _KERNEL_CHANNELS.get(type(layer).__name__)
    kernel = getattr(layer, "kernel", None)
    if axis is None or kernel is None or not (order.prune or order.clusters):
        return None
    if math.prod(kernel.shape) < order.elements_least:
        return None
    weights = np.moveaxis(np.asarray(kernel), axis, 0)
    if order.prune:
        weights = prune(weights, order.prune)
    if not order.clusters:
        mask = tf.constant(np.moveaxis(weights != 0, 0, axis), kernel.dtype)
        return lambda: kernel.assign(kernel * mask)
    found = cluster(weights, order.clusters)
    members = tf.constant(np.moveaxis(found.members, 0, axis))
    scales = tf.constant(np.moveaxis(np.broadcast_to(found.scales, weights.shape), 0, axis), kernel.dtype)
    kernel.assign(np.moveaxis(found.weights(), 0, axis))
    return lambda: kernel.assign(_shared(kernel, members, scales, found.centres))


def _shared(kernel: Any, members: Any, scales: Any, centres: Any) -> Any:
    """Every member of a cluster at its weighted mean: the nearest weights, in squares, that share values.

    A step along the gradient and this are one step of projected gradient descent. -1, 0 and 1 of a channel's largest
    stay where they are (``shrink``, rule 3).
    """
    masses = scales**2
    count = len(centres)
    moments = tf.math.unsorted_segment_sum(kernel * scales, members, count)
    weights = tf.math.unsorted_segment_sum(masses, members, count)
    start = tf.constant(centres, kernel.dtype)
    is_free = (weights > 0) & (start != 0) & (tf.abs(start) < 1)
    means = tf.clip_by_value(tf.math.divide_no_nan(moments, weights), -1, 1)
    return tf.gather(tf.where(is_free, means, start), members) * scales
