from __future__ import annotations

import contextlib
import struct

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.errors import MessageError
from contract.tensor import DType
from edge_agent.inference import protocol
from edge_agent.inference.protocol import AreaTensor, Failure, Request, ScoredClass, Welcome

IMAGE = ("image", (1, 8, 8, 1), DType.FLOAT32)
SCORES = ("scores", (1, 10), DType.FLOAT32)


def a_welcome() -> Welcome:
    inputs, outputs, size = protocol.plan_area([IMAGE], [SCORES])
    return Welcome(
        protocol=protocol.PROTOCOL,
        model="digits",
        version="1.0.0",
        variant="static-int8",
        inputs=inputs,
        outputs=outputs,
        takes_images=True,
        tensor_bytes=size,
    )


@pytest.mark.parametrize("sequence", [1, (1 << 32) - 1])
def test_a_request_for_ready_tensors_is_known_at_a_glance(sequence: int) -> None:
    frame = protocol.encode_request_of_tensors(sequence)

    assert frame == protocol.encode_request(Request(sequence))
    assert protocol.sequence_of_tensors(memoryview(frame)) == sequence


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"T",
        protocol.encode_request(Request(1)) + b"\0",
        protocol.encode_request(Request(0)),
        protocol.encode_request(Request(1, 8, 8, 1)),
        protocol.encode_request(Request(1, file_bytes=9)),
        b"T" + protocol.encode_request(Request(1, 8, 8, 1))[1:],
        protocol.encode_request(Request(1))[:-1] + b"\1",
        protocol.encode_request(Request(1))[:12] + b"\1" + bytes(7),
    ],
)
def test_any_other_frame_is_not(frame: bytes) -> None:
    assert protocol.sequence_of_tensors(frame) == 0


def test_tensors_are_laid_out_one_after_the_other_on_cache_lines() -> None:
    inputs, outputs, size = protocol.plan_area([IMAGE, ("flag", (), DType.BOOL)], [SCORES])

    assert [place.offset for place in inputs] == [0, 256]
    assert outputs == (AreaTensor(name="scores", shape=(1, 10), dtype=DType.FLOAT32, offset=320),)
    assert size == 320 + 64
    assert inputs[1].size_bytes() == 1


def test_a_model_without_tensors_takes_no_area() -> None:
    assert protocol.plan_area([], []) == ((), (), 0)


def test_the_symlink_is_named_after_the_model() -> None:
    assert protocol.socket_name("digits") == "digits.sock"


def test_a_request_for_tensors_has_these_bytes() -> None:
    frame = protocol.encode_request(Request(7))

    assert frame == b"T\0\0\0" + struct.pack("<IIII", 7, 0, 0, 0)
    assert protocol.parse_request(frame) == Request(7)


def test_a_request_for_an_image_has_these_bytes() -> None:
    frame = protocol.encode_request(Request(1, 480, 640, 3))

    assert frame == b"I\0\0\0" + struct.pack("<IIII", 1, 480, 640, 3)
    assert protocol.parse_request(memoryview(frame)) == Request(1, 480, 640, 3)


def test_a_request_for_an_image_file_has_these_bytes() -> None:
    frame = protocol.encode_request(Request(2, file_bytes=70_000))

    assert frame == b"B\0\0\0" + struct.pack("<IIII", 2, 70_000, 0, 0)
    assert protocol.parse_request(frame) == Request(2, file_bytes=70_000)


def test_a_file_must_have_bytes_that_fit_the_area() -> None:
    assert protocol.file_fault(1, 1) == ""
    assert "room for 9" in protocol.file_fault(10, 9)
    assert "0 bytes" in protocol.file_fault(0, 9)
    assert protocol.file_fault(protocol.IMAGE_MAX_BYTES + 1, 1 << 40)


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"T",
        protocol.encode_request(Request(1)) + b"\0",
        b"X" + protocol.encode_request(Request(1))[1:],
        b"T" + protocol.encode_request(Request(1, 8, 8, 1))[1:],
        b"I" + protocol.encode_request(Request(1))[1:],
        b"B" + protocol.encode_request(Request(1))[1:],
        b"B" + protocol.encode_request(Request(1, 8, 8, 1))[1:],
    ],
    ids=[
        *("empty", "short", "long", "unknown kind", "tensors with a size", "image without a size"),
        *("file without bytes", "file with a size"),
    ],
)
def test_what_is_no_request_is_refused(frame: bytes) -> None:
    with pytest.raises(MessageError):
        protocol.parse_request(frame)


def test_a_result_has_these_bytes() -> None:
    frame = protocol.encode_result(3, 0.5, [(1, 0.25, "één".encode())], is_draining=True)

    label = "één".encode()
    assert frame == b"R\x01\x01\0" + struct.pack("<Id", 3, 0.5) + struct.pack("<IfH", 1, 0.25, 5) + label
    result = protocol.parse_answer(memoryview(frame))
    assert result == protocol.Result(3, True, 0.5, (ScoredClass(1, 0.25, "één"),))


def test_a_failure_comes_back_whole() -> None:
    failure = Failure(code="input", message="no", remedy="do", sequence=9, is_draining=True)

    assert protocol.parse_answer(memoryview(protocol.encode_failure(failure))) == failure


