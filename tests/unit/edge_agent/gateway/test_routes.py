"""Paths, statuses and answers of the gateway."""

from __future__ import annotations

import json

import numpy as np
import pytest

from contract.errors import (
    AgentUnavailableError,
    ConfigError,
    DeadlineError,
    InferenceError,
    InputError,
    LitefleetError,
    ManifestError,
    NotFoundError,
    OverloadError,
    TooLargeError,
)
from contract.tensor import DType
from edge_agent.gateway import responses
from edge_agent.gateway.requests import InferRequest
from edge_agent.gateway.routes import HttpError, Kind, Route, parse_route, status_of
from edge_agent.gateway.tally import ModelTally
from edge_agent.inference import protocol
from edge_agent.inference.asking import Inference
from edge_agent.inference.protocol import ScoredClass, Welcome


@pytest.mark.parametrize(
    ("method", "target", "route"),
    [
        ("GET", "/v2", Route(Kind.SERVER)),
        ("GET", "/v2/", Route(Kind.SERVER)),
        ("GET", "/v2/health/live", Route(Kind.LIVE)),
        ("GET", "/v2/health/ready?x=1", Route(Kind.READY)),
        ("GET", "/v2/models/stats", Route(Kind.STATISTICS)),
        ("GET", "/v2/models/digits", Route(Kind.MODEL, "digits")),
        ("GET", "/v2/models/digits/ready", Route(Kind.MODEL_READY, "digits")),
        ("GET", "/v2/models/digits/stats", Route(Kind.MODEL_STATISTICS, "digits")),
        ("GET", "/v2/models/digits/versions/1.0.0", Route(Kind.MODEL, "digits", "1.0.0")),
        ("GET", "/v2/models/digits/versions/1.0.0/ready", Route(Kind.MODEL_READY, "digits", "1.0.0")),
        ("POST", "/v2/models/digits/infer", Route(Kind.INFER, "digits")),
        ("POST", "/v2/models/digits/versions/1.0.0/infer", Route(Kind.INFER, "digits", "1.0.0")),
    ],
)
def test_every_path_of_the_protocol_is_known(method: str, target: str, route: Route) -> None:
    assert parse_route(method, target) == route


@pytest.mark.parametrize(
    "target",
    ["/", "/v1/models/digits", "/v2/models", "/v2/models//infer", "/v2/models/digits/versions", "/v2/models/d/x",
     "/v2/models/digits/versions//infer", "/config", "*", "http://x/v2", "/v2/models/a/b/c/d/e/f"],
)  # fmt: skip
def test_what_is_not_there_is_not_found(target: str) -> None:
    with pytest.raises(NotFoundError):
        parse_route("GET", target)


@pytest.mark.parametrize(
    "target",
    [
        "/v2/systemsharedmemory/status",
        "/v2/systemsharedmemory/region/r/register",
        "/v2/cudasharedmemory/region/r/unregister",
        "/v2/repository/index",
        "/v2/models/digits/config",
        "/v2/models/digits/versions/1.0.0/config",
        "/v2/trace/setting",
        "/v2/logging",
        "/v2/models/digits/generate",
    ],
)
def test_extensions_that_are_not_supported_say_so(target: str) -> None:
    with pytest.raises(HttpError) as caught:
        parse_route("POST", target)
    assert status_of(caught.value) == 501


@pytest.mark.parametrize(
    ("method", "target"), [("GET", "/v2/models/d/infer"), ("POST", "/v2"), ("HEAD", "/v2")]
)
def test_another_method_is_told_which_one_is_taken(method: str, target: str) -> None:
    with pytest.raises(HttpError, match="this path takes") as caught:
        parse_route(method, target)
    assert status_of(caught.value) == 405


@pytest.mark.parametrize(
    ("error", "status", "headers"),
    [
        (NotFoundError("x"), 404, {}),
        (ManifestError("no such name"), 404, {}),
        (InputError("x"), 400, {}),
        (TooLargeError("x"), 413, {}),
        (OverloadError("x"), 503, {"Retry-After": "1"}),
        (AgentUnavailableError("x"), 503, {"Retry-After": "1"}),
        (DeadlineError("x"), 504, {}),
        (InferenceError("x"), 500, {}),
        (ConfigError("x"), 500, {}),
        (HttpError(421, "x"), 421, {}),
    ],
)
def test_errors_have_their_status_and_one_text(
    error: LitefleetError, status: int, headers: dict[str, str]
) -> None:
    response = responses.error_response(error)

    assert (response.status, response.headers, response.content_type) == (status, headers, "application/json")
    assert json.loads(b"".join(response.body)) == {"error": str(error)}


