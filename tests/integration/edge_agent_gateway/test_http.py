"""HTTP as it is spoken to the gateway: over TCP and a Unix socket, several requests a connection, every status."""

from __future__ import annotations

import concurrent.futures
import http.client
import json
import os
import re
import select
import signal
import socket
import stat
import struct
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from edge_agent.inference.pool import Pool, WorkerSpec
from tests.support.gateway import (
    INFER,
    RunningGateway,
    a_binary_request,
    a_gateway,
    a_raw_request,
    a_request,
    read_answer,
)
from tests.support.gateway_service import a_pair_slot
from tests.support.inference_slots import START_S, is_running, serve, wait_until


def test_health_metadata_and_inference_as_documents(gateway: RunningGateway) -> None:
    assert gateway.ask("GET", "/v2/health/live") == (200, {"live": True})
    assert gateway.ask("GET", "/v2/health/ready") == (200, {"live": True, "ready": True})
    assert gateway.ask("GET", "/v2/models/digits/ready") == (200, {"name": "digits", "ready": True})
    status, answer = gateway.ask("POST", INFER, a_request(7))
    assert (status, answer["parameters"]["label"], answer["parameters"]["index"]) == (200, "7", 7)
    assert int(np.argmax(answer["outputs"][0]["data"])) == 7


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status", "error"),
    [
        ("POST", "/v2/models/other/infer", {}, {}, 404, "'other' is not deployed"),
        ("GET", "/v2/models/..%2fdigits", None, {}, 404, "model"),
        ("GET", "/v2/models/digits/versions/2.0.0", None, {}, 404, "is not active"),
        ("GET", INFER, None, {}, 405, "takes POST"),
        ("POST", "/v2/systemsharedmemory/region/r/register", {}, {}, 501, "shared memory is not supported"),
        ("POST", INFER, b"{", {}, 400, "cannot be read"),
        ("POST", INFER, None, {}, 400, "cannot be read"),
        ("POST", INFER, {"inputs": []}, {}, 400, "1 to 64 inputs"),
        ("POST", INFER, b"{}", {"Inference_Header_Content_Length": "-1"}, 400, "no sensible number"),
        ("POST", INFER, b"{}", {"Inference_Header_Content_Length": "3"}, 400, "the body has 2 bytes"),
        ("POST", INFER, b"{}", {"Content_Encoding": "gzip"}, 415, "compressed"),
        ("GET", "/v2", None, {"Host": "evil.example"}, 421, "not this machine"),
    ],
)
def test_refusals_have_their_status_and_a_text(
    gateway: RunningGateway,
    method: str,
    path: str,
    body: object,
    headers: dict[str, str],
    status: int,
    error: str,
) -> None:
    found, answer = gateway.ask(method, path, body, **headers)
    assert found == status
    assert list(answer) == ["error"]
    assert error in answer["error"]


@pytest.mark.parametrize("host", ["localhost:8000", "[::1]:8000", "127.0.0.1", "[::1]"])
def test_a_host_that_is_this_machine_is_taken(gateway: RunningGateway, host: str) -> None:
    assert gateway.ask("GET", "/v2/health/live", Host=host)[0] == 200


def test_values_that_are_not_finite_are_the_models_refusal(gateway: RunningGateway) -> None:
    content = struct.pack("<64f", *[float("nan")] * 64)
    tensor = {"name": "image", "shape": [1, 8, 8, 1], "datatype": "FP32"}
    header = json.dumps({"inputs": [tensor | {"parameters": {"binary_data_size": 256}}]}).encode()
    status, answer = gateway.ask(
        "POST", INFER, header + content, Inference_Header_Content_Length=str(len(header))
    )
    assert (status, "not finite" in answer["error"]) == (400, True)


def test_requests_of_one_connection_are_answered_in_turn_also_when_sent_at_once(
    gateway: RunningGateway,
) -> None:
    requests = [a_raw_request(digit) for digit in (1, 2, 3)]
    requests[-1] = requests[-1].replace(b"Host:", b"Connection: close\r\nHost:", 1)
    with gateway.connect() as connection:
        connection.sendall(b"".join(requests))
        answers = b"".join(iter(lambda: connection.recv(65536), b""))
    assert re.findall(rb'"label":"(.)"', answers) == [b"1", b"2", b"3"]


