"""How much of a bare interpreter loop's speed the evaluation keeps, in the same run, in turns."""

from __future__ import annotations

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from contract.profile import DelegateName
from packager.evaluate import evaluate
from packager.quiet import native_output_hidden
from packager.runtime.interpreter import LoadedModel
from tests.benchmarks.harness import Row, at_least, median_ratio, time_alternating, versions_of
from tests.support.packager_builders import digits_task
from tests.support.packager_models import digits_model

BLOCKS = 30


def rows() -> list[Row]:
    """Evaluate the float digits model over its 500 images, ours and bare."""
    task = digits_task()
    model = LoadedModel(digits_model(), DelegateName.XNNPACK)
    inputs = task.inputs(range(len(task)))
    with native_output_hidden():
        bare = Interpreter(model_content=digits_model(), num_threads=1)
        bare.allocate_tensors()
    source, sink = bare.get_input_details()[0]["index"], bare.get_output_details()[0]["index"]

    def run_bare() -> int:
        right = 0
        for position in range(len(inputs)):
            bare.set_tensor(source, inputs[position : position + 1])
            bare.invoke()
            right += int(np.argmax(bare.get_tensor(sink)) == task.samples.classes[position])
        return right

    def run_ours() -> int:
        return int(evaluate(model, task, lambda _: None).scores.sum())

    assert run_bare() == run_ours()
    bare_s, ours_s = time_alternating(run_bare, run_ours, blocks=BLOCKS)
    count = len(inputs)
    return [
        Row(
            "evaluation throughput / bare interpreter loop",
            median_ratio(bare_s, ours_s),
            "ratio",
            BLOCKS,
            at_least(0.9),
            1.0,
            versions_of("ai-edge-litert", "numpy"),
        ),
        Row("evaluation throughput", count / min(ours_s), "images/s", BLOCKS, baseline=count / min(bare_s)),
    ]
