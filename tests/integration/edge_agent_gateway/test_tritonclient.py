"""Existing clients work: the real ``tritonclient`` asks the real gateway, waiting and with asyncio."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator

import numpy as np
import pytest
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from PIL import Image
from tritonclient.utils import InferenceServerException

from tests.support.gateway import RunningGateway
from tests.support.inference_slots import images_of, tensor_of


def the_input(digit: int, *, binary: bool = True) -> triton.InferInput:
    given = triton.InferInput("image", [1, 8, 8, 1], "FP32")
    given.set_data_from_numpy(tensor_of(images_of(digit)[0]), binary_data=binary)
    return given


@pytest.fixture
def client(gateway: RunningGateway) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(gateway.address, network_timeout=20.0) as opened:
        yield opened


def test_health_and_metadata(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("digits")
    assert client.is_model_ready("digits", "1.0.0")
    assert not client.is_model_ready("digits", "9.9.9")
    assert not client.is_model_ready("other")
    server = client.get_server_metadata()
    assert (server["name"], server["extensions"]) == (
        "litefleet-gateway",
        ["binary_tensor_data", "statistics"],
    )
    assert client.get_model_metadata("digits", "1.0.0") == {
        "name": "digits",
        "versions": ["1.0.0"],
        "platform": "tflite",
        "inputs": [{"name": "image", "datatype": "FP32", "shape": [1, 8, 8, 1]}],
        "outputs": [{"name": "probabilities", "datatype": "FP32", "shape": [1, 10]}],
    }


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
def test_inference_in_every_mixture_of_json_and_binary(
    client: triton.InferenceServerClient, *, binary_in: bool, binary_out: bool
) -> None:
    for digit in range(10):
        wanted = triton.InferRequestedOutput("probabilities", binary_data=binary_out)
        result = client.infer(
            "digits", [the_input(digit, binary=binary_in)], outputs=[wanted], request_id=str(digit)
        )

        assert result.as_numpy("probabilities").shape == (1, 10)
        assert result.as_numpy("probabilities").argmax() == digit
        response = result.get_response()
        assert (response["id"], response["model_version"]) == (str(digit), "1.0.0")
        assert response["parameters"]["label"] == str(digit)


def test_an_image_as_it_is(client: triton.InferenceServerClient) -> None:
    image = np.kron(images_of(6)[0], np.ones((4, 4), np.uint8))
    given = triton.InferInput("image", list(image.shape), "UINT8")
    given.set_data_from_numpy(image)

    assert client.infer("digits", [given], model_version="1.0.0").as_numpy("probabilities").argmax() == 6


def test_an_image_file(client: triton.InferenceServerClient) -> None:
    stream = io.BytesIO()
    Image.fromarray(images_of(6)[0]).resize((320, 200)).save(stream, "JPEG")
    given = triton.InferInput("image", [1], "BYTES")
    given.set_data_from_numpy(np.array([stream.getvalue()], dtype=np.object_))

    assert client.infer("digits", [given]).as_numpy("probabilities").argmax() == 6


def test_many_at_a_time(gateway: RunningGateway) -> None:
    with triton.InferenceServerClient(gateway.address, concurrency=6, network_timeout=20.0) as client:
        asked = [
            client.async_infer("digits", [the_input(digit % 10)], timeout=5_000_000) for digit in range(24)
        ]
        digits = [each.get_result().as_numpy("probabilities").argmax() for each in asked]
    assert digits == [digit % 10 for digit in range(24)]


def test_the_asyncio_client(gateway: RunningGateway) -> None:
    async def ask() -> None:
        async with triton_aio.InferenceServerClient(gateway.address) as client:
            assert await client.is_server_ready()
            assert (await client.get_model_metadata("digits"))["versions"] == ["1.0.0"]
            found = await asyncio.gather(
                *(client.infer("digits", [the_input(digit, binary=digit % 2 == 0)]) for digit in range(10))
            )
            assert [each.as_numpy("probabilities").argmax() for each in found] == list(range(10))
            with pytest.raises(InferenceServerException, match="not deployed"):
                await client.infer("other", [the_input(1)])

    asyncio.run(ask())


def test_errors_come_as_the_clients_own_exception(client: triton.InferenceServerClient) -> None:
    wrong = triton.InferInput("image", [1, 4, 4, 1], "FP32")
    wrong.set_data_from_numpy(np.zeros((1, 4, 4, 1), np.float32))
    text = triton.InferInput("image", [1], "BYTES")
    text.set_data_from_numpy(np.array([b"x"], dtype=np.object_))
    shared = triton.InferInput("image", [1, 8, 8, 1], "FP32")
    shared.set_shared_memory("region", 256)
    for asked, options, status, message in (
        ([wrong], {}, "400", r"must be FP32 \[1, 8, 8, 1\]"),
        ([text], {}, "400", "no image that can be decoded as JPEG or PNG"),
        ([shared], {}, "400", "shared memory is not supported"),
        ([the_input(1)], {"sequence_id": 7}, "400", "sequences are not supported"),
        ([the_input(1)], {"model_version": "9.9.9"}, "404", "is not active"),
        (
            [the_input(1)],
            {"outputs": [triton.InferRequestedOutput("scores")]},
            "400",
            "'scores' is no output",
        ),
        ([the_input(1)], {"request_compression_algorithm": "gzip"}, "415", "compressed"),
    ):
        with pytest.raises(InferenceServerException, match=message) as caught:
            client.infer("digits", asked, **options)
        assert caught.value.status() == status


def test_extensions_that_are_not_there_say_so(client: triton.InferenceServerClient) -> None:
    for ask in (
        client.get_system_shared_memory_status,
        lambda: client.register_cuda_shared_memory("r", b"", 0, 1),
        client.get_model_repository_index,
        lambda: client.load_model("digits"),
        lambda: client.get_model_config("digits"),
    ):
        with pytest.raises(InferenceServerException) as caught:
            ask()
        assert caught.value.status() == "501"


def test_statistics_count_answers_and_failures(client: triton.InferenceServerClient) -> None:
    def counts() -> tuple[int, int]:
        (entry,) = client.get_inference_statistics("digits")["model_stats"]
        return entry["inference_stats"]["success"]["count"], entry["inference_stats"]["fail"]["count"]

    before = counts()
    client.infer("digits", [the_input(1)])
    with pytest.raises(InferenceServerException):
        client.infer("digits", [the_input(1)], outputs=[triton.InferRequestedOutput("scores")])

    assert counts() == (before[0] + 1, before[1] + 1)
    assert [entry["name"] for entry in client.get_inference_statistics()["model_stats"]] == ["digits"]
