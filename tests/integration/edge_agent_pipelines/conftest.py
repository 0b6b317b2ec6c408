from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.inference.pool import Pool
from tests.support.inference_slots import a_pool, short_folder


@pytest.fixture
def run_dir() -> Iterator[Path]:
    with short_folder() as folder:
        yield folder


@pytest.fixture
def pool(run_dir: Path) -> Iterator[Pool]:
    with a_pool(run_dir) as (pool, crashes):
        yield pool
        assert crashes == []
