"""What asking through the agent costs over a script that runs the interpreter itself, and what a switch costs.

Both sides run the same int8 digits model of ``tests/data/slots``, one thread, in turns in the same run.
"""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from contract.errors import LitefleetError
from edge_agent import connect
from edge_agent.inference.client import Model
from edge_agent.inference.pool import Pool
from edge_agent.inference.runtime import find_runtime
from tests.benchmarks.harness import Goal, Row, at_most, block_medians, median_difference, versions_of
from tests.support.inference_slots import (
    ROOT,
    START_S,
    a_pool,
    children,
    images_of,
    model_path_in,
    serve,
    short_folder,
    slot_of,
    spec_of,
    tensor_of,
)
from tests.support.process_memory import Memory, memory_of

BLOCKS = 60
BLOCK_REQUESTS = 50
PACED_REQUESTS = 200
PACED_PAUSE_S = 0.01
MEMORY_RUNS = 3
SWITCHES = 8
KILLS = 5

_BARE_SCRIPT = """
import sys
import numpy as np
from ai_edge_litert.interpreter import Interpreter
interpreter = Interpreter(sys.argv[1], num_threads=1)
interpreter.allocate_tensors()
source, sink = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
for _ in range(200):
    interpreter.set_tensor(source, np.zeros((1, 8, 8, 1), np.int8))
    interpreter.invoke()
    interpreter.get_tensor(sink)
print("ready", flush=True)
sys.stdin.read()
"""


def rows() -> list[Row]:
    """Measure everything."""
    with short_folder() as run_dir, a_pool(run_dir) as (pool, _):
        serve(pool)
        with connect(run_dir).model("digits", deadline_s=START_S) as model:
            return [
                *_latency_rows(model),
                *_memory_rows(pool, model),
                *_switch_rows(pool, model),
                _recovery_row(pool, model),
            ]


def _versions() -> dict[str, str]:
    return versions_of("ai-edge-litert", "numpy")


def _bare() -> Callable[[], object]:
    """One inference as a script does it: the input is quantized already, the output is left as it is."""
    interpreter: Any = find_runtime().module.Interpreter(str(model_path_in(slot_of("1.0.0"))), num_threads=1)
    interpreter.allocate_tensors()
    source, sink = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    stored = np.zeros((1, 8, 8, 1), np.int8)

    def infer() -> object:
        interpreter.set_tensor(source, stored)
        interpreter.invoke()
        return interpreter.get_tensor(sink)

    return infer


def _times_s(infer: Callable[[], object], count: int) -> list[float]:
    times: list[float] = []
    for _ in range(count):
        began = time.perf_counter()
        infer()
        times.append(time.perf_counter() - began)
    return times


def _latency_rows(model: Model) -> list[Row]:
    tensor = tensor_of(images_of(3)[0])
    bare = _bare()

    def ask() -> object:
        return model.infer(tensor)

    return [
        _latency_row("SDK round trip over a bare script, p50", ask, bare, BLOCKS, BLOCK_REQUESTS, 0.0, 120.0),
        _latency_row(
            "the same at 100 requests a second, p50", ask, bare, 4, PACED_REQUESTS // 4, PACED_PAUSE_S, None
        ),
    ]


def _latency_row(
    name: str,
    ask: Callable[[], object],
    bare: Callable[[], object],
    blocks: int,
    requests: int,
    pause_s: float,
    goal_us: float | None,
) -> Row:
    asked, ran = block_medians(ask, bare, blocks=blocks, requests=requests, pause_s=pause_s)
    return Row(
        name=name,
        value=median_difference(asked, ran) * 1e6,
        unit="us",
        samples=blocks * requests,
        goal=None if goal_us is None else at_most(goal_us),
        baseline=statistics.median(ran) * 1e6,
        versions=_versions(),
    )


