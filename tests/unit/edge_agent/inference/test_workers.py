from __future__ import annotations

from pathlib import Path

from edge_agent.inference.workers import PoolLimits, WorkerSpec


def test_a_worker_is_called_by_its_model_and_version() -> None:
    assert str(WorkerSpec(model="digits", version="1.0.0", slot_dir=Path("/s"), threads=1)) == "digits 1.0.0"


def test_every_wait_of_the_pool_is_bounded() -> None:
    limits = PoolLimits()

    waits = (limits.window_s, limits.drain_s, limits.end_s, limits.ready_s, limits.hang_s)
    assert all(0 < wait <= 60 for wait in waits)
