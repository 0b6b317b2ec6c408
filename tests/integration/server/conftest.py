from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.server_fleet import Fleet, running_fleet
from tests.support.tools import require


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    """A server of its own, on mosquitto."""
    require("mosquitto")
    with running_fleet(tmp_path) as running:
        yield running


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """One server for all tests of a module that leave it usable."""
    require("mosquitto")
    with running_fleet(tmp_path_factory.mktemp("fleet")) as running:
        yield running