@pytest.mark.parametrize("cut", [0, 40, 150, 300])
def test_heads_alike_and_heads_of_their_own_follow_each_other(gateway: RunningGateway, cut: int) -> None:
    labels = []
    with gateway.connect() as connection:
        for digit, more in ((1, ""), (2, ""), (3, "X-More: 1\r\n"), (4, "X-More: 1\r\n"), (5, "")):
            request = a_raw_request(digit, more)
            connection.sendall(request[:cut])
            assert not select.select([connection], [], [], 0.02)[0]  # its first piece arrives alone
            connection.sendall(request[cut:])
            labels.append(read_answer(connection)[2]["parameters"]["label"])
    assert labels == ["1", "2", "3", "4", "5"]


def test_a_chunked_body_arrives_whole(gateway: RunningGateway) -> None:
    body, header_bytes = a_binary_request(8)
    pieces = [body[place : place + 100] for place in range(0, len(body), 100)]
    client = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=20)
    headers = {"Inference-Header-Content-Length": str(header_bytes), "Transfer-Encoding": "chunked"}
    client.request("POST", INFER, iter(pieces), headers, encode_chunked=True)
    assert json.loads(client.getresponse().read())["parameters"]["label"] == "8"
    client.request("GET", "/v2/health/live")  # and the connection goes on
    assert client.getresponse().status == 200
    client.close()


def test_a_client_that_waits_for_continue_is_told_to_go_on(gateway: RunningGateway) -> None:
    body = json.dumps(a_request(5)).encode()
    with gateway.connect() as connection:
        head = f"POST {INFER} HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n"
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 100")
        connection.sendall(body)
        assert read_answer(connection)[2]["parameters"]["label"] == "5"


def test_http_1_0_gets_one_answer(gateway: RunningGateway) -> None:
    with gateway.connect() as connection:
        connection.sendall(b"GET /v2/health/live HTTP/1.0\r\nHost: localhost\r\n\r\n")
        assert read_answer(connection)[0] == 200
        assert connection.recv(10) == b""


def test_over_a_unix_socket_with_its_rights(shared_pool: tuple[Path, Pool]) -> None:
    path = shared_pool[0] / "gateway.sock"
    with a_gateway(shared_pool[0], socket=str(path), socket_mode="0600") as running:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        client = http.client.HTTPConnection("device")  # any Host will do: file rights say who may ask
        client.sock = socket.socket(socket.AF_UNIX)
        client.sock.connect(str(path))
        body, header_bytes = a_binary_request(4)
        client.request("POST", INFER, body, {"Inference-Header-Content-Length": str(header_bytes)})
        assert json.loads(client.getresponse().read())["parameters"]["label"] == "4"
        client.close()
        assert running.process.stdin is not None
        running.process.stdin.close()
        assert running.process.wait(10) == 0
        assert not path.exists()


def test_more_requests_than_are_taken_get_503_and_are_counted(pool: Pool, run_dir: Path) -> None:
    serve(pool)
    handle = pool.active("digits")
    assert handle is not None
    with a_gateway(run_dir, max_concurrent=3, deadline_s=1.0) as running:
        assert running.ask("POST", INFER, a_request())[0] == 200
        os.kill(handle.pid, signal.SIGSTOP)
        with concurrent.futures.ThreadPoolExecutor(8) as threads:
            answers = list(threads.map(lambda _: running.ask("POST", INFER, a_request()), range(8)))
        os.kill(handle.pid, signal.SIGCONT)
        assert Counter(status for status, _ in answers) == {504: 3, 503: 5}
        wait_until(lambda: running.ask("POST", INFER, a_request())[0] == 200, "the next answer")
        status, found = running.ask("GET", "/v2/models/digits/stats")
        assert (status, found["model_stats"][0]["refused"]) == (200, 5)


def test_the_senders_own_deadline_is_kept(pool: Pool, run_dir: Path) -> None:
    serve(pool)
    handle = pool.active("digits")
    assert handle is not None
    with a_gateway(run_dir) as running:
        os.kill(handle.pid, signal.SIGSTOP)
        status, answer = running.ask("POST", INFER, a_request() | {"parameters": {"timeout": 100_000}})
        assert (status, "in time" in answer["error"]) == (504, True)
        assert running.ask("GET", "/v2/health/ready") == (503, {"live": True, "ready": False})
        assert running.ask("GET", "/v2/health/live") == (200, {"live": True})
        os.kill(handle.pid, signal.SIGCONT)
        assert running.ask("GET", "/v2/models/digits/ready")[0] == 200


