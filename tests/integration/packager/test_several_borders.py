"""A model with two inputs of different types and two outputs: read, quantized and run on the real runtime."""

from __future__ import annotations

import numpy as np
import pytest

from contract.profile import DelegateName, Precision
from contract.tensor import DType
from packager.quantize import calibrate, compare_tensors, quantize
from packager.runtime.interpreter import LoadedModel
from packager.sources.tflite import SourceModel, check_tflite
from packager.tasks.task import Array
from tests.support.coverage_models import ModelBuilder

WORDS, WIDTH, SAMPLES = 50, 32, 20


def two_by_two() -> bytes:
    """Rows of a table by int32 numbers, plus a float vector, through a dense layer; and the numbers of the best."""
    build = ModelBuilder()
    random = np.random.default_rng(3)
    numbers, shift = build.input((1, 4), "int32"), build.input((1, 4, WIDTH))
    table = build.constant(random.normal(size=(WORDS, WIDTH)).astype(np.float32))
    rows = build.node("GATHER", [table, numbers], [build.tensor((1, 4, WIDTH))], table="GatherOptions")
    added = build.node("ADD", [rows, shift], [build.tensor((1, 4, WIDTH))], table="AddOptions")
    weights = build.constant(random.normal(size=(WIDTH, WIDTH)).astype(np.float32))
    dense = build.node(
        "FULLY_CONNECTED", [added, weights, build.constant(0.0, shape=(WIDTH,))], [build.tensor((1, 4, WIDTH))],
        table="FullyConnectedOptions", keepNumDims=True,
    )  # fmt: skip
    best = build.node(
        "ARG_MAX", [dense, build.constant(2, "int32")], [build.tensor((1, 4), "int64")],
        table="ArgMaxOptions", outputType=4,
    )  # fmt: skip
    return build.build(dense, best)


@pytest.fixture(scope="module")
def model() -> SourceModel:
    return check_tflite(two_by_two(), "two.tflite")


@pytest.fixture(scope="module")
def inputs() -> tuple[Array, ...]:
    random = np.random.default_rng(4)
    return (
        random.integers(0, WORDS, (SAMPLES, 4)).astype(np.int32),
        random.normal(size=(SAMPLES, 4, WIDTH)).astype(np.float32),
    )


def test_every_border_is_described_in_the_order_of_the_graph(model: SourceModel) -> None:
    assert [(one.shape, one.dtype) for one in model.source.inputs] == [
        ((1, 4), DType.INT32),
        ((1, 4, WIDTH), DType.FLOAT32),
    ]
    assert [(one.shape, one.dtype) for one in model.source.outputs] == [
        ((1, 4, WIDTH), DType.FLOAT32),
        ((1, 4), DType.INT64),
    ]


@pytest.mark.parametrize("precision", [Precision.STATIC_INT8, Precision.DYNAMIC_INT8])
def test_quantized_it_takes_the_same_values_and_gives_nearly_the_same(
    model: SourceModel, inputs: tuple[Array, ...], precision: Precision
) -> None:
    ranges = calibrate(model.content, precision, model.source, inputs)
    made = quantize(model.content, precision, ranges)
    assert len(made) < 0.8 * len(model.content)
    real, best = LoadedModel(model.content, DelegateName.XNNPACK).run(inputs)
    found, found_best = LoadedModel(made, DelegateName.XNNPACK).run(inputs)
    assert (real.shape, str(real.dtype), str(best.dtype)) == ((SAMPLES, 4, WIDTH), "float32", "int64")
    assert (found.shape, found.dtype, found_best.dtype) == (real.shape, real.dtype, best.dtype)
    assert np.abs(found - real).mean() < 0.01 * (real.max() - real.min())
    assert (found_best == best).mean() > 0.9
    errors = compare_tensors(model.content, made, model.source, [values[:4] for values in inputs])
    assert errors
    assert all(np.isfinite(list(errors.values())))


def test_one_sample_is_timed_with_all_its_inputs(model: SourceModel, inputs: tuple[Array, ...]) -> None:
    loaded = LoadedModel(model.content, DelegateName.XNNPACK)
    times = loaded.time_invocations([values[0] for values in inputs], runs=3, warm_up=1)
    assert len(times) == 3
    assert min(times) > 0
