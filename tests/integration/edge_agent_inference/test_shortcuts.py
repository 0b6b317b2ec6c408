"""The way of few steps through a worker gives what the long one gives; real LiteRT in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pytest

from contract.errors import InferenceError, InputError
from contract.processing import ClassificationPostprocessing
from contract.profile import Precision
from contract.tensor import DType, TensorSpec
from edge_agent.inference import protocol
from edge_agent.inference.area import create_area
from edge_agent.inference.model import LoadedModel
from edge_agent.inference.runtime import find_runtime
from edge_agent.inference.slot import load_slot
from edge_agent.inference.stored import StoredReader
from tests.support.inference_models import a_lookup
from tests.support.inference_slots import (
    DIGITS,
    a_float_slot,
    a_slot,
    images_of,
    manifest_of,
    slot_of,
    tensor_of,
)


def load(slot: Path) -> LoadedModel:
    return LoadedModel(load_slot(slot), find_runtime(), 1)


def digits_with(folder: Path, top_k: int, *, softmax: bool = False) -> LoadedModel:
    recipe = manifest_of().postprocessing
    assert isinstance(recipe, ClassificationPostprocessing)
    changed = msgspec.structs.replace(recipe, top_k=top_k, softmax=softmax)
    return load(a_slot(folder, postprocessing=changed))


def memory_of(model: LoadedModel) -> tuple[list[npt.NDArray[Any]], list[npt.NDArray[Any]]]:
    """A client's inputs and outputs."""
    area = create_area(model.welcome.tensor_bytes)[0]
    return [area.tensor(at) for at in model.welcome.inputs], [area.tensor(at) for at in model.welcome.outputs]


def reader_of(model: LoadedModel, outputs: list[npt.NDArray[Any]]) -> StoredReader:
    """What a client reads the output with, after its way through a frame."""
    welcome = protocol.parse_welcome(protocol.encode_welcome(model.welcome))
    assert isinstance(welcome, protocol.Welcome)
    assert welcome.stored is not None
    return StoredReader(welcome.stored, outputs[0])


@pytest.mark.parametrize("top_k", [1, 3, 8])
def test_the_shortcut_answers_what_the_long_way_does(tmp_path: Path, top_k: int) -> None:
    model = digits_with(tmp_path / "slot", top_k)
    inputs, outputs = memory_of(model)
    shortcut, reader = model.shortcut(inputs, outputs, takes_stored=True), reader_of(model, outputs)
    assert shortcut is not None

    for digit in range(10):
        inputs[0][...] = tensor_of(images_of(digit)[0])
        assert shortcut() is None
        classes, found = reader.read(), reader.real()
        real = model.infer(inputs)

        assert len(classes) == top_k
        assert [(at.index, at.score, at.label.encode()) for at in classes] == model.classify(real)
        assert np.array_equal(found, real[0])
        assert found.shape == real[0].shape


def test_inputs_as_they_are_stored_take_the_shortcut_too(tmp_path: Path) -> None:
    dtype = DType(load(slot_of("1.0.0")).graph.inputs[0].dtype.name)
    assert dtype in {DType.INT8, DType.UINT8}
    given = msgspec.structs.replace(manifest_of().inputs[0], dtype=dtype)
    model = load(a_slot(tmp_path / "slot", inputs=(given,), preprocessing=None))
    inputs, outputs = memory_of(model)
    shortcut, reader = model.shortcut(inputs, outputs, takes_stored=True), reader_of(model, outputs)
    assert shortcut is not None
    found = set()

    for seed in range(10):
        inputs[0][...] = np.random.default_rng(seed).integers(0, 127, inputs[0].shape).astype(dtype.value)
        assert shortcut() is None
        reader.read()

        assert np.array_equal(reader.real(), model.infer(inputs)[0])
        found.add(reader.real().tobytes())

    assert len(found) == 10


def test_without_postprocessing_there_are_outputs_alone(tmp_path: Path) -> None:
    model = load(a_slot(tmp_path / "slot", postprocessing=None, labels=()))
    inputs, outputs = memory_of(model)
    inputs[0][...] = tensor_of(images_of(6)[0])
    shortcut, reader = model.shortcut(inputs, outputs, takes_stored=True), reader_of(model, outputs)

    assert shortcut is not None
    assert shortcut() is None
    assert reader.read() == ()
    assert reader.real().argmax() == 6


def test_who_cannot_read_what_is_stored_gets_real_values(tmp_path: Path) -> None:
    model = digits_with(tmp_path / "slot", 3)

    assert model.shortcut(*memory_of(model), takes_stored=False) is None


def test_values_that_are_not_finite_are_refused_on_the_shortcut_too() -> None:
    model = load(slot_of("1.0.0"))
    inputs, outputs = memory_of(model)
    inputs[0][...] = np.nan
    shortcut = model.shortcut(inputs, outputs, takes_stored=True)
    assert shortcut is not None

    with pytest.raises(InputError, match="not finite"):
        shortcut()

    assert not outputs[0].any()


@pytest.mark.parametrize(("top_k", "softmax"), [(9, False), (3, True)])
def test_many_classes_and_softmax_take_the_long_way(tmp_path: Path, top_k: int, softmax: bool) -> None:  # noqa: FBT001 - a case
    model = digits_with(tmp_path / "slot", top_k, softmax=softmax)

    assert model.shortcut(*memory_of(model), takes_stored=True) is None


def test_a_model_of_real_values_has_a_shortcut_too(tmp_path: Path) -> None:
    model = load(a_float_slot(tmp_path / "slot", "1.0.0"))
    inputs, outputs = memory_of(model)
    shortcut = model.shortcut(inputs, outputs, takes_stored=True)
    assert shortcut is not None

    for digit in range(10):
        inputs[0][...] = tensor_of(images_of(digit)[0])
        classes = shortcut()
        real = model.infer(inputs)

        assert classes is not None
        assert classes == model.classify(real)
        assert classes[0][0] == digit
        assert np.array_equal(outputs[0], real[0])


def test_real_values_without_postprocessing_take_the_long_way(tmp_path: Path) -> None:
    slot = a_slot(
        tmp_path / "slot",
        content=(DIGITS / "digits-1.0.0.tflite").read_bytes(),
        variant={"precision": Precision.FLOAT32},
        postprocessing=None,
        labels=(),
    )
    model = load(slot)

    assert model.shortcut(*memory_of(model), takes_stored=True) is None


def test_a_run_that_fails_is_told_on_either_way(tmp_path: Path) -> None:
    slot = a_slot(
        tmp_path / "slot",
        content=a_lookup(),
        inputs=(TensorSpec(name="index", shape=(1,), dtype=DType.INT32),),
        outputs=(TensorSpec(name="out", shape=(1,), dtype=DType.FLOAT32),),
        labels=(),
        preprocessing=None,
        postprocessing=None,
    )
    graph = load(slot).graph
    beyond = np.array([9], np.int32)

    for run in (graph.run_one, lambda given: graph.run([given])):
        with pytest.raises(InferenceError, match="the runtime failed"):
            run(beyond)
    assert graph.run_one(np.array([2], np.int32)).tolist() == [12.0]
