"""How often a worker asks itself before it serves."""

from __future__ import annotations

import pytest

from edge_agent.inference.rehearsal import runs_for


@pytest.mark.parametrize(
    ("run_s", "runs"),
    [(0.0, 10), (0.00001, 10), (0.0005, 10), (0.001, 5), (0.0024, 2), (0.0026, 0), (0.004, 0), (10.0, 0)],
)
def test_a_model_is_asked_as_often_as_fits_into_five_milliseconds_or_not_at_all(
    run_s: float, runs: int
) -> None:
    assert runs_for(run_s) == runs
