"""MobileNetV2 224 int8 through the SDK against a script that holds the same model: time of a request, and of a start.

Both sides in alternating blocks of 50, one thread each; a figure is the median over the ratios of neighbouring blocks'
medians. Where a goal decides, both infer on the same processor. ``tests/support/mobilenet.py`` says what the model is.
"""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from contract.tensor import DType, Layout, TensorSpec
from edge_agent import connect
from edge_agent.inference.pool import Pool, WorkerHandle
from edge_agent.inference.runtime import find_runtime
from tests.benchmarks.harness import (
    Row,
    at_most,
    block_medians,
    block_medians_on_one_processor,
    median_ratio,
    versions_of,
)
from tests.support.inference_slots import (
    ROOT,
    START_S,
    VARIANT,
    a_pool,
    a_slot,
    model_path_in,
    npz_of,
    serve,
    short_folder,
)
from tests.support.mobilenet import CLASSES, SIDE, mobilenet

BLOCKS = 36
BLOCK_REQUESTS = 50
STARTS = 5
_SHAPE = (1, SIDE, SIDE, 3)

_BARE_START = """
import sys, time
import numpy as np
from ai_edge_litert.interpreter import Interpreter
interpreter = Interpreter(sys.argv[1], num_threads=1)
interpreter.allocate_tensors()
source, sink = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
interpreter.set_tensor(source, np.zeros((1, 224, 224, 3), np.int8))
interpreter.invoke()
interpreter.get_tensor(sink)
print("answered", flush=True)
"""


def rows() -> list[Row]:
    """Measure everything."""
    with short_folder() as run_dir, tempfile.TemporaryDirectory() as folder, a_pool(run_dir) as (pool, _):
        ready = mobilenet_slot(Path(folder) / "ready", DType.INT8)
        real = mobilenet_slot(Path(folder) / "real", DType.FLOAT32)
        bare, stored = _bare(model_path_in(ready))
        found = _latencies(pool, run_dir, ready, bare, stored, 1.05)
        pixels = ((stored.astype(np.float32)) / 127.5).astype(np.float32)
        found += _latencies(pool, run_dir, real, bare, pixels, None)
        found.append(_start(pool, run_dir, ready, stored))
        found.append(_first_start(ready, stored))
    return found


def mobilenet_slot(folder: Path, dtype: DType, model: str = "digits") -> Path:
    """A slot whose model is asked with tensors of a type."""
    arrays = {
        "input.t0": np.zeros((1, *_SHAPE[1:]), np.dtype(dtype.value)),
        f"expected.{VARIANT}.out": np.zeros((1, CLASSES), np.float32),
    }
    content = mobilenet()
    inputs = (TensorSpec(name="t0", shape=_SHAPE, dtype=dtype, layout=Layout.NHWC),)
    outputs = (
        TensorSpec(name=_output_name(content), shape=(1, CLASSES), dtype=DType.FLOAT32, layout=Layout.NC),
    )
    return a_slot(
        folder,
        content=content,
        model=model,
        golden=npz_of(arrays),
        inputs=inputs,
        outputs=outputs,
        preprocessing=None,
        labels=(),
    )


def _output_name(content: bytes) -> str:
    interpreter: Any = find_runtime().module.Interpreter(model_content=content)
    return str(interpreter.get_output_details()[0]["name"])


def _bare(path: Path) -> tuple[Callable[[], object], npt.NDArray[np.int8]]:
    interpreter: Any = find_runtime().module.Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()
    source, sink = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    stored = np.random.default_rng(3).integers(-128, 128, _SHAPE).astype(np.int8)

    def infer() -> object:
        interpreter.set_tensor(source, stored)
        interpreter.invoke()
        return interpreter.get_tensor(sink)

    return infer, stored


def _latencies(
    pool: Pool,
    run_dir: Path,
    slot: Path,
    bare: Callable[[], object],
    tensor: npt.NDArray[Any],
    most: float | None,
) -> list[Row]:
    """On the same processor, with the goal; and on those that the system chooses."""
    handle = serve(pool, slot=slot)
    with connect(run_dir).model("digits", deadline_s=START_S) as model:

        def ask() -> object:
            return model.infer(tensor)

        held = block_medians_on_one_processor(ask, bare, handle.pid, blocks=BLOCKS, requests=BLOCK_REQUESTS)
        free = block_medians(ask, bare, blocks=BLOCKS, requests=BLOCK_REQUESTS)
    what = f"MobileNetV2 int8 through the SDK over bare, p50, {tensor.dtype} tensor"
    return [
        Row(
            name=what + where,
            value=median_ratio(asked, ran),
            unit="ratio",
            samples=BLOCKS * BLOCK_REQUESTS,
            goal=goal,
            versions=versions_of("ai-edge-litert", "numpy"),
        )
        for where, (asked, ran), goal in (
            ("", held, None if most is None else at_most(most)),
            (", processors as they come", free, None),
        )
    ]


def _first_start(slot: Path, stored: npt.NDArray[np.int8]) -> Row:
    """The same for the first worker of an agent: nothing is imported yet."""
    with contextlib.ExitStack() as stack:

        def start() -> Callable[[], object]:
            run_dir = stack.enter_context(short_folder())
            pool = Pool(run_dir, print)
            stack.callback(pool.close)
            _ask_a_fresh_worker(pool, run_dir, slot, stored)
            return pool.close

        return _starts_row("start of an agent's first worker to first answer over bare", slot, start)


def _start(pool: Pool, run_dir: Path, slot: Path, stored: npt.NDArray[np.int8]) -> Row:
    """From the order to start to the first answer, against a script from its start to its first answer."""

    def start() -> Callable[[], object]:
        handle = _ask_a_fresh_worker(pool, run_dir, slot, stored)
        return lambda: pool.discard(handle)

    return _starts_row("start to first answer over bare", slot, start)


def _ask_a_fresh_worker(pool: Pool, run_dir: Path, slot: Path, stored: npt.NDArray[np.int8]) -> WorkerHandle:
    handle = serve(pool, slot=slot)
    with connect(run_dir).model("digits", deadline_s=START_S) as model:
        model.infer(stored)
    return handle


def _starts_row(what: str, slot: Path, start: Callable[[], Callable[[], object]]) -> Row:
    """Time a start beside the script's; what it returns ends what was started, so that the next one starts alone."""
    command = [sys.executable, "-c", _BARE_START, str(model_path_in(slot))]
    ratios: list[float] = []
    for _ in range(STARTS):
        began = time.perf_counter()
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
        bare_s = time.perf_counter() - began
        began = time.perf_counter()
        leave = start()
        ratios.append((time.perf_counter() - began) / bare_s)
        leave()
    return Row(
        name=f"MobileNetV2 int8, {what}",
        value=statistics.median(ratios),
        unit="ratio",
        samples=STARTS,
        goal=at_most(1.5),
        versions=versions_of("ai-edge-litert", "numpy"),
    )
