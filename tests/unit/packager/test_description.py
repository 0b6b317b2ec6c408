"""Which models are taken, and what a refusal says."""

from __future__ import annotations

from typing import Any

import pytest

from contract.errors import ManifestError
from contract.tensor import DType, Layout
from packager.description import (
    SignatureDescription,
    TensorDescription,
    check_source,
    sample_shape,
    whole_shape,
)
from tests.support.packager_builders import description, signature


def test_a_float_image_classifier_is_taken_with_its_names_and_shapes() -> None:
    source = check_source(description(), "digits.tflite")
    assert source.signature == "serving_default"
    (image,), (scores,) = source.inputs, source.outputs
    assert (image.name, image.shape) == ("image", (1, 8, 8, 1))
    assert (image.dtype, image.layout) == (DType.FLOAT32, Layout.NHWC)
    assert (scores.name, scores.shape, scores.layout) == ("probabilities", (1, 10), Layout.NC)


@pytest.mark.parametrize("last", ["SOFTMAX", "LOGISTIC"])
def test_a_graph_that_ends_in_probabilities_needs_no_softmax_and_has_their_range(last: str) -> None:
    source = check_source(description(operators=("CONV_2D", last)), "m")
    assert source.gives_probabilities
    assert source.outputs[0].value_range == (0.0, 1.0)


@pytest.mark.parametrize("operators", [("FULLY_CONNECTED",), ()])
def test_a_graph_that_ends_in_logits_needs_a_softmax(operators: tuple[str, ...]) -> None:
    source = check_source(description(operators=operators), "m")
    assert not source.gives_probabilities
    assert source.outputs[0].value_range is None


def test_a_free_batch_dimension_is_taken() -> None:
    free = signature(image={"shape": (-1, 8, 8, 3)}, scores={"shape": (-1, 10)})
    source = check_source(description(signatures=free), "m")
    assert source.inputs[0].shape == (-1, 8, 8, 3)


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"quantized_tensors": 3}, "m is quantized already"),
        ({"half_tensors": 3}, "m is stored with float16 weights"),
    ],
)
def test_weights_that_are_not_float32_are_refused_because_quantizing_again_does_harm(
    changes: dict[str, Any], wanted: str
) -> None:
    with pytest.raises(ManifestError, match=wanted) as refused:
        check_source(description(**changes), "m")
    assert refused.value.remedy == "give the float32 model that it was made from"


def test_a_model_without_signature_is_refused_and_told_how_to_get_one() -> None:
    with pytest.raises(ManifestError, match="m has no signature") as refused:
        check_source(description(signatures={}), "m")
    assert "from_saved_model" in refused.value.remedy


def test_a_model_with_two_signatures_is_refused_by_their_names() -> None:
    one = signature()["serving_default"]
    with pytest.raises(ManifestError, match="2 signatures: first, second"):
        check_source(description(signatures={"second": one, "first": one}), "m")


@pytest.mark.parametrize(
    ("changed", "wanted"),
    [
        (signature(image={"dtype": "string"}), "input image is string, possible are bool, float32"),
        (
            signature(image={"shape": (1, -1, 8, 1)}),
            "input image has shape (1, -1, 8, 1), which is not fixed",
        ),
        (signature(scores={"shape": (0, 4)}), "output probabilities has shape (0, 4), which is not fixed"),
        (
            {"serving_default": SignatureDescription(inputs=(), outputs=())},
            "0 inputs, 1 to 64 are possible; 0 outputs, 1 to 64 are possible",
        ),
    ],
)
def test_a_border_that_no_device_could_feed_is_refused_with_what_is_wrong(changed: Any, wanted: str) -> None:
    with pytest.raises(ManifestError) as refused:
        check_source(description(signatures=changed), "m")
    assert wanted in refused.value.summary()


def test_every_fault_of_the_border_is_named_at_once() -> None:
    changed = signature(image={"dtype": "string", "shape": (1, -1)}, scores={"dtype": "float64"})
    with pytest.raises(ManifestError) as refused:
        check_source(description(signatures=changed), "m")
    assert len(refused.value.faults) == 3


def test_several_inputs_and_outputs_of_several_types_are_taken_in_their_order() -> None:
    several = SignatureDescription(
        inputs=(
            TensorDescription(name="tokens", shape=(1, 12), dtype="int32"),
            TensorDescription(name="wave", shape=(15600,), dtype="float32"),
        ),
        outputs=(
            TensorDescription(name="boxes", shape=(-1, 10, 4), dtype="float32"),
            TensorDescription(name="image", shape=(1, 3, 8, 8), dtype="uint8"),
        ),
    )
    source = check_source(description(signatures={"a": several}), "m")
    assert [(one.name, one.dtype) for one in source.inputs] == [
        ("tokens", DType.INT32),
        ("wave", DType.FLOAT32),
    ]
    assert [sample_shape(one) for one in source.inputs] == [(12,), (15600,)]
    assert [sample_shape(one) for one in source.outputs] == [(10, 4), (3, 8, 8)]
    assert [whole_shape(one) for one in source.outputs] == [(1, 10, 4), (1, 3, 8, 8)]
    assert [one.layout for one in source.outputs] == [Layout.ANY, Layout.NCHW]
    # Which of the two would hold the probabilities is not known.
    assert [one.value_range for one in source.outputs] == [None, None]
