"""What applications are told when there is no answer."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from contract.errors import (
    AccessError,
    AgentUnavailableError,
    ConfigError,
    DeadlineError,
    ManifestError,
    NotFoundError,
)
from edge_agent import connect
from edge_agent.inference.client import Model
from edge_agent.inference.pool import Pool
from edge_agent.inference.protocol import PID_FILE
from tests.support.inference_slots import (
    START_S,
    a_pool,
    images_of,
    is_running,
    serve,
    short_folder,
    wait_until,
)


@pytest.fixture
def model(pool: Pool, run_dir: Path) -> Iterator[Model]:
    serve(pool)
    with connect(run_dir).model("digits") as opened:
        yield opened


@pytest.fixture(scope="module")
def shared_run_dir() -> Iterator[Path]:
    """Where one worker of digits 1.0.0 serves all tests that only ask."""
    with short_folder() as folder, a_pool(folder) as (pool, _):
        serve(pool)
        yield folder


def test_without_an_agent_the_error_says_so(run_dir: Path) -> None:
    with pytest.raises(AgentUnavailableError, match="no litefleet agent runs") as caught:
        connect(run_dir).model("digits")
    assert "LITEFLEET_RUN_DIR" in caught.value.remedy


def test_a_dead_agents_folder_is_not_mistaken_for_an_agent(run_dir: Path) -> None:
    (run_dir / PID_FILE).write_text("garbage", encoding="ascii")

    with pytest.raises(AgentUnavailableError, match="no litefleet agent runs"):
        connect(run_dir).model("digits")


def test_a_model_that_is_not_deployed_is_told_from_a_missing_agent(pool: Pool, run_dir: Path) -> None:
    with pytest.raises(NotFoundError, match="'digits' is not deployed") as caught:
        connect(run_dir).model("digits", wait_s=0.1)
    assert "wait_s" in caught.value.remedy


def test_waiting_for_the_first_deployment(pool: Pool, run_dir: Path) -> None:
    opened: list[Model] = []
    thread = threading.Thread(target=lambda: opened.append(connect(run_dir).model("digits", wait_s=START_S)))
    thread.start()

    serve(pool)
    thread.join(START_S)

    with opened[0] as model:
        model.wait(0.0)
        assert model.infer(images_of(2)[0]).label == "2"


def test_a_model_that_is_taken_away_is_not_found_any_more(model: Model, pool: Pool, run_dir: Path) -> None:
    handle = pool.active("digits")
    assert handle is not None
    assert model.infer(images_of(2)[0]).label == "2"

    pool.discard(handle)

    assert pool.active("digits") is None
    wait_until(lambda: not is_running(handle.pid), "end of the worker")
    with pytest.raises(NotFoundError):
        model.infer(images_of(2)[0], deadline_s=0.2)


def test_a_name_that_no_model_can_have_is_refused(run_dir: Path) -> None:
    with pytest.raises(ManifestError):
        connect(run_dir).model("../digits")


def test_the_run_folder_comes_from_the_environment(
    shared_run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LITEFLEET_RUN_DIR", str(shared_run_dir))
    with connect() as agent:
        assert agent.model("digits").infer(images_of(2)[0]).label == "2"

    monkeypatch.delenv("LITEFLEET_RUN_DIR")
    assert connect().run_dir == Path("/run/litefleet")


def test_a_worker_that_does_not_answer_is_waited_for_until_the_deadline(model: Model, pool: Pool) -> None:
    handle = pool.active("digits")
    assert handle is not None
    model.infer(images_of(2)[0])
    os.kill(handle.pid, signal.SIGSTOP)

    with pytest.raises(DeadlineError, match=r"no answer within 0\.3 s"):
        model.infer(images_of(3)[0], deadline_s=0.3)

    os.kill(handle.pid, signal.SIGCONT)
    assert model.infer(images_of(2)[0]).label == "2"  # and not the answer that came too late


def test_a_worker_that_does_not_greet_is_waited_for_until_the_deadline(
    model: Model, pool: Pool, run_dir: Path
) -> None:
    handle = pool.active("digits")
    assert handle is not None
    os.kill(handle.pid, signal.SIGSTOP)

    with pytest.raises(DeadlineError, match="within 1 s"):
        connect(run_dir).model("digits")
    model.close()
    with pytest.raises(DeadlineError, match=r"within 0\.2 s"):
        model.infer(images_of(2)[0], deadline_s=0.2)

    os.kill(handle.pid, signal.SIGCONT)


def test_a_user_without_the_right_is_told(shared_run_dir: Path) -> None:
    shared_run_dir.chmod(0o700)
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(65534)
    else:
        shared_run_dir.chmod(0)
    try:
        with pytest.raises(AccessError, match="may not use") as caught:
            connect(shared_run_dir).model("digits")
    finally:
        if is_root:
            os.seteuid(0)
        shared_run_dir.chmod(0o700)
    assert "group" in caught.value.remedy


def test_a_run_folder_too_long_for_a_socket_is_told() -> None:
    with pytest.raises(ConfigError, match="no usable socket path"):
        connect("/tmp/" + "x" * 200).model("digits")  # noqa: S108 - nothing is made there
