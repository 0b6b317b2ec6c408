"""A candidate and memory: beside the active worker, with a gap, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from contract.errors import DeviceError
from edge_agent import connect
from edge_agent.crew import Crew
from edge_agent.inference.admission import RESERVE_BYTES, WORKER_BYTES, Swap
from edge_agent.inference.engine import UNPROVED
from edge_agent.inference.pool import Pool
from tests.support.inference_delegates import a_slot_for_the_edge_tpu
from tests.support.inference_slots import (
    START_S,
    VARIANT,
    fixed_threads,
    images_of,
    is_running,
    manifest_of,
    nobody,
    serve,
    slot_of,
)

PEAK = manifest_of("1.1.0").variants[0].peak_memory_bytes
NEED = PEAK + WORKER_BYTES + RESERVE_BYTES


def a_crew(pool: Pool, swap: Swap, room: int) -> Crew:
    return Crew(pool, fixed_threads(), START_S, START_S, lambda: UNPROVED, swap, lambda: room, on_gap=nobody)


def test_a_candidate_that_does_not_fit_is_refused_and_the_active_one_answers_on(
    pool: Pool, run_dir: Path
) -> None:
    serve(pool)

    with pytest.raises(DeviceError, match=r"1\.1\.0 takes \d+ MiB of memory beside 1\.0\.0") as caught:
        a_crew(pool, Swap.BESIDE, NEED - 1).admit("digits", "1.1.0", slot_of("1.1.0"))

    assert 'swap = "gap"' in caught.value.remedy
    with connect(run_dir).model("digits") as model:
        assert model.infer(images_of(2)[0]).version == "1.0.0"


def test_a_candidate_whose_fallback_does_not_fit_is_refused(pool: Pool, tmp_path: Path) -> None:
    first = serve(pool)
    slot = a_slot_for_the_edge_tpu(tmp_path / "slot", fallback_bytes=PEAK + 1)
    a_crew(pool, Swap.BESIDE, NEED + 1).admit("digits", "1.1.0", slot)

    with pytest.raises(DeviceError, match=r"1\.1\.0 takes \d+ MiB of memory beside 1\.0\.0"):
        a_crew(pool, Swap.BESIDE, NEED).admit("digits", "1.1.0", slot)

    assert is_running(first.pid)


def test_a_fallback_that_takes_less_than_the_variant_changes_nothing(pool: Pool, tmp_path: Path) -> None:
    serve(pool)
    slot = a_slot_for_the_edge_tpu(tmp_path / "slot", fallback_bytes=1)
    a_crew(pool, Swap.BESIDE, NEED).admit("digits", "1.1.0", slot)

    with pytest.raises(DeviceError, match="of memory beside"):
        a_crew(pool, Swap.BESIDE, NEED - 1).admit("digits", "1.1.0", slot)


def test_a_worker_whose_fallback_does_not_fit_is_not_started_a_second_time(
    pool: Pool, tmp_path: Path
) -> None:
    slot = a_slot_for_the_edge_tpu(tmp_path / "slot", fallback_bytes=PEAK + 1)
    worker = a_crew(pool, Swap.BESIDE, NEED).start("digits", "1.0.0", slot)

    with pytest.raises(DeviceError, match="of memory a second time"):
        a_crew(pool, Swap.BESIDE, NEED).start_in_step(worker)

    assert a_crew(pool, Swap.BESIDE, NEED + 1).start_in_step(worker).variant == worker.variant == VARIANT


def test_with_a_gap_the_active_one_ends_first_and_the_candidate_answers_then(
    pool: Pool, run_dir: Path
) -> None:
    first = serve(pool)
    crew = a_crew(pool, Swap.GAP, NEED - 1)

    crew.admit("digits", "1.1.0", slot_of("1.1.0"))

    assert not is_running(first.pid)
    crew.activate(crew.start("digits", "1.1.0", slot_of("1.1.0")))
    with connect(run_dir).model("digits") as model:
        assert model.infer(images_of(2)[0]).version == "1.1.0"


def test_a_gap_that_would_not_help_is_not_made(pool: Pool) -> None:
    first = serve(pool)

    with pytest.raises(DeviceError, match="0 MiB can be had") as caught:
        a_crew(pool, Swap.GAP, 0).admit("digits", "1.1.0", slot_of("1.1.0"))

    assert "smaller variant" in caught.value.remedy
    assert is_running(first.pid)


def test_the_first_version_of_a_model_is_not_weighed(pool: Pool) -> None:
    a_crew(pool, Swap.BESIDE, 0).admit("digits", "1.1.0", slot_of("1.1.0"))