def _memory_rows(pool: Pool, model: Model) -> list[Row]:
    """A worker that has served 200 requests beside a script that has run 200.

    Both are there at the same moment, so what both map is shared by as many for the one as for the other. What the
    worker alone maps counts in full in the second row, whoever shares it.
    """
    found: list[tuple[Memory, Memory]] = []
    both: list[float] = []
    for _ in range(MEMORY_RUNS):
        handle = serve(pool)
        _times_s(lambda: model.infer(images_of(3)[0]), 200)
        command = [sys.executable, "-c", _BARE_SCRIPT, str(model_path_in(slot_of("1.0.0")))]
        with subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as script:
            assert script.stdout is not None
            script.stdout.readline()
            found.append((memory_of(handle.pid), memory_of(script.pid)))
            ours = sum(memory_of(pid).pss for pid in children() if pid != script.pid)
            both.append((ours - found[-1][1].pss) / 1024)
            script.communicate()
    kinds: list[tuple[str, Goal | None, Callable[[Memory], int]]] = [
        ("PSS", at_most(6.0), lambda memory: memory.pss),
        ("RSS, as if nobody else shared anything", None, lambda memory: memory.rss),
        ("written by itself", None, lambda memory: memory.written),
    ]
    together = Row(
        name="memory of a worker and the fork server over a bare script (PSS)",
        value=statistics.median(both),
        unit="MiB",
        samples=MEMORY_RUNS,
        versions=_versions(),
    )
    return [
        together,
        *_memory_of_worker_rows(found, kinds),
    ]


def _memory_of_worker_rows(
    found: list[tuple[Memory, Memory]], kinds: list[tuple[str, Goal | None, Callable[[Memory], int]]]
) -> list[Row]:
    return [
        Row(
            name=f"memory of a worker over a bare script ({kind})",
            value=statistics.median(of(worker) - of(bare) for worker, bare in found) / 1024,
            unit="MiB",
            samples=MEMORY_RUNS,
            goal=goal,
            baseline=statistics.median(of(bare) for _, bare in found) / 1024,
            versions=_versions(),
        )
        for kind, goal, of in kinds
    ]


def _switch_rows(pool: Pool, model: Model) -> list[Row]:
    """Requests in close succession while versions change, against the same in peace."""
    tensor = tensor_of(images_of(3)[0])
    steady = _times_s(lambda: model.infer(tensor), 10_000)
    enough = threading.Event()
    during: list[float] = []
    failed: list[str] = []

    def ask() -> None:
        while not enough.is_set():
            began = time.perf_counter()
            try:
                model.infer(tensor)
            except LitefleetError as error:
                failed.append(error.summary())
            during.append(time.perf_counter() - began)

    asking = threading.Thread(target=ask)
    asking.start()
    for number in range(SWITCHES):
        pool.activate(pool.start_candidate(spec_of(("1.1.0", "1.0.0")[number % 2]), START_S))
    enough.set()
    asking.join()
    return [
        Row(
            name="requests failed over switches",
            value=len(failed),
            unit="requests",
            samples=len(during),
            goal=at_most(0),
            versions=_versions(),
        ),
        Row(
            name="longest request over switches",
            value=max(during) * 1e3,
            unit="ms",
            samples=len(during),
            baseline=max(steady) * 1e3,
            versions=_versions(),
        ),
    ]


def _recovery_row(pool: Pool, model: Model) -> Row:
    """From the death of the active worker to the next answer, for an application that just goes on asking."""
    image = images_of(3)[0]
    times: list[float] = []
    for _ in range(KILLS):
        serve(pool)  # a fresh worker: its first restart comes without a pause
        model.infer(image)
        model.infer(image)
        handle = pool.active("digits")
        assert handle is not None
        os.kill(handle.pid, signal.SIGKILL)
        times += _times_s(lambda: model.infer(image), 1)
    return Row(
        name="from a worker's death to the next answer",
        value=statistics.median(times) * 1e3,
        unit="ms",
        samples=KILLS,
        versions=_versions(),
    )
