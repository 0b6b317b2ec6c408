"""How much of the speed of a bare interpreter loop the evaluation keeps, in the same run, in turns.

Two loops are bare: one interpreter, and one interpreter per core, each in a thread with its share of the samples. Both
only set, invoke and take the best class, of inputs that are ready; the evaluation also prepares them, scores and sums.
Here with the digits classifier, whose runs take a twentieth of a millisecond, so that Python weighs most; with a real
net in ``mobilenet.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert.interpreter import Interpreter

from contract.profile import DelegateName
from packager.evaluate import collect
from packager.lanes import lane_count
from packager.quiet import native_output_hidden
from packager.runtime.interpreter import LoadedModel
from packager.tasks.top1 import Top1
from tests.benchmarks.harness import Row, at_least, median_ratio, time_alternating, versions_of
from tests.support.packager_builders import digits_task
from tests.support.packager_models import digits_model

BLOCKS = 15


def rows() -> list[Row]:
    """Evaluate the float digits model over its 500 images, ours and bare."""
    return compare("digits", digits_model(), digits_task(), BLOCKS)


def compare(name: str, content: bytes, task: Top1, blocks: int) -> list[Row]:
    """Evaluate a classifier with one input, ours and bare."""
    lanes = lane_count(len(task))
    models = [LoadedModel(content, DelegateName.XNNPACK) for _ in range(lanes)]
    (inputs,) = task.inputs(range(len(task)))
    classes = task.truth
    bare = [_bare(content) for _ in range(lanes)]
    pool = ThreadPoolExecutor(lanes)

    def run_one() -> int:
        return bare[0](inputs, classes)

    def run_all() -> int:
        shares = np.array_split(np.arange(len(inputs)), lanes)
        return sum(
            pool.map(lambda pair: pair[0](inputs[pair[1]], classes[pair[1]]), zip(bare, shares, strict=True))
        )

    def run_ours() -> int:
        return round(task.measure(collect(models[0], task, lambda _: None, models[1:]).scores) * len(task))

    with pool:
        assert run_one() == run_all() == run_ours()
        made = []
        for what, run in (("one interpreter", run_one), (f"{lanes} interpreters", run_all)):
            bare_s, ours_s = time_alternating(run, run_ours, blocks=blocks)
            made += [
                Row(
                    f"{name}: evaluation throughput / bare loop, {what}",
                    median_ratio(bare_s, ours_s),
                    "ratio",
                    blocks,
                    at_least(0.9),
                    1.0,
                    versions_of("ai-edge-litert", "numpy"),
                ),
                Row(
                    f"{name}: evaluation throughput beside {what}",
                    len(inputs) / min(ours_s),
                    "images/s",
                    blocks,
                    baseline=len(inputs) / min(bare_s),
                ),
            ]
    return made


def _bare(content: bytes) -> Callable[[npt.NDArray[Any], npt.NDArray[np.int64]], int]:
    with native_output_hidden():
        model = Interpreter(model_content=content, num_threads=1)
        model.allocate_tensors()
    source, sink = model.get_input_details()[0]["index"], model.get_output_details()[0]["index"]

    def run(inputs: npt.NDArray[Any], classes: npt.NDArray[np.int64]) -> int:
        right = 0
        for position in range(len(inputs)):
            model.set_tensor(source, inputs[position : position + 1])
            model.invoke()
            right += int(np.argmax(model.get_tensor(sink)) == classes[position])
        return right

    return run
