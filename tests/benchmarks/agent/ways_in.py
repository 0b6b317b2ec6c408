"""What asking through HTTP, and through the asyncio SDK, costs over a bare interpreter and over the synchronous SDK.

All sides run in alternating blocks of 50 in the same run: interleaving single requests would measure the caches. What
is told is the median over the differences of neighbouring blocks' medians: the machine's pace changes by the minute.
The model of 224 x 224 x 3 is an average pool, since a model's own work is the same on either side; it is asked with
float32 (602,112 bytes) and with int8 (150,528 bytes). A model that works for milliseconds between two requests leaves
the caches cold, which a pool does not show: that is what MobileNetV2 stands for (``tests/support/mobilenet.py``).
"""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import statistics
import tempfile
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from contract.tensor import DType, TensorSpec
from edge_agent import connect, connect_async
from edge_agent.inference.pool import Pool, WorkerSpec
from edge_agent.inference.runtime import find_runtime
from tests.benchmarks.agent.mobilenet import mobilenet_slot
from tests.benchmarks.harness import Row, at_most, block_medians, median_difference, versions_of
from tests.support.gateway import RunningGateway, a_gateway
from tests.support.inference_models import an_average_pool
from tests.support.inference_slots import (
    START_S,
    a_pool,
    a_slot,
    images_of,
    model_path_in,
    serve,
    short_folder,
    slot_of,
    tensor_of,
)

BLOCKS = 24
BLOCK_REQUESTS = 50
SIDE = 224

Ask = Callable[[], object]


def rows() -> list[Row]:
    """Measure everything."""
    with short_folder() as run_dir, tempfile.TemporaryDirectory() as folder, a_pool(run_dir) as (pool, _):
        serve(pool)
        slots = {name: _deploy(pool, Path(folder) / name, name) for name in ("float32", "int8")}
        with a_gateway(run_dir) as gateway:
            found = [_digits_row(gateway), *(_large_row(gateway, name, slot) for name, slot in slots.items())]
            found += _mobilenet_rows(pool, Path(folder) / "mobilenet", gateway)
            found.append(_memory_row(gateway))
        return [*found, *asyncio.run(_sdk_rows(run_dir))]


def _deploy(pool: Pool, folder: Path, dtype: str) -> Path:
    slot = a_slot(
        folder,
        content=an_average_pool(SIDE, 32, dtype),
        model=f"pool-{dtype}",
        variant={"name": "only"},
        inputs=(TensorSpec(name="image", shape=(1, SIDE, SIDE, 3), dtype=DType(dtype)),),
        outputs=(TensorSpec(name="out", shape=(1, 7, 7, 3), dtype=DType.FLOAT32),),
        labels=(),
        preprocessing=None,
        postprocessing=None,
    )
    pool.activate(pool.start_candidate(WorkerSpec(f"pool-{dtype}", "1.0.0", slot, 1), START_S))
    return slot


def _bare(slot: Path, tensor: npt.NDArray[Any]) -> Ask:
    """set_tensor, invoke, get_tensor in this process."""
    interpreter: Any = find_runtime().module.Interpreter(str(model_path_in(slot)), num_threads=1)
    interpreter.allocate_tensors()
    source, sink = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]

    def infer() -> object:
        interpreter.set_tensor(source, tensor)
        interpreter.invoke()
        return interpreter.get_tensor(sink)

    return infer


def _request(tensor: npt.NDArray[Any], datatype: str, name: str) -> tuple[bytes, memoryview]:
    """Its JSON, and the tensor's bytes that follow."""
    given = {"name": name, "shape": tensor.shape, "datatype": datatype}
    content = {
        "inputs": [given | {"parameters": {"binary_data_size": tensor.nbytes}}],
        "parameters": {"binary_data_output": True},
    }
    return json.dumps(content).encode(), tensor.data.cast("B")


def _over_http(
    gateway: RunningGateway, model: str, tensor: npt.NDArray[Any], datatype: str, name: str = "image"
) -> Ask:
    """A binary request on a connection that stays open, sent without copying, and its answer as an array."""
    client = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=20)
    header, body = _request(tensor, datatype, name)
    headers = {
        "Inference-Header-Content-Length": str(len(header)),
        "Content-Length": str(len(header) + len(body)),
    }

    def infer() -> object:
        client.request("POST", f"/v2/models/{model}/infer", iter((header, body)), headers)
        response = client.getresponse()
        answer = response.read()
        start = int(response.headers["Inference-Header-Content-Length"])
        return np.frombuffer(answer[start:], np.float32)

    return infer


