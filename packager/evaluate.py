"""Measures one variant over all evaluation samples.

Guarantees: every variant sees the same inputs in the same order, one at a time. Does not judge: that is
``packager.gate``.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from packager.bootstrap import point_estimate
from packager.tasks.task import Floats, Scores, Task

_BLOCK = 64  # samples prepared at once
LATENCY_RUNS = 50
LATENCY_WARM_UP = 10


class Model(Protocol):
    """What is evaluated; ``packager.runtime.interpreter.LoadedModel`` is one."""

    def run(self, samples: Floats) -> Floats:
        """(N, ...) in, (N, ...) out."""
        ...

    def time_invocations(self, sample: Floats, *, runs: int, warm_up: int) -> list[float]:
        """Milliseconds of single runs."""
        ...


@dataclass(frozen=True)
class Evaluation:
    """How one variant did.

    Attributes:
        value: The task's metric, 0 to 1.
        classes: The metric of each class, NaN where no sample is of it; empty where the task has no classes.
        scores: (N, ...) float64, a row a sample.
        margin: (N,) float32, how clear each answer was.
        spread: Highest minus lowest finite output over all samples.
        useless: For how many samples the model gave NaN or an infinity.
    """

    value: float
    classes: tuple[float, ...]
    scores: Scores
    margin: Floats
    spread: float
    useless: int


def evaluate(model: Model, task: Task, advance: Callable[[int], None]) -> Evaluation:
    """Run a model over all samples of a task.

    Args:
        model: What is measured.
        task: Samples and their scoring.
        advance: Told how many samples were done since it was told last.
    """
    scores: list[Scores] = []
    margin: list[Floats] = []
    low, high, useless = np.inf, -np.inf, 0
    for start in range(0, len(task), _BLOCK):
        positions = range(start, min(start + _BLOCK, len(task)))
        output = model.run(task.inputs(positions))
        scores.append(task.score((output,), positions))
        margin.append(task.margin((output,)))
        finite = np.isfinite(output)
        useless += int((~finite.reshape(len(positions), -1).all(axis=1)).sum())
        low = min(low, float(output.min(initial=np.inf, where=finite)))
        high = max(high, float(output.max(initial=-np.inf, where=finite)))
        advance(len(positions))
    return conclude(task, np.concatenate(scores), np.concatenate(margin), max(0.0, high - low), useless)


def conclude(task: Task, scores: Scores, margin: Floats, spread: float, useless: int) -> Evaluation:
    """The metrics that follow from scores."""
    return Evaluation(
        value=point_estimate(task, scores),
        classes=tuple(float(value) for value in task.per_class(scores)),
        scores=scores,
        margin=margin,
        spread=spread,
        useless=useless,
    )


def measure_latency_ms(model: Model, task: Task) -> float:
    """Median of single invocations on this machine, one thread, after warm-up, in ms."""
    (sample,) = task.inputs(range(1))
    return statistics.median(model.time_invocations(sample, runs=LATENCY_RUNS, warm_up=LATENCY_WARM_UP))
