from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.e2e_fleet import RealFleet, pack, real_fleet
from tests.support.tools import require


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The healthy versions of digits, packed once."""
    output = tmp_path_factory.mktemp("bundles")
    return {version: pack(version, output) for version in ("1.0.0", "1.1.0", "1.3.0")}


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, bundles: dict[str, Path]) -> Iterator[RealFleet]:
    """Three devices that answer with 1.0.0; each test leaves all of them with one version."""
    require("mosquitto")
    with real_fleet(tmp_path_factory.mktemp("f"), devices=3) as running:
        running.publish(*bundles.values())
        running.roll_out("1.0.0")
        yield running
