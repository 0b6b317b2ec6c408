"""Threads that are measured by a real worker on a real runtime, remembered, and used again."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import msgspec
import pytest

from edge_agent import connect
from edge_agent.crew import Crew
from edge_agent.inference.board import Facts, InstalledRuntime
from edge_agent.inference.engine import Engine
from edge_agent.inference.pool import Pool, WorkerHandle
from edge_agent.inference.processors import usable_processors
from edge_agent.inference.threads import WorkerSettings
from edge_agent.thread_tuning import THREADS_FILE, ThreadTuning
from tests.support.inference_slots import START_S, images_of, nobody, slot_of, wait_until

pytestmark = pytest.mark.skipif(usable_processors() < 2, reason="one processor leaves nothing to measure")

ENGINE = Engine(runtime="ai-edge-litert")
FACTS = Facts(runtimes=(InstalledRuntime(name="ai-edge-litert", version="2.3.0"),), cpu_model="test", cores=2)


def a_crew(pool: Pool, folder: Path, facts: Facts = FACTS, cap: int = 0) -> Crew:
    tuning = ThreadTuning(WorkerSettings(), 2, folder, lambda: facts, lambda: cap, most_s=START_S)
    return Crew(pool, tuning, START_S, START_S, lambda: ENGINE, on_gap=nobody)


def start(pool: Pool, folder: Path, facts: Facts = FACTS, slot: Path | None = None) -> WorkerHandle:
    return a_crew(pool, folder, facts).start("digits", "1.0.0", slot or slot_of("1.0.0"))


def threads_of(pid: int) -> int:
    """Threads of a process, as the kernel counts them."""
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def test_a_worker_measures_once_and_runs_what_it_chose(pool: Pool, tmp_path: Path, run_dir: Path) -> None:
    first = start(pool, tmp_path)
    again = start(pool, tmp_path)

    assert first.run_seconds is not None
    assert set(first.run_seconds) == {1, 2}
    assert all(0 < seconds < 1 for seconds in first.run_seconds.values())
    assert first.spec.threads in {1, 2}
    assert first.spec.tuning is None
    assert again.run_seconds is None
    assert again.spec.threads == first.spec.threads
    assert threads_of(first.pid) == threads_of(again.pid)
    pool.self_test(first, START_S)
    pool.activate(first)
    with connect(run_dir).model("digits") as model:
        assert model.infer(images_of(3)[0]).label == "3"


def test_the_chosen_number_is_the_interpreters_and_survives_a_crash(pool: Pool, tmp_path: Path) -> None:
    """The one of two is written into the memory by hand: its threads must then be there, and after a crash too."""
    measured = start(pool, tmp_path)
    counts: dict[int, int] = {}
    for number in (1, 2):
        memory = msgspec.json.decode((tmp_path / THREADS_FILE).read_bytes())
        memory["entries"][0]["threads"] = number
        (tmp_path / THREADS_FILE).write_bytes(msgspec.json.encode(memory))
        worker = start(pool, tmp_path)
        assert (worker.spec.threads, worker.run_seconds) == (number, None)
        counts[number] = threads_of(worker.pid)
    assert counts[2] == counts[1] + 1

    pool.activate(worker)
    pool.discard(measured)

    os.kill(worker.pid, signal.SIGKILL)
    wait_until(lambda: (found := pool.active("digits")) is not None and found.pid != worker.pid, "a restart")
    restarted = pool.active("digits")
    assert restarted is not None
    assert (restarted.spec.threads, restarted.run_seconds) == (2, None)
    assert threads_of(restarted.pid) == counts[2]


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"format":9}', b'{"format":1,"entries":[{"threads":0}]}']
)
def test_a_damaged_memory_is_measured_again(pool: Pool, tmp_path: Path, content: bytes) -> None:
    (tmp_path / THREADS_FILE).write_bytes(content)
    assert start(pool, tmp_path).run_seconds


def test_another_runtime_or_processor_is_measured_again(pool: Pool, tmp_path: Path) -> None:
    start(pool, tmp_path)
    newer = InstalledRuntime(name="ai-edge-litert", version="2.4.0")
    assert start(pool, tmp_path, msgspec.structs.replace(FACTS, runtimes=(newer,))).run_seconds
    assert start(pool, tmp_path, msgspec.structs.replace(FACTS, cpu_model="other")).run_seconds
    assert start(pool, tmp_path).run_seconds is None


def test_a_worker_beside_an_active_one_measures_too(pool: Pool, tmp_path: Path) -> None:
    pool.activate(start(pool, tmp_path))
    assert a_crew(pool, tmp_path).start("digits", "1.1.0", slot_of("1.1.0")).run_seconds


def test_a_cap_holds_and_nothing_is_measured_under_it(pool: Pool, tmp_path: Path) -> None:
    worker = a_crew(pool, tmp_path, cap=1).start("digits", "1.0.0", slot_of("1.0.0"))
    assert (worker.spec.threads, worker.run_seconds) == (1, None)
    assert not (tmp_path / THREADS_FILE).exists()


def test_golden_inputs_that_are_damaged_cost_the_measure_and_not_the_start(
    pool: Pool, tmp_path: Path
) -> None:
    slot = tmp_path / "slot"
    shutil.copytree(slot_of("1.0.0"), slot)
    golden = msgspec.json.decode((slot / "manifest.json").read_bytes())["golden"]["artifact"]["sha256"]
    (slot / "artifacts" / golden).write_bytes(b"damaged")

    worker = start(pool, tmp_path, slot=slot)

    assert (worker.spec.threads, worker.run_seconds) == (2, {})


def test_a_memory_that_cannot_be_written_costs_nothing_else(pool: Pool, tmp_path: Path) -> None:
    assert start(pool, tmp_path / "missing").run_seconds
