"""Which models are taken, and what a refusal says."""

from __future__ import annotations

from typing import Any

import pytest

from contract.errors import ManifestError
from contract.tensor import DType, Layout
from packager.description import SignatureDescription, check_source
from tests.support.packager_builders import description, signature


def test_a_float_image_classifier_is_taken_with_its_names_and_shapes() -> None:
    source = check_source(description(), "digits.tflite")
    assert source.signature == "serving_default"
    assert (source.input.name, source.input.shape) == ("image", (1, 8, 8, 1))
    assert (source.input.dtype, source.input.layout) == (DType.FLOAT32, Layout.NHWC)
    assert (source.output.name, source.output.shape) == ("probabilities", (1, 10))
    assert source.image_shape == (8, 8, 1)
    assert source.classes == 10


@pytest.mark.parametrize("last", ["SOFTMAX", "LOGISTIC"])
def test_a_graph_that_ends_in_probabilities_needs_no_softmax_and_has_their_range(last: str) -> None:
    source = check_source(description(operators=("CONV_2D", last)), "m")
    assert not source.needs_softmax
    assert source.output.value_range == (0.0, 1.0)


@pytest.mark.parametrize("operators", [("FULLY_CONNECTED",), ()])
def test_a_graph_that_ends_in_logits_needs_a_softmax(operators: tuple[str, ...]) -> None:
    source = check_source(description(operators=operators), "m")
    assert source.needs_softmax
    assert source.output.value_range is None


def test_a_free_batch_dimension_is_taken() -> None:
    free = signature(image={"shape": (-1, 8, 8, 3)}, scores={"shape": (-1, 10)})
    source = check_source(description(signatures=free), "m")
    assert source.input.shape == (-1, 8, 8, 3)


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
        (signature(image={"dtype": "uint8"}), "input image is uint8, not float32"),
        (signature(scores={"dtype": "int64"}), "output probabilities is int64, not float32"),
        (signature(image={"shape": (1, 8, 8)}), "input image has shape (1, 8, 8), not (1, H, W, C)"),
        (signature(image={"shape": (4, 8, 8, 1)}), "input image has shape (4, 8, 8, 1), not (1, H, W, C)"),
        (signature(image={"shape": (1, -1, 8, 1)}), "input image has shape (1, -1, 8, 1), not (1, H, W, C)"),
        (signature(image={"shape": (1, 8, 8, 4)}), "input image has 4 channels, 1 or 3 are possible"),
        (signature(scores={"shape": (1, 4, 4, 10)}), "output probabilities has shape (1, 4, 4, 10), not"),
        (signature(scores={"shape": (1, 1)}), "output probabilities has shape (1, 1), not (1, classes)"),
        (
            {"serving_default": SignatureDescription(inputs=(), outputs=())},
            "0 inputs, one is possible; 0 outputs, one is possible",
        ),
    ],
)
def test_a_model_of_another_form_is_refused_with_what_is_wrong(changed: Any, wanted: str) -> None:
    with pytest.raises(ManifestError) as refused:
        check_source(description(signatures=changed), "m")
    assert wanted in refused.value.summary()


def test_every_fault_of_the_border_is_named_at_once() -> None:
    changed = signature(image={"dtype": "uint8", "shape": (1, 8)}, scores={"dtype": "int8"})
    with pytest.raises(ManifestError) as refused:
        check_source(description(signatures=changed), "m")
    assert len(refused.value.faults) == 3
