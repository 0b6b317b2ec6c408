from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.server_fleet import Fleet, running_fleet
from tests.support.tools import require


@pytest.fixture(scope="session")
def standing_fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """One server on mosquitto for all tests."""
    require("mosquitto")
    with running_fleet(tmp_path_factory.mktemp("fleet")) as running:
        yield running


@pytest.fixture
def fleet(standing_fleet: Fleet) -> Iterator[Fleet]:
    """The one server; the test's own devices go at its end, so each test takes names of its own."""
    yield standing_fleet
    standing_fleet.close()
