from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import pytest

from contract.errors import InferenceError, RuntimeLoadError
from edge_agent.inference.modest import run_modestly
from edge_agent.inference.threads import Tuning
from edge_agent.inference.tuning import tune

TUNING = Tuning(choices=(1, 2, 4), seconds=3.0)


class Machine:
    """A model and the clock it runs by: each number of threads has its time per run."""

    def __init__(self, run_s: dict[int, float], *, load_s: float = 0.1, fails_after: int = 10**6) -> None:
        self.now = 0.0
        self.threads = 0
        self.is_accelerated = False
        self.is_warm = False
        self.runs: list[tuple[int, Any]] = []
        self._run_s, self._load_s, self._fails_after = run_s, load_s, fails_after

    def clock(self) -> float:
        return self.now

    def use_threads(self, threads: int) -> None:
        self.threads, self.is_warm = threads, False
        self.now += self._load_s

    def golden_inputs(self) -> list[list[Any]]:
        return [["first"], ["second"]]

    def infer(self, tensors: Sequence[Any]) -> Sequence[Any]:
        if len(self.runs) >= self._fails_after:
            raise InferenceError("no")
        self.now += self._run_s[self.threads]
        self.runs.append((self.threads, tensors[0]))
        return []

    def warm_up(self) -> None:
        self.is_warm = True

    def tune(self, tuning: Tuning = TUNING) -> dict[int, float] | None:
        return tune(self, tuning, clock=self.clock, aside=lambda work: work())


def test_each_number_is_timed_with_golden_inputs_and_the_best_is_loaded_warm() -> None:
    machine = Machine({1: 0.01, 2: 0.005, 4: 0.02})

    seconds = machine.tune()

    assert seconds == pytest.approx({1: 0.01, 2: 0.005, 4: 0.02})
    assert (machine.threads, machine.is_warm) == (2, True)
    assert {sample for _, sample in machine.runs} == {"first", "second"}


def test_a_slow_model_is_not_measured_to_the_end_and_gets_all_threads() -> None:
    machine = Machine({1: 2.0, 2: 1.0, 4: 0.5})

    assert machine.tune() == {}

    assert machine.threads == 4
    assert machine.now <= 3.0 / 3 + 2.0 + 2 * 0.1


@pytest.mark.parametrize("run_s", [0.001, 0.03, 0.1, 0.2, 0.3, 0.9, 5.0])
def test_it_never_takes_longer_than_its_time_and_a_run_and_the_loads(run_s: float) -> None:
    machine = Machine(dict.fromkeys((1, 2, 4), run_s))
    machine.tune()
    assert machine.now <= TUNING.seconds + 3 * run_s + 4 * 0.1


def test_a_failing_run_ends_the_measuring_and_not_the_worker() -> None:
    machine = Machine({1: 0.01, 2: 0.005, 4: 0.02}, fails_after=40)
    assert machine.tune() == {}
    assert machine.threads == 4


def test_a_model_on_its_own_delegate_is_not_measured() -> None:
    machine = Machine({})
    machine.is_accelerated = True
    assert machine.tune() is None
    assert machine.threads == 0


def test_modest_work_has_a_low_priority_and_the_rest_keeps_its_own() -> None:
    before = os.getpriority(os.PRIO_PROCESS, 0)
    assert run_modestly(lambda: os.getpriority(os.PRIO_PROCESS, 0)) == max(10, before)
    assert os.getpriority(os.PRIO_PROCESS, 0) == before


def test_what_modest_work_raises_is_raised() -> None:
    def fail() -> None:
        raise RuntimeLoadError("no")

    with pytest.raises(RuntimeLoadError, match="no"):
        run_modestly(fail)
