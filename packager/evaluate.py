"""Measures one variant over all evaluation samples.

Guarantees: every variant sees the same inputs in the same order, each by itself; what comes out does not depend on how
many cores this machine has. Does not judge: that is ``packager.gate``.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from contract.decoding import settle
from contract.results import Decoding
from packager.bootstrap import point_estimate
from packager.lanes import work_in_lanes
from packager.tasks.task import Array, Floats, Scores, Task

BLOCK = 64
"""Samples that are prepared at once, and run by one model."""
SCORED_BYTES = 1 << 20
"""Outputs of several blocks are scored together up to so much: scoring has a price per call, and cores wait for it."""
LATENCY_RUNS = 50
LATENCY_WARM_UP = 10


class Model(Protocol):
    """What is evaluated; ``packager.runtime.interpreter.LoadedModel`` is one."""

    def run(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        """(N, ...) of every input in, (N, ...) of every output out."""
        ...

    def time_invocations(self, sample: Sequence[Array], *, runs: int, warm_up: int) -> list[float]:
        """Milliseconds of single runs."""
        ...


@dataclass(frozen=True)
class SettledModel:
    """A model whose outputs hold nothing but what it computed, as an agent takes them (``contract.decoding.settle``).

    Attributes:
        model: What runs.
        decoding: Of the manifest.
        names: Of the outputs.
    """

    model: Model
    decoding: Decoding | None
    names: Sequence[str]

    def run(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        """(N, ...) of every input in, (N, ...) of every output out."""
        return tuple(settle(self.decoding, self.names, self.model.run(inputs)))

    def time_invocations(self, sample: Sequence[Array], *, runs: int, warm_up: int) -> list[float]:
        """Milliseconds of single runs."""
        return self.model.time_invocations(sample, runs=runs, warm_up=warm_up)


@dataclass(frozen=True)
class Answers:
    """What one variant answered.

    Attributes:
        scores: (N, ...) float64, a row a sample.
        margin: (N,) float32, how clear each answer was.
        spread: Of each output, highest minus lowest finite value over all samples.
        useless: For how many samples the model gave NaN or an infinity.
    """

    scores: Scores
    margin: Floats
    spread: tuple[float, ...]
    useless: int


@dataclass(frozen=True)
class Evaluation(Answers):
    """How good the answers are.

    Attributes:
        value: The task's metric, 0 to 1.
        classes: The metric of each class, NaN where no sample is of it; empty where the task has no classes.
    """

    value: float
    classes: tuple[float, ...]


def collect(
    model: Model, task: Task, advance: Callable[[int], None], helpers: Sequence[Model] = ()
) -> Answers:
    """Run a model over all samples of a task.

    Args:
        model: What is measured.
        task: Samples and their scoring.
        advance: Told how many samples were done since it was told last.
        helpers: The same model again and again, to run blocks of samples side by side; the result is the same.
    """
    scores: list[Scores] = []
    margin: list[Floats] = []
    spans: list[_Span] = []
    useless = 0
    blocks = [range(start, min(start + BLOCK, len(task))) for start in range(0, len(task), BLOCK)]
    # Samples are prepared in this thread, scored in this thread and in order: tasks need not know of threads.
    inputs = (task.inputs(positions) for positions in blocks)
    answers = work_in_lanes([model, *helpers], lambda one, values: one.run(values), inputs)
    for positions, outputs in _merge(zip(blocks, answers, strict=True), advance):
        scores.append(task.score(outputs, positions))
        margin.append(task.margin(outputs))
        spans = spans or [_Span() for _ in outputs]
        is_useful = [span.widen(output) for span, output in zip(spans, outputs, strict=True)]
        useless += int((~np.logical_and.reduce(is_useful)).sum())
    spread = tuple(span.width for span in spans)
    return Answers(np.concatenate(scores), np.concatenate(margin), spread, useless)


_Answered = tuple[range, tuple[Array, ...]]


def _merge(answered: Iterable[_Answered], advance: Callable[[int], None]) -> Iterator[_Answered]:
    """Neighbouring blocks as one, while outputs are small and alike; ``advance`` is told of each block as it comes."""
    waiting: list[_Answered] = []
    for positions, outputs in answered:
        if waiting and [one.shape[1:] for one in outputs] != [one.shape[1:] for one in waiting[0][1]]:
            yield _join(waiting)
            waiting = []
        waiting.append((positions, outputs))
        advance(len(positions))
        if sum(output.nbytes for _, block in waiting for output in block) >= SCORED_BYTES:
            yield _join(waiting)
            waiting = []
    if waiting:
        yield _join(waiting)


def _join(blocks: Sequence[_Answered]) -> _Answered:
    if len(blocks) == 1:
        return blocks[0]
    positions = range(blocks[0][0].start, blocks[-1][0].stop)
    columns = zip(*(outputs for _, outputs in blocks), strict=True)
    return positions, tuple(np.concatenate(column) for column in columns)


class _Span:
    """The finite values that an output had so far."""

    def __init__(self) -> None:
        self._low, self._high = np.inf, -np.inf

    def widen(self, output: Array) -> npt.NDArray[np.bool_]:
        """Look at (N, ...) values; (N,) whether all of a sample's are finite."""
        is_finite = np.asarray(np.isfinite(output))
        values = output.astype(np.float64, copy=False)
        self._low = min(self._low, float(values.min(initial=np.inf, where=is_finite)))
        self._high = max(self._high, float(values.max(initial=-np.inf, where=is_finite)))
        return np.asarray(is_finite.reshape(len(output), -1).all(axis=1))

    @property
    def width(self) -> float:
        """Highest less lowest; 0 when there was none."""
        return max(0.0, self._high - self._low)


def conclude(task: Task, answers: Answers) -> Evaluation:
    """The metrics that follow from answers."""
    return Evaluation(
        scores=answers.scores,
        margin=answers.margin,
        spread=answers.spread,
        useless=answers.useless,
        value=point_estimate(task, answers.scores),
        classes=tuple(float(value) for value in task.per_class(answers.scores)),
    )


def measure_latency_ms(model: Model, task: Task) -> float:
    """Median of single invocations on this machine, one thread, after warm-up, in ms."""
    sample = [values[0] for values in task.inputs(range(1))]
    return statistics.median(model.time_invocations(sample, runs=LATENCY_RUNS, warm_up=LATENCY_WARM_UP))