def test_without_an_agent_it_answers_that_none_runs(run_dir: Path) -> None:
    with a_gateway(run_dir, deadline_s=0.2) as running:
        status, answer = running.ask("POST", INFER, a_request())
        assert (status, "no litefleet agent runs" in answer["error"]) == (503, True)
        assert running.ask("GET", "/v2/health/ready")[0] == 503


def test_no_request_fails_while_versions_change(pool: Pool, run_dir: Path) -> None:
    serve(pool)
    with a_gateway(run_dir) as running:
        client = http.client.HTTPConnection("127.0.0.1", running.port, timeout=20)
        seen: Counter[tuple[int, str]] = Counter()

        def ask() -> None:
            client.request("POST", INFER, json.dumps(a_request()))
            response = client.getresponse()
            answer = json.loads(response.read())
            seen[response.status, answer.get("model_version", answer)] += 1

        for version in ("1.1.0", "1.0.0"):
            with concurrent.futures.ThreadPoolExecutor(1) as threads:
                switch = threads.submit(serve, pool, version)
                while not switch.done():
                    ask()
            status, found = running.ask("GET", "/v2/models/digits")
            assert (status, found["versions"]) == (200, [version])
            assert running.ask("POST", f"/v2/models/digits/versions/{version}/infer", a_request())[0] == 200
        client.close()
        assert {status for status, _ in seen} == {200}
        assert {version for _, version in seen} == {"1.0.0", "1.1.0"}


def test_an_orderly_end_answers_what_is_in_work(pool: Pool, run_dir: Path) -> None:
    serve(pool)
    handle = pool.active("digits")
    assert handle is not None
    with a_gateway(run_dir) as running, running.connect() as idle, running.connect() as busy:
        running.ask("POST", INFER, a_request())
        os.kill(handle.pid, signal.SIGSTOP)
        body = json.dumps(a_request()).encode()
        busy.sendall(
            f"POST {INFER} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
        )
        # All of it lies there before these are asked, and the gateway has one thread: it was taken before the second.
        assert running.ask("GET", "/v2/health/live")[0] == 200
        assert running.ask("GET", "/v2/health/live")[0] == 200
        running.process.terminate()
        assert idle.recv(10) == b""
        os.kill(handle.pid, signal.SIGCONT)
        assert read_answer(busy)[0] == 200
        assert running.process.wait(10) == 0
    assert is_running(handle.pid)


def test_a_port_that_is_taken_is_told(gateway: RunningGateway, shared_pool: tuple[Path, Pool]) -> None:
    with (
        pytest.raises(AssertionError, match=r"cannot listen at 127\.0\.0\.1 port"),
        a_gateway(shared_pool[0], port=gateway.port),
    ):
        pass


def test_several_models_inputs_and_outputs(pool: Pool, run_dir: Path, tmp_path: Path) -> None:
    serve(pool)
    pool.activate(
        pool.start_candidate(WorkerSpec("pair", "1.0.0", a_pair_slot(tmp_path / "slot"), 1), START_S)
    )
    inputs = [
        {"name": "b", "shape": [3], "datatype": "FP32", "parameters": {"binary_data_size": 12}},
        {"name": "a", "shape": [2], "datatype": "FP32", "data": [8, 9]},
    ]
    wanted = [{"name": "b-out"}, {"name": "a-out"}]
    header = json.dumps({"inputs": inputs, "outputs": wanted}).encode()
    with a_gateway(run_dir) as running:
        status, found = running.ask("GET", "/v2/models/pair")
        assert (status, [each["name"] for each in found["inputs"]]) == (200, ["a", "b"])

        content = header + struct.pack("<3f", 1, 2, 3)
        _, found = running.ask(
            "POST", "/v2/models/pair/infer", content, Inference_Header_Content_Length=str(len(header))
        )

        assert [(each["name"], each["shape"], each["data"]) for each in found["outputs"]] == [
            ("b-out", [3, 1], [1.0, 2.0, 3.0]),
            ("a-out", [2, 1], [8.0, 9.0]),
        ]
        assert running.ask("POST", INFER, a_request(2))[1]["parameters"]["label"] == "2"
        assert [each["name"] for each in running.ask("GET", "/v2/models/stats")[1]["model_stats"]] == [
            "digits",
            "pair",
        ]
