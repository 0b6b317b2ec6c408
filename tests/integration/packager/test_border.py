"""Quantized models with the border that ships: the same answers to the last bit, on the delegate and without it."""

from __future__ import annotations

import numpy as np
import pytest

from contract.profile import DelegateName, Precision
from packager.border.rewrite import dress
from packager.preprocess import to_inputs
from packager.quantize import Ranges, calibrate, pin_range, quantize
from packager.runtime.delegation import measure_delegation
from packager.runtime.graph import read_graph
from packager.runtime.interpreter import LoadedModel
from packager.runtime.session import Session
from packager.sources.tflite import check_tflite
from tests.support.packager_static import RECIPES, a_recipe, bare, some_pixels
from tests.support.vision_models import detector_with_postprocessing

DELEGATES = (DelegateName.XNNPACK, DelegateName.NONE)


def border_of(content: bytes) -> tuple[str, str]:
    session = Session(content)
    return session.inputs[0].dtype.name, session.outputs[0].dtype.name


@pytest.mark.parametrize("delegate", DELEGATES)
@pytest.mark.parametrize("name", ["0 to 1", "per channel"])
def test_pixels_give_the_answers_of_the_real_values_that_they_stand_for(
    name: str, delegate: DelegateName
) -> None:
    recipe, inputs = a_recipe(name), to_inputs(some_pixels(40), a_recipe(name))
    made = dress(bare(name), recipe)
    assert border_of(made) == ("uint8", "float32")
    (before,) = LoadedModel(bare(name), delegate).run([inputs])
    (after,) = LoadedModel(made, delegate, recipe).run([inputs])
    assert np.array_equal(before, after)
    assert len(np.unique(before.argmax(axis=1))) > 1


@pytest.mark.parametrize("is_for_accelerator", [False, True])
def test_a_mean_between_two_pixels_keeps_every_pixel_apart(is_for_accelerator: bool) -> None:  # noqa: FBT001
    """Rounding real values to the steps of this quantization would make one of two neighbours."""
    recipe, pixels = a_recipe("-1 to 1"), some_pixels(40)
    made = LoadedModel(
        dress(bare("-1 to 1"), recipe, is_for_accelerator=is_for_accelerator), DelegateName.NONE, recipe
    )
    (found,) = made.run([to_inputs(pixels, recipe)])
    plain = Session(bare("-1 to 1"))
    stored = [plain.run([(one.astype(np.int16) - 128).astype(np.int8)[np.newaxis]])[0][0] for one in pixels]
    scale = 1 / 256  # of a softmax in int8: TFLite's quantization specification
    assert np.array_equal(found, (np.stack(stored).astype(np.float32) + 128) * np.float32(scale))


@pytest.mark.parametrize("name", RECIPES)
def test_xnnpack_takes_all_that_is_added(name: str) -> None:
    before, after = (measure_delegation(made) for made in (bare(name), dress(bare(name), a_recipe(name))))
    added = after.nodes_total - before.nodes_total
    assert added == (7 if name == "per channel" else 3)
    assert after.nodes_delegated - before.nodes_delegated == added
    # The last operator, a softmax on int8, is none that XNNPACK has, so what follows it is a part of its own.
    assert after.partitions == before.partitions + 1


def test_a_file_for_an_accelerator_has_bytes_and_computes_no_floats() -> None:
    made = dress(bare("0 to 1"), a_recipe("0 to 1"), is_for_accelerator=True)
    assert border_of(made) == ("uint8", "uint8")
    assert {tensor.dtype for tensor in read_graph(made).tensors} <= {"uint8", "int8", "int32"}
    assert [node.operator for node in read_graph(made).nodes if node.operator == "QUANTIZE"] == [
        "QUANTIZE"
    ] * 2


def test_an_accelerator_gets_the_quantizers_own_border_where_the_graph_would_have_to_normalise() -> None:
    assert dress(bare("per channel"), a_recipe("per channel"), is_for_accelerator=True) == bare("per channel")


@pytest.mark.parametrize("precision", [Precision.STATIC_INT8, Precision.STATIC_INT16])
def test_a_model_that_takes_no_images_takes_and_gives_real_values(precision: Precision) -> None:
    made = dress(bare("0 to 1", precision), None)
    assert border_of(made) == ("float32", "float32")
    inputs = to_inputs(some_pixels(40), a_recipe("0 to 1"))
    (before,), (after,) = (
        LoadedModel(content, DelegateName.NONE).run([inputs]) for content in (bare("0 to 1", precision), made)
    )
    assert np.array_equal(before, after)


def test_what_was_computed_in_float_is_given_as_it_was_computed() -> None:
    """TFLite's own post-processing: a range over all its rows says nothing of a box."""
    content = detector_with_postprocessing()
    model = check_tflite(content, "detector")
    inputs = np.random.default_rng(2).random((4, 48, 48, 3), np.float32)
    ranges = calibrate(model.content, Precision.STATIC_INT8, model.source, [inputs])
    made = dress(quantize(model.content, Precision.STATIC_INT8, ranges), None)
    graph = read_graph(made)
    assert graph.nodes[-1].operator == "CUSTOM"
    assert set(graph.outputs) == set(graph.nodes[-1].outputs)


def test_a_model_with_a_border_of_floats_comes_back_as_it_is() -> None:
    made = dress(bare("0 to 1"), None)
    assert dress(made, None) is made


def test_the_same_model_gives_the_same_bytes() -> None:
    assert dress(bare("per channel"), a_recipe("per channel")) == dress(
        bare("per channel"), a_recipe("per channel")
    )


def test_a_range_that_calibration_did_not_look_for_is_not_pinned() -> None:
    ranges = Ranges({"other": {"min": np.zeros(1, np.float32), "max": np.ones(1, np.float32)}})
    assert pin_range(ranges, "image", -1.0, 2.0) is ranges
    assert pin_range(Ranges(None), "image", -1.0, 2.0) == Ranges(None)
    pinned = pin_range(ranges, "other", -1.0, 2.0).values["other"]
    assert (pinned["min"].tolist(), pinned["max"].tolist()) == ([-1.0], [2.0])
    assert ranges.values["other"]["max"].tolist() == [1.0]
