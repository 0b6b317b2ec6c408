from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
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
        feed_of(np.zeros((1, 8, 8, 1), np.uint8), a_welcome(takes_images=False))

    assert "uint8, must be (1, 8, 8, 1) float32" in caught.value.faults[0]
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


PAIR = a_welcome(("x", (1, 2), DType.FLOAT32), takes_images=False)
"""A model of two real numbers."""


def the_input(what: npt.ArrayLike, welcome: Welcome = PAIR) -> npt.NDArray[Any]:
    """What is sent of it, the same given alone and by its name."""
    alone, named = feed_of(what, welcome), feed_of({welcome.inputs[0].name: what}, welcome)
    for feed in (alone, named):
        assert (len(feed.tensors), feed.image, feed.image_bytes, feed.file) == (1, None, 0, b"")
        assert feed.tensors[0].dtype == np.dtype(welcome.inputs[0].dtype.value)
        assert feed.tensors[0].shape == welcome.inputs[0].shape
    assert np.array_equal(alone.tensors[0], named.tensors[0], equal_nan=True)
    return alone.tensors[0]


def refusals(what: npt.ArrayLike, welcome: Welcome = PAIR) -> tuple[InputError, str]:
    """The error, and its one fault, the same given alone and by its name."""
    with pytest.raises(InputError) as alone:
        feed_of(what, welcome)
    with pytest.raises(InputError) as named:
        feed_of({welcome.inputs[0].name: what}, welcome)
    assert alone.value.faults == named.value.faults
    assert alone.value.remedy == named.value.remedy
    (fault,) = alone.value.faults
    return alone.value, fault


@pytest.mark.parametrize(
    "what",
    [
        np.array([[0.1, 2.0]]),
        np.array([[0.1, 2.0]], ">f8"),
        np.array([[0.1, 2.0]], ">f4"),
        np.array([[0.1, 0.3, 2.0, 0.3]])[:, ::2],
        [[0.1, 2.0]],
        ((0.1, 2.0),),
        [(0.1, 2)],
        [[np.float64(0.1), 2]],
        [np.array([0.1, 2.0])],
    ],
)
def test_real_numbers_become_the_nearest_float32(what: npt.ArrayLike) -> None:
    assert the_input(what).tolist() == [[float(np.float32(0.1)), 2.0]]


def test_half_floats_keep_their_value() -> None:
    assert the_input(np.array([[0.1, 2.0]], np.float16)).tolist() == [[float(np.float16(0.1)), 2.0]]


@pytest.mark.parametrize("what", [[[3, -4]], ((3, -4),), [[3, -4.0]]])
def test_whole_numbers_of_a_list_are_real_numbers(what: npt.ArrayLike) -> None:
    assert the_input(what).tolist() == [[3.0, -4.0]]


@pytest.mark.parametrize("number", [1 << 62, (1 << 64) - 1, 16_777_217])
def test_long_whole_numbers_of_a_list_are_rounded_as_floats_are(number: int) -> None:
    assert the_input([[number, 0]])[0, 0] == np.float32(number)


@pytest.mark.parametrize("what", [0.5, np.float64(0.5), np.float16(0.5), np.array(0.5)])
def test_a_number_alone_is_a_tensor_without_dimensions(what: npt.ArrayLike) -> None:
    assert the_input(what, a_welcome(("x", (), DType.FLOAT32))) == np.float32(0.5)
    assert the_input(7, a_welcome(("x", (), DType.FLOAT32))) == np.float32(7)


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int16, np.int32, np.int64, np.uint64, np.bool_])
def test_integers_of_an_array_stay_refused_also_in_a_list(kind: type[np.generic]) -> None:
    array = np.array([[0, 1]]).astype(kind)
    for what in (array, list(array), [list(array[0])]):
        _, fault = refusals(what)
        assert fault == f"'x' is (1, 2) {array.dtype}, must be (1, 2) float32"


@pytest.mark.parametrize(
    ("what", "shown"),
    [
        (np.array([[0.5, 1.0]], np.longdouble), f"(1, 2) {np.dtype(np.longdouble)}"),
        (np.array([[0.5, 1.0]], np.complex64), "(1, 2) complex64"),
        ([[0.5, 1j]], "(1, 2) complex128"),
        ([["0.5", "1"]], "(1, 2) <U3"),
        ([[True, False]], "(1, 2) bool"),
        ([[1 << 64, 0]], "(1, 2) object"),
        ([[None, 0.5]], "(1, 2) object"),
        ([0.5, 1.0], "(2,) float64"),
        ([[[0.5, 1.0]]], "(1, 1, 2) float64"),
        ([[0.5], [1.0]], "(2, 1) float64"),
        ([[1, 2, 3]], "(1, 3) int64"),
        ([], "(0,) float64"),
        (0.5, "() float64"),
        (7, "() int64"),
        (np.array([1.0, 2.0], np.float16), "(2,) float16"),
    ],
)
def test_what_is_no_real_number_or_has_another_shape_stays_refused(what: npt.ArrayLike, shown: str) -> None:
    error, fault = refusals(what)
    assert fault == f"'x' is {shown}, must be (1, 2) float32"
    assert error.remedy == "give 'x' (1, 2) float32"