def _over_a_socket(gateway: RunningGateway, model: str, tensor: npt.NDArray[Any], name: str) -> Ask:
    """The same from a client that takes next to no time itself: ready bytes out, and of the answer only its lengths."""
    header, body = _request(tensor, "INT8", name)
    head = (
        f"POST /v2/models/{model}/infer HTTP/1.1\r\nHost: {gateway.address}\r\n"
        f"Inference-Header-Content-Length: {len(header)}\r\nContent-Length: {len(header) + len(body)}\r\n\r\n"
    ).encode() + header
    client = gateway.connect()
    answer = bytearray(1 << 20)
    place = memoryview(answer)

    def infer() -> object:
        sent = client.sendmsg([head, body])
        if sent < len(head) + len(body):
            client.sendall((head + body)[sent:])
        filled, end = 0, -1
        while end < 0:
            filled += _received(client, place[filled:])
            end = answer.find(b"\r\n\r\n", 0, filled)
        lengths = {
            key: int(value)
            for key, _, value in (line.partition(b":") for line in bytes(place[:end]).lower().split(b"\r\n"))
            if key.endswith(b"content-length")
        }
        start, size = lengths[b"inference-header-content-length"], lengths[b"content-length"]
        while filled < end + 4 + size:
            filled += _received(client, place[filled:])
        return np.frombuffer(answer[end + 4 + start : end + 4 + size], np.float32)

    return infer


def _received(client: socket.socket, place: memoryview) -> int:
    size = client.recv_into(place)
    assert size, "the gateway has closed the connection"
    return size


def _digits_row(gateway: RunningGateway) -> Row:
    tensor = tensor_of(images_of(3)[0])
    bare = _bare(slot_of("1.0.0"), np.zeros((1, 8, 8, 1), np.int8))
    return _http_row("digits", _over_http(gateway, "digits", tensor, "FP32"), bare)


def _large_row(gateway: RunningGateway, dtype: str, slot: Path) -> Row:
    tensor = np.ones((1, SIDE, SIDE, 3), dtype)
    ask = _over_http(gateway, f"pool-{dtype}", tensor, {"float32": "FP32", "int8": "INT8"}[dtype])
    return _http_row(f"224 x 224 x 3 {dtype}", ask, _bare(slot, tensor))


def _mobilenet_rows(pool: Pool, folder: Path, gateway: RunningGateway) -> list[Row]:
    slot = mobilenet_slot(folder, DType.INT8, model="mobilenet")
    pool.activate(pool.start_candidate(WorkerSpec("mobilenet", "1.0.0", slot, 1), START_S))
    tensor = np.random.default_rng(3).integers(-128, 128, (1, SIDE, SIDE, 3)).astype(np.int8)
    bare = _bare(slot, tensor)
    ask = _over_http(gateway, "mobilenet", tensor, "INT8", name="t0")
    ask_lean = _over_a_socket(gateway, "mobilenet", tensor, name="t0")
    expected, lean = (np.asarray(each()) for each in (ask, ask_lean))
    assert np.array_equal(expected, lean), "both clients ask the same"
    return [
        _http_row("MobileNetV2 224 int8", ask, bare),
        _http_row("MobileNetV2 224 int8, a client that takes no time", ask_lean, bare),
    ]


def _http_row(what: str, ask: Ask, bare: Ask) -> Row:
    for _ in range(BLOCK_REQUESTS):
        ask()
    asked, ran = block_medians(ask, bare, blocks=BLOCKS, requests=BLOCK_REQUESTS)
    return Row(
        name=f"HTTP binary over a bare script, {what}, p50",
        value=median_difference(asked, ran) * 1e3,
        unit="ms",
        samples=BLOCKS * BLOCK_REQUESTS,
        goal=at_most(1.0),
        baseline=statistics.median(ran) * 1e3,
        versions=versions_of("ai-edge-litert", "numpy", "h11"),
    )


def _memory_row(gateway: RunningGateway) -> Row:
    return Row(
        name="memory of the gateway after these requests (PSS)",
        value=gateway.memory_mib(),
        unit="MiB",
        samples=1,
        versions=versions_of("numpy", "h11"),
    )


async def _sdk_rows(run_dir: Path) -> list[Row]:
    """One request at a time through either SDK, and as many as the asyncio SDK takes."""
    tensor = tensor_of(images_of(3)[0])
    async with connect_async(run_dir) as fleet:
        model = fleet.model("digits")
        with connect(run_dir).model("digits") as waiting:
            asked: list[float] = []
            waited: list[float] = []
            for _ in range(BLOCKS):
                asked += [await _timed(model.infer(tensor)) for _ in range(BLOCK_REQUESTS)]
                for _ in range(BLOCK_REQUESTS):
                    began = time.perf_counter()
                    waiting.infer(tensor)
                    waited.append(time.perf_counter() - began)
        began = time.perf_counter()
        await asyncio.gather(*(_several(lambda: model.infer(tensor), 250) for _ in range(8)))
        rate = 8 * 250 / (time.perf_counter() - began)
    waited_us = statistics.median(waited) * 1e6
    versions = versions_of("ai-edge-litert", "numpy")
    return [
        Row(
            name="asyncio SDK over the synchronous one, digits, p50",
            value=statistics.median(asked) * 1e6 - waited_us,
            unit="us",
            samples=len(asked),
            baseline=waited_us,
            versions=versions,
        ),
        Row(
            name="asyncio SDK, eight requests under way, digits",
            value=rate,
            unit="req/s",
            samples=2000,
            versions=versions,
        ),
    ]


async def _timed(request: Coroutine[Any, Any, object]) -> float:
    began = time.perf_counter()
    await request
    return time.perf_counter() - began


async def _several(ask: Callable[[], Coroutine[Any, Any, object]], count: int) -> None:
    for _ in range(count):
        await ask()
