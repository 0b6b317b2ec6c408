"""Plans: only where nothing is left to check, and never more of them than there is room for."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from contract.tensor import DType
from edge_agent.gateway.plans import MAX_PLANS, WORDS_MAX_BYTES, Plan, PlanBook, plan_of
from edge_agent.gateway.requests import check_fit, feed_arrays, parse_infer
from edge_agent.gateway.responses import fill_in, inference_response
from edge_agent.inference import protocol
from edge_agent.inference.asking import Inference
from edge_agent.inference.protocol import Result, ScoredClass, Welcome

SIZES = {"BOOL": 4, "UINT8": 4, "FP32": 16}
IN_BINARY = {"parameters": {"binary_data_output": True}}


def a_welcome(*inputs: tuple[str, DType]) -> Welcome:
    planned, outputs, size = protocol.plan_area(
        [(name, (1, 2, 2, 1), dtype) for name, dtype in inputs or (("image", DType.FLOAT32),)],
        [("y", (1, 3), DType.FLOAT32), ("z", (2,), DType.FLOAT32)],
    )
    return Welcome(
        protocol=1,
        model="digits",
        version="1.0.0",
        variant="int8",
        inputs=planned,
        outputs=outputs,
        takes_images=True,
        takes_files=True,
        tensor_bytes=size,
    )


def an_input(name: str = "image", datatype: str = "FP32", **changes: Any) -> dict[str, Any]:
    size = SIZES.get(datatype, 16)
    given = {"name": name, "shape": [1, 2, 2, 1], "datatype": datatype}
    return given | {"parameters": {"binary_data_size": size}} | changes


def plan(welcome: Welcome, *inputs: dict[str, Any], content: int = 16, **more: Any) -> Plan | None:
    """The plan for a request that was found to fit, as every request is before."""
    text = json.dumps({"inputs": inputs} | IN_BINARY | more).encode()
    asked = parse_infer(memoryview(text + bytes(content)), len(text))
    check_fit(asked, welcome)
    feed_arrays(asked, welcome)
    return plan_of(asked, "digits", "w/1.sock", welcome)


def test_tensors_in_binary_have_a_plan_in_the_models_order() -> None:
    welcome = a_welcome(("a", DType.FLOAT32), ("b", DType.UINT8))

    found = plan(welcome, an_input("b", "UINT8"), an_input("a"), content=20)

    assert found is not None
    assert (found.model, found.worker, found.timeout_s) == ("digits", "w/1.sock", None)
    assert (found.places, found.content_bytes) == (((4, 20), (0, 4)), 20)
    assert found.form.outputs == ("y", "z")


@pytest.mark.parametrize(
    "more",
    [
        {"parameters": {}},
        {"outputs": [{"name": "y"}], "parameters": {}},
        {"outputs": [{"name": "y"}, {"name": "z", "parameters": {"binary_data": False}}]},
        {"id": "7"},
    ],
)
def test_outputs_as_text_and_requests_with_an_id_have_none(more: dict[str, Any]) -> None:
    assert plan(a_welcome(), an_input(), **more) is None


def test_what_has_to_be_looked_at_each_time_has_none() -> None:
    as_text = an_input(data=[1, 2, 3, 4], parameters={})
    image = an_input("image", "UINT8", shape=[4, 4], parameters={"binary_data_size": 16})
    file = an_input("image", "BYTES", shape=[1])

    assert plan(a_welcome(), as_text, content=0) is None
    assert plan(a_welcome(("image", DType.BOOL)), an_input("image", "BOOL"), content=4) is None
    assert plan(a_welcome(), image) is None  # of as many bytes as the model's own input
    content = (12).to_bytes(4, "little") + bytes(12)
    text = json.dumps({"inputs": [file]} | IN_BINARY).encode()
    asked = parse_infer(memoryview(text + content), len(text))
    assert isinstance(feed_arrays(asked, a_welcome()), bytes)
    assert plan_of(asked, "digits", "w/1.sock", a_welcome()) is None


def test_what_does_not_fit_has_none() -> None:
    text = json.dumps({"inputs": [an_input("b")]} | IN_BINARY).encode()
    asked = parse_infer(memoryview(text + bytes(16)), len(text))

    assert plan_of(asked, "digits", "w/1.sock", a_welcome()) is None
    two = a_welcome(("a", DType.FLOAT32), ("b", DType.FLOAT32))
    assert plan_of(asked, "digits", "w/1.sock", two) is None


@pytest.mark.parametrize("outputs", [[], ["z"], ["z", "y"]])
@pytest.mark.parametrize("classes", [(), (ScoredClass(3, 0.25, "drei ✓"), ScoredClass(1, 0.125, ""))])
def test_a_planned_answer_is_the_other_one_byte_for_byte(
    outputs: list[str], classes: tuple[ScoredClass, ...]
) -> None:
    wanted = {
        "outputs": [{"name": name} for name in outputs],
        "parameters": {"binary_data_output": True, "timeout": 250_000},
    }
    text = json.dumps({"inputs": [an_input()]} | wanted).encode()
    asked = parse_infer(memoryview(text + bytes(16)), len(text))
    found = plan_of(asked, "digits", "w/1.sock", a_welcome())
    assert found is not None
    assert found.timeout_s == 0.25
    arrays = {"y": np.array([[1, 2, 3]], np.float32), "z": np.array([4, 5], np.float32)}
    inference = Inference(arrays, classes, "1.0.0", "int8", 0.0012345)
    answer = Result(1, is_draining=False, latency_s=0.0012345, classes=classes)

    planned = fill_in(found.form, answer, [arrays[name].tobytes() for name in found.form.outputs])

    other = inference_response("digits", asked, inference)
    assert (planned.status, planned.content_type, planned.headers) == (200, other.content_type, other.headers)
    assert b"".join(planned.body) == b"".join(other.body)


def a_plan(worker: str) -> Plan:
    found = plan(a_welcome(), an_input())
    assert found is not None
    return found._replace(worker=worker)


def test_a_book_keeps_the_last_few_and_finds_only_the_same_words() -> None:
    book = PlanBook()
    for number in range(MAX_PLANS + 2):
        book.keep("/a", b"%d" % number, a_plan(str(number)))
        book.keep("/a", b"1", a_plan("new"))

    assert len(book) == MAX_PLANS
    assert book.find("/a", b"0") is None
    found = book.find("/a", b"1")
    assert found is not None
    assert found.worker == "new"
    assert book.find("/b", b"1") is None
    book.keep("/a", bytes(WORDS_MAX_BYTES), a_plan("long"))
    assert book.find("/a", bytes(WORDS_MAX_BYTES)) is None
