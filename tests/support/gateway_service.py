"""A gateway's service in a test's own process, what it is asked, and workers that follow a script."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from contract.tensor import DType, TensorSpec
from edge_agent.gateway.responses import Response
from edge_agent.gateway.service import Service
from edge_agent.gateway.settings import GatewaySettings
from edge_agent.gateway.wire import Request
from edge_agent.inference import protocol
from edge_agent.inference.async_client import connect_async
from tests.support.inference_greetings import a_scripted_welcome
from tests.support.inference_models import a_pair_of_reshapes
from tests.support.inference_slots import a_slot, images_of, tensor_of

TARGET = "/v2/models/digits/infer"


def a_request(
    content: bytes, shape: Sequence[int] = (1, 8, 8, 1), target: str = TARGET, **more: Any
) -> Request:
    name = "image" if len(shape) == 4 else "x"
    given = {
        "name": name,
        "shape": shape,
        "datatype": "FP32",
        "parameters": {"binary_data_size": len(content)},
    }
    text = json.dumps({"inputs": [given], "parameters": {"binary_data_output": True} | more}).encode()
    return Request("POST", target, memoryview(text + content), len(text))


def of_digit(digit: int, **more: Any) -> Request:
    return a_request(tensor_of(images_of(digit)[0]).tobytes(), **more)


def label_of(response: Response) -> str:
    found = re.search(rb'"label":"(.)"', response.body[0])
    assert found, response
    return found[1].decode()


def in_service(run_dir: Path, talk: Callable[[Service], Awaitable[None]], **settings: Any) -> None:
    """Have a talk with a gateway's service."""

    async def run() -> None:
        given = GatewaySettings(**settings)
        async with connect_async(
            run_dir, connections=given.connections, max_waiting=given.max_waiting
        ) as fleet:
            service = Service(fleet, given)
            try:
                await talk(service)
            finally:
                service.end()

    asyncio.run(run())


async def statistics(service: Service) -> tuple[int, int]:
    answer = await service.answer(Request("GET", "/v2/models/digits/stats", memoryview(b""), None))
    (entry,) = json.loads(answer.body[0])["model_stats"]
    return entry["inference_stats"]["success"]["count"], entry["inference_stats"]["fail"]["count"]


@contextlib.contextmanager
def scripted_workers(
    run_dir: Path, *scripts: Sequence[bytes], has_left: threading.Event | None = None
) -> Iterator[list[int]]:
    """Where a worker should be, and says to each client what its script says: at once, then per frame that it gets.

    Args:
        run_dir: Empty.
        scripts: For each client; the last one also for those that come later.
        has_left: Leave without waiting for one frame more, and tell so.

    Yields:
        One element per client that came.
    """
    (run_dir / "w").mkdir()
    (run_dir / "digits.sock").symlink_to("w/one.sock")
    came: list[int] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(run_dir / "w" / "one.sock"))
        listener.listen()

        def talk() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    came.append(len(came))
                    script = scripts[min(came[-1], len(scripts) - 1)]
                    with connection, contextlib.suppress(OSError):
                        for place, frame in enumerate(script, 1):
                            connection.send(frame)
                            if has_left is None or place < len(script):
                                connection.recv(64)
                    if has_left is not None:
                        has_left.set()

        thread = threading.Thread(target=talk)
        thread.start()
        try:
            yield came
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def a_greeting() -> bytes:
    return protocol.encode_welcome(a_scripted_welcome())


def an_answer(sequence: int, *, is_draining: bool = False) -> bytes:
    return protocol.encode_result(sequence, 0.001, [], is_draining=is_draining)


BEGIN = (a_greeting(), protocol.encode_attached(), an_answer(1))


def a_pair_slot(folder: Path) -> Path:
    """A model whose outputs ``a-out`` and ``b-out`` are its inputs ``a`` (2,) and ``b`` (3,)."""

    def spec(name: str, *shape: int) -> TensorSpec:
        return TensorSpec(name=name, shape=shape, dtype=DType.FLOAT32)

    return a_slot(
        folder,
        content=a_pair_of_reshapes(),
        model="pair",
        variant={"name": "float32"},
        inputs=(spec("a", 2), spec("b", 3)),
        outputs=(spec("a-out", 2, 1), spec("b-out", 3, 1)),
        labels=(),
        preprocessing=None,
        postprocessing=None,
    )
