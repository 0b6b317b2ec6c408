"""What the gateway answers, in the words of the Open Inference Protocol.

PURE. Rules:

1. Outputs are what the SDK gives: real values in float32, decoded where the manifest says how.
2. An error is one JSON object with the text under ``error``: what is wrong, every fault, and what to do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np

from contract.errors import LitefleetError
from contract.tensor import DType
from edge_agent.gateway import tensors
from edge_agent.gateway.routes import RETRY_AFTER_S, HttpError, status_of

if TYPE_CHECKING:
    from edge_agent.gateway.requests import InferRequest
    from edge_agent.inference.asking import Inference
    from edge_agent.inference.protocol import AreaTensor, Result, ScoredClass, Welcome

EXTENSIONS = ("binary_tensor_data", "statistics")
PLATFORM = "tflite"
JSON = "application/json"
BINARY = "application/octet-stream"


@dataclass(frozen=True)
class Response:
    """An HTTP response.

    Attributes:
        status: HTTP status.
        body: Pieces of the body, in order.
        content_type: Of the body.
        headers: Besides length and type.
    """

    status: int
    body: Sequence[bytes]
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)


def json_response(status: int, content: object) -> Response:
    """A JSON document."""
    return Response(status, (msgspec.json.encode(content),))


def error_response(error: LitefleetError) -> Response:
    """What a client is told of an error."""
    status = status_of(error)
    headers = {"Retry-After": str(RETRY_AFTER_S[status])} if status in RETRY_AFTER_S else {}
    return Response(status, (msgspec.json.encode({"error": error.summary()}),), JSON, headers)


def failed_response() -> Response:
    """What a client is told of a fault of ours."""
    return error_response(HttpError(500, "the gateway failed on this request; see the agent's log"))


def server_metadata(version: str) -> dict[str, object]:
    """Who answers, and what it knows besides the protocol."""
    return {"name": "litefleet-gateway", "version": version, "extensions": EXTENSIONS}


def model_metadata(welcome: Welcome) -> dict[str, object]:
    """What the active version of a model takes and gives."""
    return {
        "name": welcome.model,
        "versions": [welcome.version],
        "platform": PLATFORM,
        "inputs": [_tensor(place) for place in welcome.inputs],
        "outputs": [_tensor(place) for place in welcome.outputs],
    }


def _tensor(place: AreaTensor) -> dict[str, object]:
    return {"name": place.name, "datatype": tensors.datatype_of(place.dtype), "shape": place.shape}


def inference_response(model: str, request: InferRequest, inference: Inference) -> Response:
    """The answer to an inference request.

    Raises:
        InferenceError: An output wanted in JSON is not finite.
    """
    header: dict[str, Any] = {"model_name": model, "model_version": inference.version}
    if request.id:
        header["id"] = request.id
    header["parameters"] = _parameters(inference.variant, inference.latency_s, inference.classes)
    header["outputs"] = outputs = []
    wanted = request.wanted
    if wanted is None:
        wanted = dict.fromkeys(inference.outputs, request.is_binary)
    pieces: list[bytes] = []
    for name, is_binary in wanted.items():
        array = inference.outputs[name]
        output: dict[str, Any] = {"name": name, "datatype": _FLOATS, "shape": array.shape}
        if is_binary:
            pieces.append(array.astype("<f4", copy=False).tobytes())
            output["parameters"] = {"binary_data_size": len(pieces[-1])}
        else:
            output["data"] = tensors.to_json(np.asarray(array), f"output {name!r}")
        outputs.append(output)
    text = msgspec.json.encode(header)
    if not pieces:
        return Response(200, (text,))
    return Response(200, (text, *pieces), BINARY, {"Inference-Header-Content-Length": str(len(text))})


def _parameters(variant: str, latency_s: float, classes: Sequence[ScoredClass]) -> dict[str, object]:
    parameters: dict[str, object] = {"variant": variant, "latency_ms": round(latency_s * 1e3, 3)}
    if classes:
        best = classes[0]
        parameters |= {"index": best.index, "score": best.score, "label": best.label}
    return parameters


class Form(NamedTuple):
    """An answer with all outputs in binary, but for what each answer has of its own.

    Attributes:
        variant: That answers.
        outputs: Names, in the order in which they are answered.
        begin: JSON before the parameters.
        end: JSON after them.
    """

    variant: str
    outputs: tuple[str, ...]
    begin: bytes
    end: bytes


def form_of(model: str, welcome: Welcome, outputs: Sequence[str]) -> Form:
    """The form of a worker's answers to requests for some of its outputs."""
    begin = msgspec.json.encode({"model_name": model, "model_version": welcome.version})
    places = {place.name: place for place in welcome.outputs}
    told = [
        {
            "name": name,
            "datatype": _FLOATS,
            "shape": places[name].shape,
            "parameters": {"binary_data_size": places[name].size_bytes()},
        }
        for name in outputs
    ]
    end = b',"outputs":' + msgspec.json.encode(told) + b"}"
    return Form(welcome.variant, tuple(outputs), begin[:-1] + b',"parameters":', end)


def fill_in(form: Form, answer: Result, pieces: Sequence[bytes]) -> Response:
    """What ``inference_response`` gives, in a third of the time.

    Args:
        form: Of the worker that answered.
        answer: Its answer.
        pieces: Bytes of the form's outputs.
    """
    parameters = msgspec.json.encode(_parameters(form.variant, answer.latency_s, answer.classes))
    text = form.begin + parameters + form.end
    return Response(200, (text, *pieces), BINARY, {"Inference-Header-Content-Length": str(len(text))})


_FLOATS = tensors.datatype_of(DType.FLOAT32)
