from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.inference.pool import Pool
from tests.support.gateway import RunningGateway, a_gateway
from tests.support.inference_slots import a_pool, serve, short_folder


@pytest.fixture
def run_dir() -> Iterator[Path]:
    with short_folder() as folder:
        yield folder


@pytest.fixture
def pool(run_dir: Path) -> Iterator[Pool]:
    with a_pool(run_dir) as (made, _):
        yield made


@pytest.fixture(scope="module")
def shared_pool() -> Iterator[tuple[Path, Pool]]:
    """Where a worker of digits 1.0.0 serves all tests of a module that only ask."""
    with short_folder() as folder, a_pool(folder) as (pool, _):
        serve(pool)
        yield folder, pool


@pytest.fixture(scope="module")
def gateway(shared_pool: tuple[Path, Pool]) -> Iterator[RunningGateway]:
    """A gateway that all tests of a module ask."""
    with a_gateway(shared_pool[0]) as running:
        yield running