def an_inference(*classes: ScoredClass) -> Inference:
    outputs = {"y": np.array([[1, 2]], np.float32), "z": np.array([0.5], np.float32)}
    return Inference(outputs, classes, "1.0.0", "int8", 0.002)


def asked(wanted: dict[str, bool] | None = None, *, is_binary: bool = False, name: str = "") -> InferRequest:
    return InferRequest(id=name, timeout_s=None, inputs=(), wanted=wanted, is_binary=is_binary)


def test_all_outputs_come_in_json_when_nothing_else_is_wanted() -> None:
    response = responses.inference_response("digits", asked(), an_inference())

    assert (response.status, response.content_type, response.headers) == (200, "application/json", {})
    assert json.loads(response.body[0]) == {
        "model_name": "digits",
        "model_version": "1.0.0",
        "parameters": {"variant": "int8", "latency_ms": 2.0},
        "outputs": [
            {"name": "y", "datatype": "FP32", "shape": [1, 2], "data": [1.0, 2.0]},
            {"name": "z", "datatype": "FP32", "shape": [1], "data": [0.5]},
        ],
    }


def test_outputs_come_in_the_wanted_order_and_form_with_the_id() -> None:
    best = ScoredClass(4, 0.5, "four")
    response = responses.inference_response(
        "digits", asked({"z": True, "y": False}, name="7"), an_inference(best)
    )

    header = json.loads(response.body[0])
    assert response.headers == {"Inference-Header-Content-Length": str(len(response.body[0]))}
    assert response.content_type == "application/octet-stream"
    assert response.body[1:] == (np.array([0.5], "<f4").tobytes(),)
    assert header["id"] == "7"
    assert header["parameters"] == {
        "variant": "int8",
        "latency_ms": 2.0,
        "index": 4,
        "score": 0.5,
        "label": "four",
    }
    assert header["outputs"] == [
        {"name": "z", "datatype": "FP32", "shape": [1], "parameters": {"binary_data_size": 4}},
        {"name": "y", "datatype": "FP32", "shape": [1, 2], "data": [1.0, 2.0]},
    ]


def test_all_outputs_come_in_binary_when_the_request_says_so() -> None:
    response = responses.inference_response("digits", asked(is_binary=True), an_inference())
    assert [len(piece) for piece in response.body[1:]] == [8, 4]


def test_metadata_says_what_the_active_version_takes_and_gives() -> None:
    inputs, outputs, size = protocol.plan_area([("x", (1, 2), DType.INT8)], [("y", (3,), DType.FLOAT32)])
    welcome = Welcome(
        protocol=1,
        model="m",
        version="1.2.3",
        variant="v",
        inputs=inputs,
        outputs=outputs,
        takes_images=False,
        tensor_bytes=size,
    )
    assert json.loads(responses.json_response(200, responses.model_metadata(welcome)).body[0]) == {
        "name": "m",
        "versions": ["1.2.3"],
        "platform": "tflite",
        "inputs": [{"name": "x", "datatype": "INT8", "shape": [1, 2]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [3]}],
    }
    assert responses.server_metadata("0.1")["extensions"] == ("binary_tensor_data", "statistics")


def test_counts_tell_answers_failures_and_refusals_apart() -> None:
    tally = ModelTally()
    tally.count_answer(0.25, 1000.5)
    tally.count_failure(0.5, is_overload=False)
    tally.count_failure(0.0, is_overload=True)

    assert tally.as_statistics("m", "1.0.0") == {
        "name": "m",
        "version": "1.0.0",
        "last_inference": 1_000_500,
        "inference_count": 1,
        "execution_count": 1,
        "inference_stats": {
            "success": {"count": 1, "ns": 250_000_000},
            "fail": {"count": 2, "ns": 500_000_000},
        },
        "refused": 1,
    }
