"""A model that takes milliseconds: the application sleeps, and wakes up shortly before the answer comes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from contract.tensor import DType, Layout, TensorSpec
from edge_agent import connect, connect_async
from edge_agent.inference.runtime import find_runtime
from tests.support.inference_slots import START_S, a_pool, a_slot, model_path_in, serve, short_folder
from tests.support.mobilenet import CLASSES, SIDE, mobilenet

INPUTS = [
    np.random.default_rng(seed).integers(-128, 128, (1, SIDE, SIDE, 3)).astype(np.int8) for seed in (1, 2, 3)
]


@pytest.fixture(scope="module")
def slot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    content = mobilenet()
    interpreter: Any = find_runtime().module.Interpreter(model_content=content)
    name = str(interpreter.get_output_details()[0]["name"])
    return a_slot(
        tmp_path_factory.mktemp("mobilenet"),
        content=content,
        inputs=(TensorSpec(name="t0", shape=(1, SIDE, SIDE, 3), dtype=DType.INT8, layout=Layout.NHWC),),
        outputs=(TensorSpec(name=name, shape=(1, CLASSES), dtype=DType.FLOAT32, layout=Layout.NC),),
        preprocessing=None,
        labels=(),
    )


@pytest.fixture
def run_dir(slot: Path) -> Iterator[Path]:
    with short_folder() as folder, a_pool(folder) as (pool, _):
        serve(pool, slot=slot)
        yield folder


def answers_of_a_script(slot: Path) -> list[npt.NDArray[np.float32]]:
    interpreter: Any = find_runtime().module.Interpreter(str(model_path_in(slot)))
    interpreter.allocate_tensors()
    source, sink = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    found = []
    for tensor in INPUTS:
        interpreter.set_tensor(source["index"], tensor)
        interpreter.invoke()
        stored = interpreter.get_tensor(sink["index"]).astype(np.float32)
        scale, zero_point = sink["quantization"]
        found.append((stored - np.float32(zero_point)) * np.float32(scale))
    return found


def check_answers(run_dir: Path, slot: Path) -> None:
    expected = answers_of_a_script(slot)
    assert not np.array_equal(expected[0], expected[1])
    with connect(run_dir).model("digits", deadline_s=START_S) as model:
        for number in range(12):
            answer = model.infer(INPUTS[number % 3])
            (output,) = answer.outputs.values()
            assert np.array_equal(output, expected[number % 3])
            assert answer.index == int(expected[number % 3].argmax())


def test_each_request_gets_its_own_answer(run_dir: Path, slot: Path) -> None:
    check_answers(run_dir, slot)


def test_each_request_gets_its_own_answer_from_an_event_loop(run_dir: Path, slot: Path) -> None:
    expected = answers_of_a_script(slot)

    async def ask() -> None:
        async with connect_async(run_dir) as fleet:
            model = fleet.model("digits", deadline_s=START_S)
            for number in range(12):
                answer = await model.infer(INPUTS[number % 3])
                (output,) = answer.outputs.values()
                assert np.array_equal(output, expected[number % 3])
            together = await asyncio.gather(*(model.infer(tensor) for tensor in INPUTS))
            assert [answer.index for answer in together] == [int(each.argmax()) for each in expected]

    asyncio.run(ask())


def test_an_application_with_many_open_files_is_answered_too(run_dir: Path, slot: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 2048:
        pytest.skip("this user may not open 2,048 files")
    with contextlib.ExitStack() as files:
        files.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        resource.setrlimit(resource.RLIMIT_NOFILE, (2048, hard))
        while True:
            descriptor = os.open(os.devnull, os.O_RDONLY)
            files.callback(os.close, descriptor)
            if descriptor > 1024:
                break
        check_answers(run_dir, slot)
