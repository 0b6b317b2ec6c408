"""Clients that stall, lie about lengths, flood or send rubbish: bounded, told why, and nobody else notices."""

from __future__ import annotations

import contextlib
import json
import random
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from contract.tensor import DType, TensorSpec
from edge_agent.gateway.http import HEAD_MAX_BYTES
from edge_agent.gateway.settings import BODIES, MAX_CONNECTIONS
from edge_agent.inference.pool import Pool, WorkerSpec
from tests.support.gateway import RunningGateway, a_gateway, read_answer
from tests.support.inference_models import a_reshape
from tests.support.inference_slots import START_S, a_slot, wait_until

BODY_MAX = 100_000
HEAD = b"POST /v2/models/digits/infer HTTP/1.1\r\nHost: localhost\r\n"


@pytest.fixture(scope="module")
def gateway(shared_pool: tuple[Path, Pool]) -> Iterator[RunningGateway]:
    """A gateway that loses patience soon."""
    with a_gateway(
        shared_pool[0], receive_timeout_s=0.5, idle_timeout_s=1.0, max_body_bytes=BODY_MAX, deadline_s=2.0
    ) as running:
        yield running


@pytest.fixture(autouse=True)
def still_well(gateway: RunningGateway) -> Iterator[None]:
    """Whatever a test did, the gateway lives, logs no traceback, and answers."""
    yield
    assert gateway.ask("GET", "/v2/models/digits/ready") == (200, {"name": "digits", "ready": True})
    assert "Traceback" not in gateway.log.read_text()


