"""The agent runs the gateway when it is told to, again when it dies, and ends it; the main process stays as it is."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
from pathlib import Path
from typing import Any

import numpy as np

from tests.support.agent_bench import Bench, wait_until
from tests.support.agent_releases import GOOD
from tests.support.inference_slots import images_of, tensor_of


def ask(path: Path, method: str, target: str, content: object = None) -> tuple[int, Any]:
    """Status and JSON of an answer over a Unix socket; (0, None) while nobody listens."""
    with contextlib.closing(http.client.HTTPConnection("device", timeout=20)) as client:
        client.sock = socket.socket(socket.AF_UNIX)
        try:
            client.sock.connect(str(path))
            client.request(method, target, None if content is None else json.dumps(content))
            response = client.getresponse()
            return response.status, json.loads(response.read())
        except (FileNotFoundError, ConnectionError):
            return 0, None


def test_models_are_asked_over_http_from_the_first_deployment_on(device: Bench) -> None:
    device.config.write_text(
        device.config.read_text() + '[gateway]\nenabled = true\nsocket = "gateway.sock"\n'
    )
    path = device.folder / "gateway.sock"
    tensor = tensor_of(images_of(7)[0])
    request = {
        "inputs": [{"name": "image", "shape": tensor.shape, "datatype": "FP32", "data": tensor.tolist()}]
    }
    agent = device.agent.start()
    agent.wait_ready()
    wait_until(lambda: ask(path, "GET", "/v2/health/live")[0] == 200, "the gateway", 30)
    assert ask(path, "POST", "/v2/models/digits/infer", request)[0] == 404

    device.server.deploy(GOOD, "d1")
    wait_until(lambda: ask(path, "GET", "/v2/models/digits/ready")[0] == 200, "the model", 30)
    status, answer = ask(path, "POST", "/v2/models/digits/infer", request)
    assert (status, answer["model_version"]) == (200, GOOD)
    assert int(np.argmax(answer["outputs"][0]["data"])) == 7
    wait_until(
        lambda: any(w.requests for w in device.server.windows.copy().values()), "the request in telemetry"
    )

    (first,) = device.gateways()
    workers = device.workers()
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: ask(path, "POST", "/v2/models/digits/infer", request)[0] == 200, "another gateway", 30)
    assert device.gateways() != [first]
    assert device.workers() == workers

    assert device.agent.terminate() == 0
    assert device.gateways() == []
    assert not path.exists()