def test_a_failure_with_endless_text_fits_a_frame() -> None:
    frame = protocol.encode_failure(Failure(code="input", message="\0" * 99_999, remedy="\0" * 99_999))

    assert len(frame) <= protocol.FRAME_MAX_BYTES


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"R",
        b"T" + protocol.encode_result(1, 0.1, [], is_draining=False)[1:],
        protocol.encode_result(1, 0.1, [(1, 0.5, b"ab")], is_draining=False)[:-1],
        protocol.encode_result(1, 0.1, [(1, 0.5, b"ab")], is_draining=False)[:-3],
        protocol.encode_result(1, 0.1, [], is_draining=False) + b"x",
        protocol.encode_result(1, 0.1, [(1, 0.5, b"\xff")], is_draining=False),
        b"F{}",
    ],
    ids=["empty", "short", "kind", "label cut", "class cut", "long", "no UTF-8", "failure without a code"],
)
def test_what_is_no_answer_is_refused(frame: bytes) -> None:
    with pytest.raises(MessageError):
        protocol.parse_answer(frame)


@given(st.binary(max_size=200))
def test_any_bytes_are_parsed_or_refused(frame: bytes) -> None:
    for parse in (
        protocol.parse_answer,
        protocol.parse_request,
        protocol.parse_welcome,
        protocol.parse_attached,
    ):
        with contextlib.suppress(MessageError):
            parse(memoryview(frame))


def test_a_welcome_comes_back_whole() -> None:
    assert protocol.parse_welcome(memoryview(protocol.encode_welcome(a_welcome()))) == a_welcome()


def test_a_worker_that_takes_no_more_clients_says_so_instead() -> None:
    failure = Failure(code="agent-unavailable", message="full")

    assert protocol.parse_welcome(protocol.encode_failure(failure)) == failure


@pytest.mark.parametrize("frame", [b"", b"T", b"W", b"W{}", b"W\xff"])
def test_what_is_no_welcome_is_refused(frame: bytes) -> None:
    with pytest.raises(MessageError):
        protocol.parse_welcome(frame)


def test_a_worker_of_another_protocol_is_refused_with_what_to_do() -> None:
    frame = protocol.encode_welcome(msgspec.structs.replace(a_welcome(), protocol=2))

    with pytest.raises(MessageError, match="protocol 2") as caught:
        protocol.parse_welcome(frame)
    assert "same litefleet version" in caught.value.remedy


def test_a_model_with_endless_names_cannot_be_described() -> None:
    place = AreaTensor(name="x" * protocol.FRAME_MAX_BYTES, shape=(1,), dtype=DType.INT8, offset=0)

    with pytest.raises(MessageError, match="digits has"):
        protocol.encode_welcome(msgspec.structs.replace(a_welcome(), inputs=(place,)))


def test_only_an_attach_is_one() -> None:
    assert protocol.is_attach(protocol.encode_attach())
    assert protocol.is_attach(memoryview(protocol.encode_attach(takes_stored=True)))
    assert not protocol.is_attach(b"")
    assert not protocol.is_attach(b"AA")
    assert not protocol.is_attach(b"T")


def test_an_attach_says_what_its_client_can_read() -> None:
    assert protocol.encode_attach() == b"A", "what an older worker knows"
    assert not protocol.takes_stored(protocol.encode_attach())
    assert protocol.takes_stored(protocol.encode_attach(takes_stored=True))


def test_a_result_of_stored_values_has_these_bytes() -> None:
    frame = protocol.encode_result(7, 0.25, None, is_draining=True)

    assert frame == b"s\1" + struct.pack("<HId", 0, 7, 0.25)
    assert protocol.parse_answer(memoryview(frame)) == protocol.Result(7, True, 0.25, (), is_stored=True)


@pytest.mark.parametrize("changed", [b"s\0\1\0", b"s\0\0\1"])
def test_a_result_of_stored_values_has_no_classes(changed: bytes) -> None:
    frame = changed + protocol.encode_result(7, 0.25, None, is_draining=False)[4:]

    for wrong in (frame, protocol.encode_result(7, 0.25, None, is_draining=False) + b"\0"):
        with pytest.raises(MessageError):
            protocol.parse_answer(wrong)


def test_a_greeting_tells_how_to_read_stored_values() -> None:
    stored = protocol.StoredOutput(
        dtype=DType.INT8, scale=0.1 + 0.2, zero_point=-128, top_k=3, labels=("cat", "dög")
    )
    welcome = msgspec.structs.replace(a_welcome(), stored=stored)

    assert protocol.parse_welcome(protocol.encode_welcome(welcome)) == welcome
    assert protocol.parse_welcome(protocol.encode_welcome(a_welcome())) == a_welcome()


def test_the_answer_to_an_attach_is_yes_or_a_failure() -> None:
    failure = Failure(code="input", message="not sealed")

    assert protocol.parse_attached(protocol.encode_attached()) is None
    assert protocol.parse_attached(protocol.encode_failure(failure)) == failure
    with pytest.raises(MessageError):
        protocol.parse_attached(b"T")


def test_an_image_must_fit_the_area() -> None:
    assert protocol.image_fault(Request(1, 8, 8, 3), 192) == ""
    assert "room for 191" in protocol.image_fault(Request(1, 8, 8, 3), 191)


@pytest.mark.parametrize("request_", [Request(1, 8, 8, 4), Request(1, 8, 8, 0), Request(1, 8, 0, 1)])
def test_an_image_without_pixels_or_with_odd_channels_is_refused(request_: Request) -> None:
    assert protocol.image_fault(request_, 1 << 20)


def test_an_image_longer_than_resizing_can_bear_is_refused() -> None:
    assert "8193" in protocol.image_fault(Request(1, 8193, 1, 1), 1 << 20)


def test_on_one_core_nobody_stays_awake() -> None:
    assert not protocol.may_spin(1)
    assert protocol.may_spin(2)


def test_where_the_worker_uses_every_core_nobody_stays_awake() -> None:
    assert not protocol.may_spin(4, 4)
    assert protocol.may_spin(4, 3)
