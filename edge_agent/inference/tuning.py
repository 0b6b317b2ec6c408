"""Measures, in a worker that serves nobody yet, how many threads serve its model best.

Guarantees: ends at the first run or load that outlasts the time it has; an answer that fails ends the measuring, never
the worker: the self-test says what is wrong. What is measured is a request's way from a ready input to real outputs,
with the golden inputs. A model on a delegate of its own is not measured: its threads wait for the delegate.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from contract.errors import LitefleetError
from edge_agent.inference.threads import Tuning, choose_threads

_WARM_RUNS = 1
_RUNS_MIN = 3
_RUNS_MAX = 25
"""The median of so many, or of what a third of the time allows."""


class Tunable(Protocol):
    """A loaded model; see ``edge_agent.inference.model.LoadedModel``."""

    @property
    def is_accelerated(self) -> bool:
        """Whether a delegate in a library of its own runs it."""

    def use_threads(self, threads: int) -> None:
        """Load it again with so many threads; cold."""

    def golden_inputs(self) -> list[list[Any]]:
        """Of every golden sample, what ``infer`` takes."""

    def infer(self, tensors: Sequence[Any]) -> Sequence[Any]:
        """Run once."""

    def warm_up(self) -> None:
        """Run until it is as fast as it gets."""


def measure_threads(model: Tunable, tuning: Tuning, clock: Callable[[], float]) -> dict[int, float]:
    """Time a model with each number of threads; it is left with any of them.

    Args:
        model: Loaded; with how many threads does not matter.
        tuning: What to measure.
        clock: Monotonic, seconds.

    Returns:
        Number of threads to the median of a run, seconds. Numbers that time did not suffice for are missing; none
        where a run failed.
    """
    share_s = tuning.seconds / len(tuning.choices)
    found: dict[int, float] = {}
    try:
        samples = model.golden_inputs()
        for choice in tuning.choices:
            ends = clock() + share_s
            model.use_threads(choice)
            runs = _time_runs(model, samples, clock, ends)
            if len(runs) < _RUNS_MIN:
                break
            found[choice] = sorted(runs)[len(runs) // 2]
    except LitefleetError:
        return {}
    return found


def _time_runs(
    model: Tunable, samples: Sequence[Sequence[Any]], clock: Callable[[], float], ends: float
) -> list[float]:
    runs: list[float] = []
    for number in range(_WARM_RUNS + _RUNS_MAX):
        began = clock()
        if began >= ends:
            break
        model.infer(samples[number % len(samples)])
        if number >= _WARM_RUNS:
            runs.append(clock() - began)
    return runs


def tune(
    model: Tunable, tuning: Tuning, *, clock: Callable[[], float], aside: Callable[[Callable[[], Any]], Any]
) -> dict[int, float] | None:
    """Measure and take the best number.

    Args:
        model: Loaded.
        tuning: What to measure.
        clock: Monotonic, seconds.
        aside: Runs the measuring, so that it takes nothing from a worker that serves.

    Returns:
        What was measured; None where there was nothing to measure.

    Raises:
        RuntimeLoadError: The runtime refuses the model, which it took before.
    """
    if model.is_accelerated:
        return None
    seconds: dict[int, float] = aside(lambda: measure_threads(model, tuning, clock))
    # Loaded again whatever was measured last: threads of the interpreter have the priority of the one that made them.
    model.use_threads(choose_threads(seconds, tuning))
    model.warm_up()
    return seconds