@pytest.mark.parametrize("dtype", [each for each in DType if each is not DType.FLOAT32])
def test_an_input_of_another_dtype_takes_its_own_alone(dtype: DType) -> None:
    welcome = a_welcome(("x", (1, 2), dtype), takes_images=False)
    own = np.zeros((1, 2), dtype.value)
    assert the_input(own, welcome) is own
    lists: list[npt.ArrayLike] = [[[0, 1]], [[0.0, 1.0]]]
    arrays = [np.zeros((1, 2), each.value) for each in DType if each is not dtype]
    for what in (*lists, *arrays, np.zeros((1, 2))):
        if np.asarray(what).dtype != own.dtype:  # a list of numbers may be what the input is
            assert refusals(what, welcome)[1].endswith(f"must be (1, 2) {dtype.value}")


LARGEST = float(np.finfo(np.float32).max)
HALF_STEP = 2.0**103
"""Half of the distance from the largest float32 to what would be the next: from here on one rounds to infinity."""


@pytest.mark.parametrize("number", [LARGEST, -LARGEST, np.nextafter(LARGEST + HALF_STEP, 0), 1e-46, -0.0])
def test_the_largest_and_the_smallest_numbers_are_held(number: float) -> None:
    assert the_input([[number, 0.0]])[0, 0] == np.float32(number)


@pytest.mark.parametrize("number", [LARGEST + HALF_STEP, -1e39, 1e300])
def test_a_number_that_a_float32_does_not_hold_is_refused_and_named(number: float) -> None:
    with np.errstate(all="raise"):
        error, fault = refusals([[0.0, number]])
        assert refusals(np.array([[number, np.inf]]))[1] == fault
    assert fault == f"'x' holds {number}, beyond what a float32 holds"
    assert str(error) == "digits does not take (1, 2) float64"


def test_what_was_not_finite_before_is_left_to_the_worker() -> None:
    sent = the_input(np.array([[np.nan, -np.inf]]))

    assert np.isnan(sent[0, 0])
    assert sent[0, 1] == -np.inf


def test_a_model_that_takes_images_takes_real_numbers_too_and_no_image_for_them() -> None:
    tensor = np.full((1, 8, 8, 1), 0.1)

    assert np.array_equal(the_input(tensor, a_welcome()), tensor.astype(np.float32))
    assert refusals(tensor[0], a_welcome())[1].startswith("'image' is (8, 8, 1) float64")


def test_an_image_is_an_image_also_where_the_input_has_its_shape() -> None:
    feed = feed_of(np.zeros((8, 8), np.uint8), a_welcome(("image", (8, 8), DType.FLOAT32)))

    assert feed.image is not None


@pytest.mark.parametrize("what", [[[0.1, 0.2], [0.3]], [[0.1, 0.2], 0.3]])
def test_rows_that_differ_in_length_are_refused_with_what_the_model_takes(what: npt.ArrayLike) -> None:
    error, fault = refusals(what)

    assert str(error) == "digits takes arrays, and this is none"
    assert "inhomogeneous" in fault
    assert error.remedy == "give 'x' (1, 2) float32"


class Elsewhere:
    """A tensor in the memory of another device."""

    def __array__(self, dtype: object = None, copy: object = None) -> npt.NDArray[Any]:
        raise TypeError("copy it to host memory first")


def test_a_tensor_that_cannot_be_read_is_refused() -> None:
    assert refusals(Elsewhere())[1] == "copy it to host memory first"


def test_of_several_inputs_each_is_converted_or_refused_by_itself() -> None:
    feed = feed_of({"a": [0.5, 1], "b": np.array([7], np.int32)}, TWO)
    assert [tensor.dtype for tensor in feed.tensors] == [np.float32, np.int32]
    assert [tensor.tolist() for tensor in feed.tensors] == [[0.5, 1.0], [7]]

    with pytest.raises(InputError) as caught:
        feed_of({"a": [0.5, 1e39], "b": [7.0]}, TWO)
    assert caught.value.faults == (
        "'a' holds 1e+39, beyond what a float32 holds",
        "'b' is (1,) float64, must be (1,) int32",
    )


def test_a_worker_of_a_newer_agent_may_say_more() -> None:
    frame = protocol.encode_welcome(a_welcome())
    extended = msgspec.json.encode({**msgspec.json.decode(frame[1:]), "news": 1})

    assert protocol.parse_welcome(frame[:1] + extended) == a_welcome()
