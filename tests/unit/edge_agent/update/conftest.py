from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.agent_world import World


@pytest.fixture
def world() -> Iterator[World]:
    # A RAM disk where there is one: these tests sync hundreds of small files.
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        yield World(Path(folder))
