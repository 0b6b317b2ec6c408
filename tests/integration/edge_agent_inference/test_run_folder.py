"""Who owns a run folder, and what happens when it cannot be used."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from contract.errors import ConfigError, StorageError
from edge_agent import connect
from edge_agent.inference.client import Model
from edge_agent.inference.pool import Pool
from edge_agent.inference.protocol import WORKER_FOLDER, socket_name
from tests.support.inference_slots import (
    START_S,
    a_pool,
    images_of,
    serve,
    spec_of,
    wait_until,
)


@pytest.fixture
def model(pool: Pool, run_dir: Path) -> Iterator[Model]:
    serve(pool)
    with connect(run_dir).model("digits", deadline_s=START_S) as opened:
        yield opened


def test_a_run_folder_that_cannot_be_written_leaves_the_old_worker_active(
    model: Model, pool: Pool, run_dir: Path
) -> None:
    first = pool.active("digits")
    candidate = pool.start_candidate(spec_of("1.1.0"), START_S)
    link = run_dir / socket_name("digits")
    link.unlink()
    link.mkdir()

    with pytest.raises(StorageError, match="cannot be written"):
        pool.activate(candidate)

    assert pool.active("digits") == first
    link.rmdir()
    pool.activate(candidate)
    wait_until(lambda: model.infer(images_of(2)[0]).version == "1.1.0", "the switch")


def test_one_run_folder_has_one_agent(pool: Pool, run_dir: Path) -> None:
    with pytest.raises(ConfigError, match="another agent uses"):
        Pool(run_dir, print)


def test_a_run_folder_too_long_for_a_socket_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="at most 107") as caught:
        Pool(tmp_path / ("x" * 100), print)
    assert "/run/litefleet" in caught.value.remedy


def test_a_run_folder_that_cannot_be_made_is_told(run_dir: Path) -> None:
    (run_dir / "file").write_bytes(b"")

    with pytest.raises(StorageError, match="cannot be used"):
        Pool(run_dir / "file" / "run", print)


def test_a_run_folder_that_cannot_be_swept_is_told(run_dir: Path) -> None:
    (run_dir / "stuck.sock").mkdir()

    with pytest.raises(StorageError, match="cannot be used"):
        Pool(run_dir, print)
    assert (run_dir / WORKER_FOLDER).is_dir()
    (run_dir / "stuck.sock").rmdir()
    with a_pool(run_dir):
        pass