@pytest.mark.parametrize(
    ("content", "status", "error"),
    [
        (b"hello\r\n\r\n", 400, "no proper HTTP request"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400, "no proper HTTP request"),
        (b"GET /v2 HTTP/1.1\r\n\r\n", 400, "Host"),
        (b"GET /v2 HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", 400, "no proper HTTP request"),
        (b"GET /v2 HTTP/1.1\r\nHost : localhost\r\n\r\n", 400, "no proper HTTP request"),
        (b"GET /v2\x00 HTTP/1.1\r\nHost: localhost\r\n\r\n", 400, "no proper HTTP request"),
        (b"GET /v2 HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * HEAD_MAX_BYTES, 431, "no proper HTTP request"),
        (b"GET /" + b"x" * HEAD_MAX_BYTES, 431, "no proper HTTP request"),
        (b"GET /v2 HTTP/1.1\r\nHost: localhost\r\n" + b"A: b\r\n" * 4000, 431, "no proper HTTP request"),
        (HEAD + b"Content-Length: -1\r\n\r\n", 400, "no proper HTTP request"),
        (HEAD + b"Content-Length: 1e3\r\n\r\n", 400, "no proper HTTP request"),
        (HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n", 400, "no proper HTTP request"),
        (HEAD + b"Content-Length: 99999999999999999999\r\n\r\n", 400, "no "),
        (HEAD + b"Content-Length: 100001\r\n\r\n", 413, "at most 100000 are taken"),
        (HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "not both"),
        (HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n", 501, "no proper HTTP request"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400, "no proper HTTP request"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n-5\r\n", 400, "no proper HTTP request"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"4000\r\n" + b"x" * 0x4000 + b"\r\n", 408, "did not arrive"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + (b"4000\r\n" + b"x" * 0x4000 + b"\r\n") * 7, 413, "more than"),
        (HEAD + b"Content-Length: 10\r\n\r\nhalf", 408, "did not arrive within 0.5 s"),
        (HEAD + b"Inference-Header-Content-Length: 99999999999999\r\nContent-Length: 2\r\n\r\n{}", 400, "no sensible"),
        (b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n", 404, "nothing is at this path"),
        (b"GET /v2 HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n", 200, ""),
    ],
)  # fmt: skip
def test_rubbish_is_refused_with_a_status(
    gateway: RunningGateway, content: bytes, status: int, error: str
) -> None:
    found, headers, answer = gateway.say(content)

    assert found == status
    if status != 200:
        assert error in answer["error"]
    if status not in {200, 404}:
        assert headers["Connection"] == "close"


def test_a_body_that_is_too_long_is_refused_before_it_comes_and_the_client_can_read_why(
    gateway: RunningGateway,
) -> None:
    with gateway.connect() as connection:
        connection.sendall(HEAD + b"Content-Length: 50000000\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            connection.sendall(bytes(4 << 20))  # as clients do that send first and read then
        assert read_answer(connection)[0] == 413
    assert gateway.memory_mib() < 60


def test_a_head_that_trickles_in_is_cut_off_in_time(gateway: RunningGateway) -> None:
    began = time.monotonic()
    with gateway.connect() as connection:
        with contextlib.suppress(ConnectionError):
            for letter in HEAD * 10:
                connection.sendall(bytes((letter,)))
                time.sleep(0.02)
                if time.monotonic() - began > 3:
                    break
        assert time.monotonic() - began < 5
        with contextlib.suppress(ConnectionError):
            assert connection.recv(4096).startswith(b"HTTP/1.1 408")


def test_a_connection_that_says_nothing_is_closed(gateway: RunningGateway) -> None:
    with gateway.connect(10.0) as connection:
        assert connection.recv(10) == b""


def test_a_client_that_does_not_read_its_answers_is_dropped(
    gateway: RunningGateway, shared_pool: tuple[Path, Pool], tmp_path: Path
) -> None:
    pool = shared_pool[1]
    pool.activate(
        pool.start_candidate(WorkerSpec("wide", "1.0.0", a_wide_slot(tmp_path / "slot"), 1), START_S)
    )
    tensor = {
        "name": "image",
        "shape": [1, 96, 96, 1],
        "datatype": "FP32",
        "parameters": {"binary_data_size": 36864},
    }
    header = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    head = (
        f"POST /v2/models/wide/infer HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(header) + 36864}\r\n"
    )
    request = f"{head}Inference-Header-Content-Length: {len(header)}\r\n\r\n".encode() + header + bytes(36864)
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", gateway.port))
        connection.settimeout(20)
        with contextlib.suppress(ConnectionError):
            while True:
                connection.sendall(request)


def a_wide_slot(folder: Path) -> Path:
    def spec(name: str, *shape: int) -> TensorSpec:
        return TensorSpec(name=name, shape=shape, dtype=DType.FLOAT32)

    return a_slot(
        folder,
        content=a_reshape([1, 96, 96, 1], [1, 96, 96]),
        model="wide",
        variant={"name": "float32"},
        inputs=(spec("image", 1, 96, 96, 1),),
        outputs=(spec("out", 1, 96, 96),),
        labels=(),
        preprocessing=None,
        postprocessing=None,
    )


def test_more_connections_than_there_are_places_for_get_an_answer_and_resting_ones_make_room(
    gateway: RunningGateway,
) -> None:
    with contextlib.ExitStack() as stack:
        resting = [stack.enter_context(gateway.connect()) for _ in range(MAX_CONNECTIONS + 10)]
        assert gateway.ask("GET", "/v2/health/live")[0] == 200
        for connection in resting:
            with contextlib.suppress(ConnectionError):
                connection.sendall(HEAD)  # none rests any more
        wait_until(lambda: says_503(gateway), "a refusal", 5)
    wait_until(lambda: not says_503(gateway), "room", 10)


def says_503(gateway: RunningGateway) -> bool:
    with contextlib.suppress(ConnectionError), gateway.connect() as connection:
        connection.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        return read_answer(connection)[0] == 503
    return True


def test_bodies_that_do_not_come_take_no_more_memory_than_there_is_for_them(gateway: RunningGateway) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(BODIES):
            connection = stack.enter_context(gateway.connect())
            connection.sendall(HEAD + b"Content-Length: 100000\r\n\r\n")
        wait_until(lambda: gateway.say(HEAD + b"Content-Length: 2\r\n\r\n{}")[0] == 503, "no room", 2)
    wait_until(lambda: gateway.say(HEAD + b"Content-Length: 2\r\n\r\n{}")[0] == 400, "room again", 5)


def test_random_bytes_on_valid_requests_never_end_it(gateway: RunningGateway) -> None:
    chance = random.Random(4)
    body = b'{"inputs":[{"name":"image","shape":[1,8,8,1],"datatype":"FP32","parameters":{"binary_data_size":256}}]}'
    head = HEAD + b"Inference-Header-Content-Length: %d\r\nContent-Length: %d\r\n\r\n"
    valid = head % (len(body), len(body) + 256) + body + bytes(256)
    before = gateway.memory_mib()
    statuses: set[int] = set()
    for _ in range(300):
        content = bytearray(valid)
        for _ in range(chance.randrange(5)):
            content[chance.randrange(len(valid) - 256)] = chance.randrange(256)
        with gateway.connect() as connection, contextlib.suppress(OSError):
            connection.sendall(content)
            connection.shutdown(socket.SHUT_WR)
            answer = connection.recv(16)
            statuses |= {int(answer[9:12])} if answer else set()
    assert statuses >= {200, 400}
    assert statuses <= {200, 400, 404, 405, 408, 413, 415, 421, 431, 501, 503}
    assert gateway.memory_mib() - before < 10
