"""Calibration on all cores finds what the quantizer itself finds, to the last bit."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from litert_quantizer import quantizer

from contract.profile import DelegateName, Precision
from packager.quantize import Learning, calibrate, recipe_rules
from packager.quiet import native_output_hidden
from packager.runtime.interpreter import LoadedModel
from packager.runtime.ranges import is_plain
from packager.sources.tflite import SourceModel, check_tflite
from tests.support.packager_builders import digits_calibration
from tests.support.packager_models import (
    answering_nan,
    changed_model,
    collapsing,
    digits_model,
    with_names_that_are_not_unique,
)
from tests.support.packager_unusual import add_tensor, half_without_signature

MODELS: dict[str, Callable[[], bytes]] = {
    "digits": digits_model,
    "collapsing": collapsing,
    "folded": half_without_signature,
    "answering NaN": answering_nan,
    "two tensors of one name": with_names_that_are_not_unique,
}
CASES = [(name, Precision.STATIC_INT8) for name in MODELS] + [("digits", Precision.STATIC_INT16)]


@functools.cache
def load(name: str) -> SourceModel:
    """A model of this table, checked."""
    return check_tflite(MODELS[name](), name)


@pytest.fixture(params=["one core", "all cores"])
def cores(request: pytest.FixtureRequest) -> Iterator[None]:
    """How many cores this process may use."""
    usable = os.sched_getaffinity(0)
    if request.param == "one core":
        os.sched_setaffinity(0, {min(usable)})
    yield
    os.sched_setaffinity(0, usable)


def learn(model: SourceModel, precision: Precision, count: int) -> Any:
    inputs = digits_calibration().inputs(range(count))
    return calibrate(model.content, precision, model.source, inputs).values


def learn_as_the_quantizer_does(model: SourceModel, precision: Precision, count: int) -> Any:
    (inputs,) = digits_calibration().inputs(range(count))
    name = model.source.inputs[0].name
    feed = {model.source.signature: [{name: one[np.newaxis]} for one in inputs]}
    with native_output_hidden():
        work = quantizer.Quantizer(bytearray(model.content), recipe_rules(precision))
        return work.calibrate(feed, num_threads=1)


def assert_same(found: Any, wanted: Any) -> None:
    assert list(found) == list(wanted)
    for name, sides in wanted.items():
        assert found[name].keys() == sides.keys()
        for side, value in sides.items():
            assert np.asarray(found[name][side]).dtype == np.asarray(value).dtype
            assert np.shape(found[name][side]) == np.shape(value)
            np.testing.assert_array_equal(found[name][side], value)


@pytest.mark.usefixtures("cores")
@pytest.mark.parametrize(("name", "precision"), CASES)
def test_ranges_are_the_quantizers_own_to_the_last_bit(name: str, precision: Precision) -> None:
    model = load(name)
    assert_same(learn(model, precision, 12), learn_as_the_quantizer_does(model, precision, 12))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_samples_give_the_quantizers_own_ranges_too(count: int) -> None:
    model = load("digits")
    found = learn(model, Precision.STATIC_INT8, count)
    assert_same(found, learn_as_the_quantizer_does(model, Precision.STATIC_INT8, count))


@pytest.mark.parametrize("count", [2, 12])
def test_extremes_are_the_lowest_and_highest_values_of_all_samples(count: int) -> None:
    """Both ways: two samples go through the quantizer, twelve through our own readers."""
    model = load("digits")
    (images,) = digits_calibration().inputs(range(count))
    outputs = LoadedModel(model.content, DelegateName.XNNPACK).run([images])[0]
    found = calibrate(model.content, Precision.STATIC_INT8, model.source, [images], Learning.EXTREMES).values
    (given,) = [sides for name, sides in found.items() if name.startswith("serving_default_image")]
    assert (given["min"].item(), given["max"].item()) == (images.min(), images.max())
    (answered,) = [sides for name, sides in found.items() if name.startswith("StatefulPartitionedCall")]
    assert (answered["min"].item(), answered["max"].item()) == (outputs.min(), outputs.max())
    averaged = learn(model, Precision.STATIC_INT8, count)
    assert any(found[name]["max"] > averaged[name]["max"] for name in found)


def test_a_model_with_memory_is_seen_to_be_one() -> None:
    def remember(model: Any) -> None:
        state = add_tensor(model, "state", (1, 4), "float32")
        model.subgraphs[0].tensors[state].isVariable = True

    def add_graph(model: Any) -> None:
        model.subgraphs.append(model.subgraphs[0])

    assert is_plain(digits_model())
    assert not is_plain(changed_model(remember))
    assert not is_plain(changed_model(add_graph))
