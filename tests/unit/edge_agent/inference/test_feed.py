from __future__ import annotations

import msgspec
import numpy as np
import pytest

from contract.errors import InputError
from contract.tensor import DType
from edge_agent.inference import protocol
from edge_agent.inference.feed import feed_of
from edge_agent.inference.protocol import Welcome


def a_welcome(*inputs: tuple[str, tuple[int, ...], DType], takes_images: bool = True) -> Welcome:
    places, outputs, size = protocol.plan_area(
        inputs or [("image", (1, 8, 8, 1), DType.FLOAT32)], [("scores", (1, 10), DType.FLOAT32)]
    )
    return Welcome(
        protocol=protocol.PROTOCOL,
        model="digits",
        version="1.0.0",
        variant="static-int8",
        inputs=places,
        outputs=outputs,
        takes_images=takes_images,
        takes_files=takes_images,
        tensor_bytes=size,
    )


TWO = a_welcome(("a", (2,), DType.FLOAT32), ("b", (1,), DType.INT32), takes_images=False)


def test_the_models_own_tensor_is_sent_as_it_is() -> None:
    tensor = np.zeros((1, 8, 8, 1), np.float32)

    feed = feed_of(tensor, a_welcome())

    assert feed.tensors[0] is tensor
    assert (feed.image, feed.image_bytes) == (None, 0)


@pytest.mark.parametrize("shape", [(20, 10), (20, 10, 1), (20, 10, 3)])
def test_an_image_is_left_to_the_worker(shape: tuple[int, ...]) -> None:
    feed = feed_of(np.zeros(shape, np.uint8), a_welcome())

    assert feed.tensors == ()
    assert feed.image is not None
    assert feed.image.shape == (20, 10, shape[2] if len(shape) == 3 else 1)
    assert feed.image_bytes == feed.image.size


@pytest.mark.parametrize("content", [b"a file", bytearray(b"a file")])
def test_bytes_are_a_file_and_left_to_the_worker(content: bytes) -> None:
    assert feed_of(content, a_welcome()) == ((), None, 6, b"a file")


def test_a_file_for_a_model_that_takes_no_images_is_refused() -> None:
    with pytest.raises(InputError, match="digits takes tensors, not images"):
        feed_of(b"a file", a_welcome(takes_images=False))


def test_a_file_for_a_worker_from_before_is_refused() -> None:
    with pytest.raises(InputError, match="takes no image files yet"):
        feed_of(b"a file", msgspec.structs.replace(a_welcome(), takes_files=False))


def test_a_file_without_bytes_is_refused() -> None:
    with pytest.raises(InputError, match="an image file of 0 bytes"):
        feed_of(b"", a_welcome())


def test_the_models_own_uint8_tensor_is_no_image() -> None:
    feed = feed_of(np.zeros((8, 8, 1), np.uint8), a_welcome(("image", (8, 8, 1), DType.UINT8)))

    assert feed.image is None


def test_a_wrong_shape_is_refused_with_the_wanted_one() -> None:
    with pytest.raises(InputError) as caught:
        feed_of(np.zeros((8, 8, 1), np.float32), a_welcome())

    assert "(8, 8, 1) float32" in str(caught.value)
    assert "must be (1, 8, 8, 1) float32" in caught.value.faults[0]
    assert "or an image" in caught.value.remedy


def test_a_wrong_dtype_is_refused_with_the_wanted_one() -> None:
    with pytest.raises(InputError) as caught:
        feed_of(np.zeros((1, 8, 8, 1)), a_welcome(takes_images=False))

    assert "float64, must be (1, 8, 8, 1) float32" in caught.value.faults[0]
    assert "image" not in caught.value.remedy.replace("'image'", "")


def test_an_image_for_a_model_that_takes_none_is_refused() -> None:
    with pytest.raises(InputError):
        feed_of(np.zeros((8, 8), np.uint8), a_welcome(takes_images=False))


@pytest.mark.parametrize("shape", [(8, 8, 4), (0, 8, 1), (9000, 8, 1)])
def test_an_image_that_no_worker_takes_is_refused_before_it_is_sent(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError):
        feed_of(np.zeros(shape, np.uint8), a_welcome())


def test_several_inputs_are_sent_in_the_models_order() -> None:
    feed = feed_of({"b": np.array([7], np.int32), "a": np.zeros(2, np.float32)}, TWO)

    assert [tensor.tolist() for tensor in feed.tensors] == [[0.0, 0.0], [7]]


def test_one_array_for_several_inputs_is_refused_with_their_names() -> None:
    with pytest.raises(InputError, match="'a', 'b'"):
        feed_of(np.zeros(2, np.float32), TWO)


def test_every_fault_of_a_mapping_is_named() -> None:
    with pytest.raises(InputError) as caught:
        feed_of({"a": np.zeros(3, np.float32), "c": np.zeros(1)}, TWO)

    assert caught.value.faults == (
        "'c' is no input",
        "'b' is missing",
        "'a' is (3,) float32, must be (2,) float32",
    )


def test_a_mapping_with_the_one_input_is_fine() -> None:
    tensor = np.zeros((1, 8, 8, 1), np.float32)

    assert feed_of({"image": tensor}, a_welcome()).tensors[0] is tensor


def test_a_worker_of_a_newer_agent_may_say_more() -> None:
    frame = protocol.encode_welcome(a_welcome())
    extended = msgspec.json.encode({**msgspec.json.decode(frame[1:]), "news": 1})

    assert protocol.parse_welcome(frame[:1] + extended) == a_welcome()
