"""The asyncio SDK against real workers: several at a time, cancelled, late, refused, switched and killed."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from contract.errors import (
    AgentUnavailableError,
    ConfigError,
    DeadlineError,
    InputError,
    ManifestError,
    NotFoundError,
    OverloadError,
)
from contract.tensor import DType, TensorSpec
from edge_agent import connect, connect_async
from edge_agent.inference.pool import Pool, PoolLimits, WorkerSpec
from tests.support.inference_models import a_lookup
from tests.support.inference_slots import (
    START_S,
    a_pool,
    a_slot,
    images_of,
    serve,
    short_folder,
    spec_of,
    tensor_of,
)
from tests.support.own_process import opened


@pytest.fixture(scope="module")
def shared_run_dir() -> Iterator[Path]:
    """Where one worker of digits 1.0.0 serves all tests that only ask."""
    with short_folder() as folder, a_pool(folder) as (pool, _):
        serve(pool)
        yield folder


def pid_of(pool: Pool) -> int:
    handle = pool.active("digits")
    assert handle is not None
    return handle.pid


def test_both_sdks_give_the_same_answer(shared_run_dir: Path) -> None:
    async def ask() -> None:
        async with connect_async(shared_run_dir) as fleet:
            for digit in range(10):
                image = images_of(digit)[0]
                found = await fleet.model("digits").infer(image)
                assert found.label == model.infer(image).label == str(digit)
                ready = await fleet.model("digits").infer(tensor_of(image))
                expected = model.infer(tensor_of(image)).outputs["probabilities"]
                assert np.array_equal(ready.outputs["probabilities"], expected)

    with connect(shared_run_dir).model("digits") as model:
        asyncio.run(ask())


def test_many_at_a_time_get_their_own_answers_without_a_thread(shared_run_dir: Path) -> None:
    async def ask() -> None:
        before = threading.active_count()
        async with connect_async(shared_run_dir) as fleet:
            model = fleet.model("digits")
            digits = [number % 10 for number in range(60)]
            found = await asyncio.gather(*(model.infer(images_of(digit)[0]) for digit in digits))
            assert [inference.label for inference in found] == [str(digit) for digit in digits]
        assert threading.active_count() == before

    asyncio.run(ask())


def test_what_is_asked_beyond_the_bounds_is_refused_and_counted(shared_run_dir: Path) -> None:
    async def ask() -> None:
        async with connect_async(shared_run_dir, connections=2, max_waiting=3) as fleet:
            model = fleet.model("digits")
            found = await asyncio.gather(
                *(model.infer(images_of(1)[0]) for _ in range(9)), return_exceptions=True
            )
            assert Counter(type(each).__name__ for each in found) == {"Inference": 5, "OverloadError": 4}
            assert model.refused == fleet.model("digits").refused == 4
            assert (await model.infer(images_of(1)[0])).label == "1"

    asyncio.run(ask())


def test_a_cancelled_request_leaves_its_answer_to_nobody(shared_run_dir: Path) -> None:
    async def ask() -> None:
        async with connect_async(shared_run_dir, connections=1) as fleet:
            model = fleet.model("digits")
            cancelled = 0
            for turns in range(12):  # cancelled at every point of its way
                task = asyncio.create_task(model.infer(images_of(3)[0]))
                for _ in range(turns):
                    await asyncio.sleep(0)
                task.cancel()
                assert (await model.infer(images_of(7)[0])).label == "7"
                await asyncio.wait([task], timeout=10)
                # On a busy machine the answer may have come before it was cancelled.
                assert task.cancelled() or task.result().label == "3"
                cancelled += task.cancelled()
            assert cancelled > 0

    asyncio.run(ask())


def test_cancelling_those_who_wait_gives_their_turns_back(shared_run_dir: Path) -> None:
    async def ask() -> None:
        async with connect_async(shared_run_dir, connections=1) as fleet:
            model = fleet.model("digits")
            tasks = [asyncio.create_task(model.infer(images_of(3)[0])) for _ in range(8)]
            await asyncio.sleep(0)
            for task in tasks[::2]:
                task.cancel()
            found = await asyncio.gather(*tasks, return_exceptions=True)
            assert Counter(type(each).__name__ for each in found) == {"Inference": 4, "CancelledError": 4}
            tasks = [asyncio.create_task(model.infer(images_of(3)[0])) for _ in range(3)]
            await tasks[0]  # its turn goes to the next, who is cancelled before it can take it
            tasks[1].cancel()
            assert (await asyncio.wait_for(model.infer(images_of(5)[0]), 5)).label == "5"
            await tasks[2]

    asyncio.run(ask())


def test_leaving_closes_every_connection(shared_run_dir: Path) -> None:
    def sockets() -> int:
        return sum("socket:" in name for name in opened())

    async def ask() -> None:
        before = sockets()
        async with connect_async(shared_run_dir) as fleet:
            await asyncio.gather(*(fleet.model("digits").infer(images_of(1)[0]) for _ in range(4)))
            assert sockets() > before
            late = asyncio.create_task(fleet.model("digits").infer(images_of(2)[0]))
            await asyncio.sleep(0)
        assert (await late).label == "2"  # what is under way is finished
        assert sockets() == before

    asyncio.run(ask())
    gc.collect()


def test_pythons_own_numbers_are_answered_as_the_models_own_tensor_is(shared_run_dir: Path) -> None:
    async def ask() -> None:
        tensor = tensor_of(images_of(4)[0])
        async with connect_async(shared_run_dir) as fleet:
            model = fleet.model("digits")
            own = await model.infer(tensor)
            for what in (tensor.tolist(), tensor.astype(np.float64)):
                answer = await model.infer(what)
                assert np.array_equal(answer.outputs["probabilities"], own.outputs["probabilities"])

    asyncio.run(ask())


def test_refusals_name_what_is_wrong(shared_run_dir: Path, run_dir: Path) -> None:
    async def ask() -> None:
        async with connect_async(shared_run_dir) as fleet:
            with pytest.raises(InputError, match="does not take"):
                await fleet.model("digits").infer(np.zeros((2, 2), np.float64))
            with pytest.raises(NotFoundError, match="not deployed"):
                await fleet.model("other", deadline_s=0.05).infer(images_of(1)[0])
            with pytest.raises(NotFoundError):
                await fleet.model("other").wait(0.05)
            with pytest.raises(ManifestError):
                fleet.model("../digits")
            await fleet.model("digits").wait()
            assert (await fleet.model("digits").describe()).inputs[0].shape == (1, 8, 8, 1)
        async with connect_async(run_dir) as nobody:
            with pytest.raises(AgentUnavailableError, match="no litefleet agent runs"):
                await nobody.model("digits", deadline_s=0.0).infer(images_of(1)[0])
        async with connect_async("/tmp/" + "x" * 200) as nowhere:  # noqa: S108 - nothing is made there
            with pytest.raises(ConfigError, match="no usable socket path"):
                await nowhere.model("digits").infer(images_of(1)[0])

    asyncio.run(ask())


def test_a_larger_image_gets_a_larger_area(shared_run_dir: Path) -> None:
    async def ask() -> None:
        async with connect_async(shared_run_dir, connections=1) as fleet:
            small = images_of(4)[0]
            for image in (small, np.kron(small, np.ones((64, 64), np.uint8)), small):
                assert (await fleet.model("digits").infer(image)).label == "4"

    asyncio.run(ask())


def test_a_worker_that_hangs_costs_its_requests_their_deadline_and_nothing_more(
    pool: Pool, run_dir: Path
) -> None:
    async def ask() -> None:
        async with connect_async(run_dir, connections=1, max_waiting=2) as fleet:
            model = fleet.model("digits", deadline_s=0.2)
            await model.infer(images_of(2)[0])
            os.kill(pid_of(pool), signal.SIGSTOP)
            found = await asyncio.gather(
                *(model.infer(images_of(3)[0]) for _ in range(4)), return_exceptions=True
            )
            assert Counter(type(each) for each in found) == {DeadlineError: 3, OverloadError: 1}
            os.kill(pid_of(pool), signal.SIGCONT)
            assert (await model.infer(images_of(2)[0], deadline_s=5.0)).label == "2"

    serve(pool)
    asyncio.run(ask())


def test_a_killed_worker_fails_no_request(pool: Pool, run_dir: Path) -> None:
    async def ask() -> None:
        async with connect_async(run_dir) as fleet:
            model = fleet.model("digits", deadline_s=START_S)
            await asyncio.gather(*(model.infer(images_of(2)[0]) for _ in range(4)))
            os.kill(pid_of(pool), signal.SIGSTOP)
            tasks = [asyncio.create_task(model.infer(images_of(6)[0])) for _ in range(8)]
            await asyncio.sleep(0.01)
            os.kill(pid_of(pool), signal.SIGKILL)
            assert [(await task).label for task in tasks] == ["6"] * 8

    serve(pool)
    asyncio.run(ask())


def test_no_request_fails_while_versions_change(run_dir: Path) -> None:
    async def ask(pool: Pool) -> None:
        async with connect_async(run_dir) as fleet:
            versions: Counter[str] = Counter()
            enough = asyncio.Event()

            async def hammer(digit: int) -> None:
                while not enough.is_set():
                    found = await fleet.model("digits").infer(images_of(digit)[0])
                    assert found.label == str(digit)
                    versions[found.version] += 1

            hammers = [asyncio.create_task(hammer(digit)) for digit in (1, 2, 3, 4, 5, 6)]
            for version in ("1.1.0", "1.0.0", "1.1.0"):
                handle = await asyncio.to_thread(pool.start_candidate, spec_of(version), START_S)
                await asyncio.to_thread(pool.activate, handle)
                assert (await fleet.model("digits").infer(images_of(1)[0])).version == version
            enough.set()
            await asyncio.gather(*hammers)
            assert set(versions) == {"1.0.0", "1.1.0"}

    with a_pool(run_dir, PoolLimits(drain_s=0.3, gentle_s=0.5)) as (pool, crashes):
        serve(pool)
        asyncio.run(ask(pool))
        assert crashes == []


def test_a_version_with_another_input_is_used_at_once_by_both_sdks(
    pool: Pool, run_dir: Path, tmp_path: Path
) -> None:
    async def ask() -> None:
        async with connect_async(run_dir) as fleet:
            await fleet.model("digits").infer(images_of(1)[0])
            assert (await fleet.model("digits").describe()).version == "1.0.0"
            with connect(run_dir).model("digits") as model:
                model.infer(images_of(1)[0])
                pool.activate(lookup)
                index = np.array([2], np.int32)
                assert (await fleet.model("digits").describe()).inputs[0].name == "index"
                assert (await fleet.model("digits").infer(index)).outputs["out"] == [12.0]
                assert model.infer(index).outputs["out"] == [12.0]

    serve(pool)
    lookup = pool.start_candidate(WorkerSpec("digits", "2.0.0", a_lookup_slot(tmp_path / "slot"), 1), START_S)
    asyncio.run(ask())


def a_lookup_slot(folder: Path) -> Path:
    return a_slot(
        folder,
        content=a_lookup(),
        version="2.0.0",
        inputs=(TensorSpec(name="index", shape=(1,), dtype=DType.INT32),),
        outputs=(TensorSpec(name="out", shape=(1,), dtype=DType.FLOAT32),),
        labels=(),
        preprocessing=None,
        postprocessing=None,
    )
