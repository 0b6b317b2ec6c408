"""A main process without descriptors, and workers that are none of ours."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from contract.errors import AgentUnavailableError, RuntimeLoadError
from edge_agent import connect
from edge_agent.inference.client import Model
from edge_agent.inference.pool import Pool
from tests.support.inference_slots import (
    START_S,
    a_pool,
    images_of,
    serve,
    spec_of,
    wait_until,
)


def pid_of(pool: Pool) -> int:
    handle = pool.active("digits")
    assert handle is not None
    return handle.pid


@pytest.fixture
def model(pool: Pool, run_dir: Path) -> Iterator[Model]:
    serve(pool)
    with connect(run_dir).model("digits", deadline_s=START_S) as opened:
        yield opened


@contextlib.contextmanager
def descriptors_left(count: int) -> Iterator[None]:
    """Let this process open so many more files."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.ExitStack() as stack:
        probe = stack.enter_context(open(os.devnull, "rb"))  # noqa: PTH123 - the lowest free number counts
        resource.setrlimit(resource.RLIMIT_NOFILE, (probe.fileno() + count, before[1]))
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, before)
        probe.close()
        yield


@pytest.mark.parametrize("count", [1, 3])
def test_without_descriptors_no_worker_is_started_and_nothing_is_lost(
    pool: Pool, run_dir: Path, count: int
) -> None:
    with descriptors_left(count), pytest.raises(RuntimeLoadError, match="no worker can be started"):
        pool.start_candidate(spec_of(), START_S)

    serve(pool)
    with connect(run_dir).model("digits") as model:
        assert model.infer(images_of(2)[0]).label == "2"


def test_a_restart_without_descriptors_is_tried_again(
    model: Model, pool: Pool, caplog: pytest.LogCaptureFixture
) -> None:
    first = pid_of(pool)
    with descriptors_left(0):
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: "restart failed" in caplog.text, "a restart in vain")

    assert model.infer(images_of(2)[0]).label == "2"


def test_an_application_without_descriptors_is_told(model: Model) -> None:
    image = images_of(2)[0]

    with descriptors_left(0), pytest.raises(AgentUnavailableError, match="no memory to share"):
        model.infer(image)

    assert model.infer(image).label == "2"


def an_odd_worker(folder: Path, code: str) -> None:
    """Put another program where the interpreter looks for the worker first: its current folder."""
    package = folder / "edge_agent" / "inference"
    package.mkdir(parents=True)
    for each in (package, package.parent):
        (each / "__init__.py").write_bytes(b"")
    (package / "worker.py").write_text(
        f"import socket, sys, time\nchannel = socket.socket(fileno=int(sys.argv[2]))\n{code}\n",
        encoding="utf-8",
    )


def test_a_worker_that_speaks_another_language_is_killed(
    run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    an_odd_worker(tmp_path, "channel.send(b'hello'); time.sleep(60)")
    monkeypatch.chdir(tmp_path)

    with (
        a_pool(run_dir, may_fork=False) as (pool, _),
        pytest.raises(RuntimeLoadError, match="died of SIGKILL before it was ready"),
    ):
        pool.start_candidate(spec_of(), START_S)

    assert "does not speak our language" in caplog.text


def test_a_worker_that_closes_its_channel_and_stays_is_killed(
    run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    an_odd_worker(tmp_path, "print('last words', flush=True); channel.close(); time.sleep(60)")
    monkeypatch.chdir(tmp_path)

    with (
        a_pool(run_dir, may_fork=False) as (pool, _),
        pytest.raises(RuntimeLoadError, match="died of SIGKILL before it was ready") as caught,
    ):
        pool.start_candidate(spec_of(), START_S)

    assert caught.value.faults == ("last words",)
