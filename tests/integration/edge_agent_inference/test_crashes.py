"""Workers die, hang and fail to come back; the agent's process and the applications go on."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from contract.errors import AgentUnavailableError
from edge_agent import connect
from edge_agent.inference.client import Model
from edge_agent.inference.pool import Crash, Pool, PoolLimits
from edge_agent.inference.protocol import socket_name
from tests.support.inference_slots import (
    START_S,
    a_pool,
    a_slot,
    an_agent,
    children,
    images_of,
    is_running,
    model_path_in,
    serve,
    wait_until,
)

LIMITS = PoolLimits(window_s=0.3, drain_s=0.3, end_s=2.0, ready_s=20.0, hang_s=0.5)


@pytest.fixture
def pool_and_crashes(run_dir: Path) -> Iterator[tuple[Pool, list[Crash]]]:
    with a_pool(run_dir, LIMITS) as both:
        yield both


@pytest.fixture
def crashes(pool_and_crashes: tuple[Pool, list[Crash]]) -> list[Crash]:
    return pool_and_crashes[1]


def pid_of(pool: Pool) -> int:
    handle = pool.active("digits")
    assert handle is not None
    return handle.pid


def wait_for_number(crashes: list[Crash], number: int) -> None:
    wait_until(lambda: len(crashes) == number, "notice of the death")


def wait_for_more(answered: list[int]) -> None:
    """Wait until every asker got some more answers."""
    goals = [count + 20 for count in answered]
    wait_until(lambda: all(count >= goal for count, goal in zip(answered, goals, strict=True)), "answers")


@pytest.fixture
def model(pool: Pool, run_dir: Path) -> Iterator[Model]:
    serve(pool)
    with connect(run_dir).model("digits", deadline_s=START_S) as opened:
        yield opened


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL])
def test_a_worker_that_dies_is_restarted_and_the_application_gets_its_answer(
    model: Model, pool: Pool, crashes: list[Crash], number: signal.Signals
) -> None:
    first = pid_of(pool)
    assert model.infer(images_of(2)[0]).label == "2"

    os.kill(first, number)
    answer = model.infer(images_of(3)[0])

    assert answer.label == "3"
    (crash,) = crashes
    assert (crash.model, crash.version, crash.signal, crash.exit_code) == (
        "digits",
        "1.0.0",
        number.name,
        None,
    )
    assert crash.restarts == 1
    assert "XNNPACK" in crash.detail  # its last words: what the native runtime printed
    assert pid_of(pool) not in {first, 0}


def test_a_worker_killed_in_the_middle_of_requests_fails_none_of_them(
    model: Model, pool: Pool, run_dir: Path, crashes: list[Crash]
) -> None:
    enough = threading.Event()
    failures: list[BaseException] = []
    answered = [0, 0]

    def ask(place: int) -> None:
        try:
            with connect(run_dir).model("digits", deadline_s=START_S) as own:
                while not enough.is_set():
                    assert own.infer(images_of(place)[0]).label == str(place)
                    answered[place] += 1
        except BaseException as error:  # noqa: BLE001 - whatever it is, the test reports it
            failures.append(error)

    threads = [threading.Thread(target=ask, args=(place,)) for place in (0, 1)]
    for thread in threads:
        thread.start()
    for death in (1, 2, 3):
        wait_for_more(answered)
        os.kill(pid_of(pool), signal.SIGKILL)
        wait_for_number(crashes, death)
    wait_for_more(answered)
    enough.set()
    for thread in threads:
        thread.join(START_S)

    assert failures == []
    assert [crash.restarts for crash in crashes] == [1, 2, 3]


def test_a_worker_that_hangs_is_killed_and_restarted(model: Model, pool: Pool, crashes: list[Crash]) -> None:
    first = pid_of(pool)
    os.kill(first, signal.SIGSTOP)

    assert pool.take_windows() == []  # asked, in vain

    wait_until(lambda: bool(crashes), "notice of the hang")
    assert crashes[0].signal == "SIGKILL"
    assert "did not answer for" in crashes[0].detail
    assert model.infer(images_of(2)[0]).label == "2"
    assert not is_running(first)
    assert len(pool.take_windows()) == 1


def test_a_worker_that_is_busy_for_a_while_tells_its_window_later(
    model: Model, pool: Pool, crashes: list[Crash]
) -> None:
    model.infer(images_of(2)[0])
    os.kill(pid_of(pool), signal.SIGSTOP)

    assert pool.take_windows() == []
    os.kill(pid_of(pool), signal.SIGCONT)

    windows = pool.take_windows()
    assert sum(window.requests for window in windows) == 1
    assert crashes == []


def test_a_worker_that_cannot_come_back_is_tried_again_and_again_until_it_can(
    run_dir: Path, tmp_path: Path
) -> None:
    slot = a_slot(tmp_path / "slot")
    path = model_path_in(slot)
    content = path.read_bytes()
    with a_pool(run_dir, LIMITS) as (pool, crashes):
        serve(pool, slot=slot)
        path.write_bytes(content[:-1] + b"\xff")

        os.kill(pid_of(pool), signal.SIGKILL)
        wait_until(lambda: len(crashes) >= 3, "restarts in vain")

        assert [crash.restarts for crash in crashes[:3]] == [1, 2, 3]
        assert (crashes[1].signal, crashes[1].exit_code) == ("", 1)
        assert "damaged on this device" in crashes[1].detail
        with pytest.raises(AgentUnavailableError, match="cannot be reached"):
            connect(run_dir).model("digits")
        path.write_bytes(content)
        with connect(run_dir).model("digits", wait_s=START_S) as model:
            assert model.infer(images_of(2)[0]).label == "2"


def test_a_model_whose_worker_keeps_dying_is_not_waited_for_and_comes_back(
    run_dir: Path, tmp_path: Path
) -> None:
    slot = a_slot(tmp_path / "slot")
    path = model_path_in(slot)
    content = path.read_bytes()
    with a_pool(run_dir, LIMITS) as (pool, crashes):
        serve(pool, slot=slot)
        with connect(run_dir).model("digits", deadline_s=1.0) as model:
            path.write_bytes(content[:-1] + b"\xff")
            os.kill(pid_of(pool), signal.SIGKILL)
            wait_until(lambda: any(crash.rests_s > 0 for crash in crashes), "the breaker")

            began = time.monotonic()
            with pytest.raises(AgentUnavailableError, match="died again and again") as caught:
                model.infer(images_of(2)[0], deadline_s=0.5)
            assert time.monotonic() - began < 0.5
            assert "try again in" in caught.value.remedy

            path.write_bytes(content)
            assert model.infer(images_of(2)[0], deadline_s=START_S).label == "2"


def test_a_restart_that_takes_too_long_is_killed_and_tried_again(run_dir: Path, tmp_path: Path) -> None:
    slot = a_slot(tmp_path / "slot")
    path = model_path_in(slot)
    content = path.read_bytes()
    limits = PoolLimits(window_s=0.3, drain_s=0.3, end_s=2.0, ready_s=1.0)
    with a_pool(run_dir, limits) as (pool, crashes):
        serve(pool, slot=slot)
        path.unlink()
        os.mkfifo(path)

        os.kill(pid_of(pool), signal.SIGKILL)
        wait_until(lambda: len(crashes) >= 2, "the end of the restart")

        assert crashes[1].signal == "SIGKILL"
        path.unlink()
        path.write_bytes(content)


def test_a_switch_overtakes_a_restart(run_dir: Path, tmp_path: Path) -> None:
    slot = a_slot(tmp_path / "slot")
    path = model_path_in(slot)
    with a_pool(run_dir, LIMITS) as (pool, crashes):
        before = children()
        serve(pool, slot=slot)
        path.unlink()
        os.mkfifo(path)
        os.kill(pid_of(pool), signal.SIGKILL)
        wait_until(lambda: len(crashes) == 1, "notice of the death")
        wait_until(lambda: len(children() - before) == 1, "the restart, which hangs")

        handle = serve(pool, "1.1.0")

        wait_until(lambda: children() - before == {handle.pid}, "the end of the restart")
        assert pool.active("digits") == handle
        with connect(run_dir).model("digits") as model:
            assert model.infer(images_of(2)[0]).version == "1.1.0"
        assert len(crashes) == 1


def test_what_goes_wrong_in_those_who_are_told_does_not_stop_the_restart(
    run_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(crash: Crash) -> None:
        raise ValueError(crash.model)

    def fail_too() -> None:
        raise ValueError("restarted")

    pool = Pool(run_dir, fail, on_restarted=fail_too)
    try:
        serve(pool)
        with caplog.at_level(logging.ERROR), connect(run_dir).model("digits", deadline_s=START_S) as model:
            os.kill(pid_of(pool), signal.SIGKILL)
            assert model.infer(images_of(2)[0]).label == "2"
            wait_until(lambda: "on_restarted failed" in caplog.text, "what the second one raised")
            os.kill(pid_of(pool), signal.SIGKILL)
            assert model.infer(images_of(2)[0]).label == "2"
    finally:
        pool.close()
    assert "on_crash failed" in caplog.text


def test_a_restart_that_cannot_be_pointed_to_is_tried_again(
    model: Model, pool: Pool, run_dir: Path, crashes: list[Crash]
) -> None:
    link = run_dir / socket_name("digits")
    link.unlink()
    link.mkdir()

    os.kill(pid_of(pool), signal.SIGKILL)
    wait_until(lambda: len(crashes) >= 2, "a restart in vain")
    link.rmdir()

    assert "cannot be written" in crashes[1].detail
    assert model.infer(images_of(2)[0]).label == "2"


def test_workers_end_when_the_main_process_is_killed(run_dir: Path) -> None:
    with an_agent(run_dir) as (agent, worker):
        with connect(run_dir).model("digits") as model:
            assert model.infer(images_of(2)[0]).label == "2"
            agent.kill()
            agent.wait()
            wait_until(lambda: not is_running(worker), "end of the worker")
            with pytest.raises(AgentUnavailableError, match="no litefleet agent runs"):
                model.infer(images_of(2)[0], deadline_s=0.2)
        assert list(run_dir.glob("*.sock"))  # what a killed agent leaves

        with a_pool(run_dir):
            assert not list(run_dir.rglob("*.sock"))


def test_an_old_worker_that_does_not_end_is_killed(run_dir: Path, caplog: pytest.LogCaptureFixture) -> None:
    with a_pool(run_dir, PoolLimits(drain_s=0.1, end_s=0.2)) as (pool, crashes):
        old = serve(pool)
        os.kill(old.pid, signal.SIGSTOP)

        serve(pool, "1.1.0")

        wait_until(lambda: not is_running(old.pid), "end of the old worker")
        wait_until(lambda: "last counts are lost" in caplog.text, "notice of it")
        assert crashes == []


def test_a_signal_without_a_name_is_told_by_its_number(
    model: Model, pool: Pool, crashes: list[Crash]
) -> None:
    os.kill(pid_of(pool), 40)

    wait_for_number(crashes, 1)

    assert crashes[0].signal == "signal 40"
    assert model.infer(images_of(2)[0]).label == "2"
