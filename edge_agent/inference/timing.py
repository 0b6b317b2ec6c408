"""Times a loaded model on its golden inputs, by the same calls that answer applications.

Guarantees: a run is from the inputs in memory to the decoded answer, as ``clients`` times a request; the inputs are
read before the clock starts. Owned by the worker's one thread.
"""

from __future__ import annotations

import itertools
import time

from edge_agent.inference.model import LoadedModel


def time_runs(model: LoadedModel, warm_up_runs: int, timed_runs: int) -> tuple[float, ...]:
    """Seconds of each timed run; the golden samples take turns.

    Raises:
        LitefleetError: The golden inputs cannot be read or do not fit, or a run failed.
    """
    samples = itertools.cycle(model.golden_inputs())
    seconds: list[float] = []
    for _ in range(warm_up_runs + timed_runs):
        inputs = next(samples)
        began = time.perf_counter()
        outputs = model.infer(inputs)
        model.finish(outputs, None)
        model.classify(outputs)
        seconds.append(time.perf_counter() - began)
    return tuple(seconds[warm_up_runs:])
