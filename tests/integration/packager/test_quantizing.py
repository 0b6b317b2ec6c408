"""Quantizing, running and measuring the digits model on the real quantizer and runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from contract.errors import RejectedError, RuntimeLoadError
from contract.profile import DelegateName, Precision
from packager.evaluate import measure_latency_ms
from packager.quantize import Ranges, calibrate, quantize, recipe_name, tool_versions
from packager.runtime.flatbuffer import describe, estimate_memory_bytes
from packager.runtime.interpreter import LoadedModel
from packager.sources.tflite import SourceModel, load_tflite
from packager.tasks.top1 import Top1
from tests.support.packager_builders import DIGITS, digits_calibration, digits_task, evaluate
from tests.support.packager_models import changed_model, digits_model

QUANTIZED = [precision for precision in Precision if precision is not Precision.FLOAT32]


def learn(model: SourceModel, precision: Precision) -> Ranges:
    calibration = digits_calibration()
    return calibrate(model.content, precision, model.source, calibration.inputs(range(len(calibration))))


@pytest.fixture(scope="module")
def model() -> SourceModel:
    return load_tflite(DIGITS / "digits-1.0.0.tflite")


@pytest.fixture(scope="module")
def samples() -> Top1:
    return digits_task()


@pytest.fixture(scope="module")
def made(model: SourceModel) -> dict[Precision, bytes]:
    made: dict[Precision, bytes] = {Precision.FLOAT32: model.content}
    for precision in QUANTIZED:
        made[precision] = quantize(model.content, precision, learn(model, precision))
    return made


@pytest.mark.parametrize("precision", Precision)
def test_every_precision_stays_within_a_point_of_the_float_model(
    made: dict[Precision, bytes], samples: Top1, precision: Precision
) -> None:
    floating = evaluate(LoadedModel(digits_model(), DelegateName.XNNPACK), samples, lambda _: None)
    found = evaluate(LoadedModel(made[precision], DelegateName.XNNPACK), samples, lambda _: None)
    assert floating.value - found.value <= 0.01
    assert found.spread == pytest.approx((1.0,), abs=0.02)


def test_int8_takes_at_most_three_tenths_of_the_float_bytes(made: dict[Precision, bytes]) -> None:
    for precision in (Precision.STATIC_INT8, Precision.DYNAMIC_INT8, Precision.WEIGHT_ONLY_INT8):
        assert len(made[precision]) <= 0.30 * len(digits_model())


def test_quantizing_again_gives_the_same_bytes(model: SourceModel, made: dict[Precision, bytes]) -> None:
    again = quantize(model.content, Precision.STATIC_INT8, learn(model, Precision.STATIC_INT8))
    assert again == made[Precision.STATIC_INT8]


def test_a_precision_that_the_quantizer_cannot_make_is_refused_with_its_reason(model: SourceModel) -> None:
    with pytest.raises(RejectedError, match="litert-quantizer cannot make static-int8 of it: "):
        quantize(model.content, Precision.STATIC_INT8, Ranges(None))


@pytest.mark.parametrize("precision", QUANTIZED)
def test_a_quantized_file_is_seen_to_be_one(made: dict[Precision, bytes], precision: Precision) -> None:
    found = describe(made[precision])
    assert (found.half_tensors if precision is Precision.FLOAT16 else found.quantized_tensors) > 0


@pytest.mark.parametrize("delegate", [DelegateName.XNNPACK, DelegateName.NONE])
def test_a_quantized_border_takes_and_gives_real_values(
    made: dict[Precision, bytes], samples: Top1, delegate: DelegateName
) -> None:
    inputs = samples.inputs(range(20))
    (floating,) = LoadedModel(digits_model(), delegate).run(inputs)
    (quantized,) = LoadedModel(made[Precision.STATIC_INT8], delegate).run(inputs)
    assert quantized.dtype == np.float32
    assert quantized.shape == (20, 10)
    assert np.abs(floating - quantized).max() < 0.2


def test_latency_is_a_few_microseconds_to_milliseconds(samples: Top1) -> None:
    model = LoadedModel(digits_model(), DelegateName.XNNPACK)
    assert 0 < measure_latency_ms(model, samples) < 1000


def test_bytes_that_are_no_model_are_refused_by_the_runtime() -> None:
    with pytest.raises(RuntimeLoadError, match="LiteRT does not load the model"):
        LoadedModel(digits_model()[:1000], DelegateName.NONE)


def test_inputs_that_do_not_fit_are_refused_by_the_runtime() -> None:
    model = LoadedModel(digits_model(), DelegateName.NONE)
    with pytest.raises(RuntimeLoadError, match="LiteRT does not run the model"):
        model.run([np.zeros((1, 9, 9, 1), dtype=np.float32)])


def test_the_memory_estimate_is_file_and_constants_and_the_widest_moment_of_the_graph() -> None:
    constants = 380_968  # 95,242 float32 parameters (examples/digits/README.md)
    # Widest: the second convolution reads (8, 8, 32) and writes (8, 8, 64) float32.
    arena = 8 * 8 * (32 + 64) * 4
    exact = len(digits_model()) + constants + arena
    assert 0 <= estimate_memory_bytes(digits_model()) - exact < 2 * 64 * 1024
    assert estimate_memory_bytes(digits_model()) % (64 * 1024) == 0


def test_constants_behind_the_flatbuffer_count_as_constants(made: dict[Precision, bytes]) -> None:
    content = made[Precision.DYNAMIC_INT8]
    weights = 95_242 - 32 - 64 * 3 - 10  # one byte each; biases stay float32
    assert estimate_memory_bytes(content) >= len(content) + weights
    assert estimate_memory_bytes(content) < 3 * len(content)


def test_an_optional_input_that_is_left_out_takes_no_memory() -> None:
    def drop_bias(flat: Any) -> None:
        operator = flat.subgraphs[0].operators[0]
        operator.inputs = np.array([*operator.inputs[:2], -1], dtype=np.int32)

    assert estimate_memory_bytes(changed_model(drop_bias)) <= estimate_memory_bytes(digits_model())


def test_recipes_and_tools_have_names_for_the_manifest() -> None:
    assert recipe_name(Precision.STATIC_INT8) == "static_wi8_ai8"
    assert recipe_name(Precision.FLOAT32) == "none"
    assert recipe_name(Precision.FLOAT16) == "float_casting_wf16"
    assert set(tool_versions()) == {"litefleet", "litert-quantizer", "ai-edge-litert", "numpy"}
