from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.agent_world import RAM_DISK, World


@pytest.fixture
def world() -> Iterator[World]:
    with tempfile.TemporaryDirectory(dir=RAM_DISK) as folder:
        yield World(Path(folder))
