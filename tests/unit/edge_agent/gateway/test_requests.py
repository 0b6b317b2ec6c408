"""Inference requests: read exactly, or refused with a text that says why; nothing else ever comes out."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from contract.errors import InputError, TooLargeError
from contract.tensor import DType
from edge_agent.gateway.requests import JSON_MAX_BYTES, InferRequest, check_fit, feed_arrays, parse_infer
from edge_agent.inference import protocol
from edge_agent.inference.protocol import Welcome

IMAGE: dict[str, Any] = {"name": "image", "shape": [1, 2, 2, 1], "datatype": "FP32", "data": [0, 0.5, 1, 1]}


def a_welcome(*names: str, takes_images: bool = True) -> Welcome:
    inputs, outputs, size = protocol.plan_area(
        [(name, (1, 2, 2, 1), DType.FLOAT32) for name in names or ("image",)], [("y", (1, 3), DType.FLOAT32)]
    )
    return Welcome(
        protocol=1,
        model="digits",
        version="1.0.0",
        variant="v",
        inputs=inputs,
        outputs=outputs,
        takes_images=takes_images,
        takes_files=takes_images,
        tensor_bytes=size,
    )


def parse(content: object, tail: bytes = b"", *, header_bytes: int | None = None) -> InferRequest:
    text = json.dumps(content).encode()
    if tail and header_bytes is None:
        header_bytes = len(text)
    return parse_infer(memoryview(text + tail), header_bytes)


def binary(size: object, **changes: object) -> dict[str, Any]:
    given = {key: value for key, value in IMAGE.items() if key != "data"} | changes
    return {"inputs": [given | {"parameters": {"binary_data_size": size}}]}


def test_a_json_request_with_everything() -> None:
    asked = parse(
        {
            "id": "42",
            "parameters": {"timeout": 250_000, "binary_data_output": True, "trace": "mine"},
            "inputs": [IMAGE],
            "outputs": [{"name": "y", "parameters": {"binary_data": False}}, {"name": "z"}],
            "more": {"is": ["passed", "over"]},
        }
    )

    assert (asked.id, asked.timeout_s, asked.is_binary) == ("42", 0.25, True)
    assert asked.wanted == {"y": False, "z": True}
    (given,) = asked.inputs
    assert (given.name, given.dtype, given.shape, given.content) == (
        "image",
        DType.FLOAT32,
        (1, 2, 2, 1),
        None,
    )
    feed = feed_arrays(asked, a_welcome())
    assert isinstance(feed, dict)
    assert feed["image"].tolist() == [[[[0.0], [0.5]], [[1.0], [1.0]]]]


def test_long_json_is_refused_and_a_long_binary_tensor_is_not() -> None:
    with pytest.raises(TooLargeError, match="at most 1048576"):
        parse({"inputs": [IMAGE], "more": " " * JSON_MAX_BYTES})

    assert parse(binary(2 * JSON_MAX_BYTES), bytes(2 * JSON_MAX_BYTES)).inputs[0].content is not None


def test_binary_tensors_lie_behind_the_json_in_their_order() -> None:
    two = binary(16)["inputs"] + binary(16, name="other")["inputs"]
    first, second = np.arange(4, dtype=np.float32), np.arange(4, 8, dtype=np.float32)

    asked = parse({"inputs": two}, first.tobytes() + second.tobytes())

    assert asked.wanted is None
    assert not asked.is_binary
    assert asked.timeout_s is None
    welcome = a_welcome("image", "other", takes_images=False)
    check_fit(asked, welcome)
    feed = feed_arrays(asked, welcome)
    assert isinstance(feed, dict)
    assert np.array_equal(feed["image"].reshape(-1), first)
    assert np.array_equal(feed["other"].reshape(-1), second)


@pytest.mark.parametrize(
    ("content", "tail", "fault"),
    [
        ({"inputs": []}, b"", "1 to 64 inputs"),
        ({"inputs": [IMAGE] * 65}, b"", "1 to 64 inputs"),
        ({"inputs": [IMAGE, IMAGE]}, b"", "given twice"),
        ({"inputs": [IMAGE], "outputs": [{"name": "y"}, {"name": "y"}]}, b"", "wanted twice"),
        (
            {"inputs": [IMAGE], "outputs": [{"name": "y", "parameters": {"binary_data": 1}}]},
            b"",
            "true or false",
        ),
        ({"inputs": [{**IMAGE, "data": None}]}, b"", "flat or nested"),
        ({"inputs": [binary(16)["inputs"][0] | {"data": [1]}]}, bytes(16), "both"),
        ({"inputs": [{k: v for k, v in IMAGE.items() if k != "data"}]}, b"", "neither"),
        (binary(-1), bytes(16), "binary_data_size -1"),
        (binary(True), bytes(16), "binary_data_size True"),
        (binary("16"), bytes(16), "binary_data_size '16'"),
        (binary(17), bytes(16), "binary_data_size 17 with 16 bytes left"),
        (binary(1 << 70), bytes(16), "binary_data_size 1180591620717411303424"),
        (binary(15), bytes(16), "1 bytes after the last"),
        ({"inputs": [IMAGE]}, b"x", "1 bytes after the last"),
        ({"inputs": [{**IMAGE, "datatype": "BF16"}]}, b"", "BF16 is not supported"),
        ({"inputs": [{**IMAGE, "datatype": "FP64"}]}, b"", "FP64 is not supported"),
        ({"inputs": [{**IMAGE, "shape": [1, -2, 2, 1]}]}, b"", "positive"),
        ({"inputs": [{**IMAGE, "name": ""}]}, b"", "name"),
        ({"inputs": [IMAGE], "parameters": {"timeout": -1}}, b"", "microseconds"),
        ({"inputs": [IMAGE], "parameters": {"timeout": "1"}}, b"", "microseconds"),
        ({"inputs": [IMAGE], "parameters": {"sequence_id": 3}}, b"", "sequences are not supported"),
        ({"inputs": [IMAGE], "parameters": {"priority": 1}}, b"", "priorities are not supported"),
        ({"inputs": [IMAGE], "parameters": {"x": [1]}}, b"", "parameters cannot be read"),
        ({"inputs": [IMAGE], "parameters": {"x": "y" * 5000}}, b"", "at most 4096"),
        (
            {"inputs": [{**IMAGE, "parameters": {"shared_memory_region": "r"}}]},
            b"",
            "shared memory is not supported",
        ),
        (
            {"inputs": [IMAGE], "outputs": [{"name": "y", "parameters": {"classification": 3}}]},
            b"",
            "classification",
        ),
        ([], b"", "cannot be read"),
        ({"inputs": [IMAGE], "id": 5}, b"", "cannot be read"),
    ],
)
def test_what_breaks_the_protocol_is_refused(content: object, tail: bytes, fault: str) -> None:
    with pytest.raises(InputError, match=fault):
        feed_arrays(parse(content, tail), a_welcome())


def test_a_header_longer_than_the_body_is_refused() -> None:
    with pytest.raises(InputError, match="the body has"):
        parse({"inputs": [IMAGE]}, header_bytes=100_000)


def test_brackets_without_end_are_refused() -> None:
    with pytest.raises(InputError, match="cannot be read"):
        parse_infer(memoryview(b'{"inputs":' + b"[" * 1_000_000), None)


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 1), (5, 7, 3)])
def test_an_image_is_taken_by_a_model_that_takes_images(shape: tuple[int, ...]) -> None:
    size = int(np.prod(shape))
    asked = parse(binary(size, shape=list(shape), datatype="UINT8"), bytes(range(size)))

    check_fit(asked, a_welcome())

    image = feed_arrays(asked, a_welcome())
    assert isinstance(image, np.ndarray)
    assert image.shape == shape
    assert image.dtype == np.uint8
    with pytest.raises(InputError) as caught:
        check_fit(asked, a_welcome(takes_images=False))
    assert "must be FP32" in caught.value.summary()


@pytest.mark.parametrize("shape", [[1], [1, 1]])
def test_a_file_is_taken_by_a_model_that_takes_images(shape: list[int]) -> None:
    content = b"\x06\0\0\0a file"
    asked = parse(binary(len(content), shape=shape, datatype="BYTES"), content)

    check_fit(asked, a_welcome())

    assert feed_arrays(asked, a_welcome()) == b"a file"
    with pytest.raises(InputError) as caught:
        check_fit(asked, a_welcome(takes_images=False))
    assert f"is BYTES {shape}, must be FP32" in caught.value.summary()


@pytest.mark.parametrize("content", [b"", b"\x06\0\0", b"\x07\0\0\0a file", b"\x01\0\0\0a file"])
def test_a_file_of_another_length_than_it_says_is_refused(content: bytes) -> None:
    asked = parse(binary(len(content), shape=[1], datatype="BYTES"), content, header_bytes=None)
    with pytest.raises(InputError, match="one BYTES element"):
        feed_arrays(asked, a_welcome())


def test_two_files_and_a_file_as_json_are_refused() -> None:
    two = parse(binary(4, shape=[2], datatype="BYTES"), bytes(4))
    with pytest.raises(InputError, match="does not take"):
        check_fit(two, a_welcome())
    text = parse({"inputs": [{**IMAGE, "shape": [1], "datatype": "BYTES", "data": ["text"]}]})
    check_fit(text, a_welcome())
    with pytest.raises(InputError, match="JSON holds no image file"):
        feed_arrays(text, a_welcome())


def test_a_request_that_does_not_fit_hears_every_fault_and_what_is_taken() -> None:
    asked = parse({"inputs": [{**IMAGE, "name": "picture"}], "outputs": [{"name": "z"}]})

    with pytest.raises(InputError) as caught:
        check_fit(asked, a_welcome())

    assert caught.value.faults == ("'picture' is no input", "'image' is missing", "'z' is no output")
    assert "'image' FP32 [1, 2, 2, 1], or an image UINT8" in caught.value.remedy
    with pytest.raises(InputError, match="does not take") as caught:
        check_fit(parse({"inputs": [{**IMAGE, "datatype": "FP16"}]}), a_welcome(takes_images=False))
    assert caught.value.faults == ("'image' is FP16 [1, 2, 2, 1], must be FP32 [1, 2, 2, 1]",)
    assert "or an image" not in caught.value.remedy


_VALID = json.dumps(binary(16)).encode() + bytes(16)


@given(
    st.lists(st.tuples(st.integers(0, len(_VALID) - 1), st.integers(0, 255)), max_size=6),
    st.one_of(st.none(), st.integers(0, len(_VALID) + 5)),
)
@example([], None)
def test_a_damaged_request_is_read_or_refused_and_never_anything_else(
    damage: list[tuple[int, int]], header_bytes: int | None
) -> None:
    body = bytearray(_VALID)
    for place, value in damage:
        body[place] = value
    try:
        asked = parse_infer(memoryview(body), len(_VALID) - 16 if header_bytes is None else header_bytes)
        check_fit(asked, a_welcome())
        feed_arrays(asked, a_welcome())
    except InputError:
        pass


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=12,
)


@given(
    shape=_JSON,
    datatype=st.sampled_from(["FP32", "INT64", "BOOL", "BYTES", ""]),
    data=_JSON,
    parameters=_JSON,
)
@example(shape=[2], datatype="BYTES", data=None, parameters={})
def test_any_json_in_any_place_is_read_or_refused(
    shape: object, datatype: str, data: object, parameters: object
) -> None:
    content = {"inputs": [{"name": "image", "shape": shape, "datatype": datatype, "data": data}]}
    content["parameters"] = parameters  # type: ignore[assignment]  # anything may stand there
    with contextlib.suppress(InputError):
        feed_arrays(parse(content), a_welcome())
