from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.inference.pool import Crash, Pool
from tests.support.inference_slots import a_pool, short_folder


@pytest.fixture
def run_dir() -> Iterator[Path]:
    with short_folder() as folder:
        yield folder


@pytest.fixture
def pool_and_crashes(run_dir: Path) -> Iterator[tuple[Pool, list[Crash]]]:
    with a_pool(run_dir) as both:
        yield both


@pytest.fixture
def pool(pool_and_crashes: tuple[Pool, list[Crash]]) -> Pool:
    return pool_and_crashes[0]
