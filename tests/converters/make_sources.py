"""Builds the digits network in one framework, with weights that are given; run in that framework's environment.

``python make_sources.py KIND WEIGHTS FOLDER``: WEIGHTS (.npz) holds ``conv1`` to ``conv4`` (out, height, width, in),
``dense`` (classes, features in the order height, width, channels) and their biases; all float32.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

CONVOLUTIONS = ("conv1", "conv2", "conv3", "conv4")
POOLED = ("conv2", "conv4")


def make_keras(weights: dict[str, Any], folder: Path) -> None:
    """digits.keras, digits.h5, the SavedModel digits, untrained students, and two files that carry code."""
    import keras

    layers: list[Any] = [keras.Input((8, 8, 1), name="image")]
    for name in CONVOLUTIONS:
        layers.append(
            keras.layers.Conv2D(len(weights[name]), 3, padding="same", activation="relu", name=name)
        )
        if name in POOLED:
            layers.append(keras.layers.MaxPooling2D())
    layers += [keras.layers.Flatten(), keras.layers.Dense(10, activation="softmax", name="probabilities")]
    model = keras.Sequential(layers)
    for name in CONVOLUTIONS:
        model.get_layer(name).set_weights([weights[name].transpose(1, 2, 3, 0), weights[f"{name}_bias"]])
    model.get_layer("probabilities").set_weights([weights["dense"].T, weights["dense_bias"]])
    model.save(folder / "digits.keras")
    model.save(folder / "digits.h5")
    model.export(folder / "digits", verbose=False)
    make_students(folder)
    double = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Lambda(lambda values: values * 2)])
    double.save(folder / "lambda.keras")
    double.save(folder / "lambda.h5")
    make_writing_savedmodel(folder / "writing")


def make_students(folder: Path) -> None:
    """student.keras, small and untrained, with a batch normalisation; and one for other images."""
    import keras

    keras.utils.set_random_seed(1)
    for name, size in (("student", 8), ("stranger", 9)):
        student = keras.Sequential(
            [
                keras.Input((size, size, 1), name="image"),
                keras.layers.Conv2D(16, 3, padding="same", use_bias=False),
                keras.layers.BatchNormalization(),
                keras.layers.ReLU(),
                keras.layers.MaxPooling2D(),
                keras.layers.Flatten(),
                keras.layers.Dense(10, name="scores"),
            ]
        )
        student.save(folder / f"{name}.keras")


def make_writing_savedmodel(folder: Path) -> None:
    """A SavedModel whose graph writes a file."""
    import tensorflow as tf

    def run(image: Any) -> dict[str, Any]:
        with tf.control_dependencies([tf.io.write_file("/tmp/litefleet-was-here", "x")]):  # noqa: S108 - must not come
            return {"scores": tf.reshape(image, (1, 64))}

    module = tf.Module()
    module.serve = tf.function(run, input_signature=[tf.TensorSpec((1, 8, 8, 1), tf.float32, name="image")])
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.serve})


def make_onnx(weights: dict[str, Any], folder: Path) -> None:
    """digits.onnx, channels first, batch free; unknown.onnx with an operator that nobody knows."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes, constants, last = [], [], "image"
    for name in CONVOLUTIONS:
        constants += [
            numpy_helper.from_array(weights[name].transpose(0, 3, 1, 2).copy(), f"{name}.weight"),
            numpy_helper.from_array(weights[f"{name}_bias"], f"{name}.bias"),
        ]
        given = [last, f"{name}.weight", f"{name}.bias"]
        nodes.append(helper.make_node("Conv", given, [name], pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [name], [f"{name}.relu"]))
        last = f"{name}.relu"
        if name in POOLED:
            nodes.append(
                helper.make_node("MaxPool", [last], [f"{name}.pool"], kernel_shape=[2, 2], strides=[2, 2])
            )
            last = f"{name}.pool"
    constants += [
        numpy_helper.from_array(weights["dense"], "dense.weight"),
        numpy_helper.from_array(weights["dense_bias"], "dense.bias"),
    ]
    nodes += [
        helper.make_node("Transpose", [last], ["rows"], perm=[0, 2, 3, 1]),
        helper.make_node("Flatten", ["rows"], ["features"]),
        helper.make_node("Gemm", ["features", "dense.weight", "dense.bias"], ["logits"], transB=1),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, 8, 8])
    scores = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 10])
    versions: dict[str, Any] = {"opset_imports": [helper.make_opsetid("", 17)], "ir_version": 9}
    graph = helper.make_graph(nodes, "digits", [image], [scores], constants)
    onnx.save(helper.make_model(graph, **versions), str(folder / "digits.onnx"))
    versions["opset_imports"].append(helper.make_opsetid("elsewhere", 1))
    unknown = helper.make_node("Frobnicate", ["image"], ["probabilities"], domain="elsewhere")
    graph = helper.make_graph([unknown], "unknown", [image], [scores])
    onnx.save(helper.make_model(graph, **versions), str(folder / "unknown.onnx"))


def make_torch(weights: dict[str, Any], folder: Path) -> None:
    """digits.pt2, channels first, batch free; pickled.pt2 with a pickle in it that writes a file."""
    import torch

    class Digits(torch.nn.Module):  # type: ignore[misc] # torch is not in this environment
        def __init__(self) -> None:
            super().__init__()
            for name in CONVOLUTIONS:
                layer = torch.nn.Conv2d(weights[name].shape[3], len(weights[name]), 3, padding=1)
                layer.weight.data = torch.from_numpy(weights[name].transpose(0, 3, 1, 2).copy())
                layer.bias.data = torch.from_numpy(weights[f"{name}_bias"])
                self.add_module(name, layer)
            self.dense = torch.nn.Linear(256, 10)
            self.dense.weight.data = torch.from_numpy(weights["dense"])
            self.dense.bias.data = torch.from_numpy(weights["dense_bias"])

        def forward(self, image: Any) -> dict[str, Any]:
            for name in CONVOLUTIONS:
                image = torch.relu(self.get_submodule(name)(image))
                if name in POOLED:
                    image = torch.nn.functional.max_pool2d(image, 2)
            rows = image.permute(0, 2, 3, 1).flatten(1)
            return {"probabilities": torch.softmax(self.dense(rows), 1)}

    sample = torch.zeros(2, 1, 8, 8)
    program = torch.export.export(
        Digits().eval(), (sample,), dynamic_shapes={"image": {0: torch.export.Dim("batch")}}
    )
    torch.export.save(program, folder / "digits.pt2")


MAKERS: dict[str, Callable[[dict[str, Any], Path], None]] = {
    "keras": make_keras,
    "onnx": make_onnx,
    "torch": make_torch,
}

if __name__ == "__main__":
    with np.load(sys.argv[2], allow_pickle=False) as arrays:
        MAKERS[sys.argv[1]](dict(arrays), Path(sys.argv[3]))
