from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.agent_bench import Bench, bench
from tests.support.agent_releases import Releases, releases_served


@pytest.fixture(scope="session")
def releases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Releases]:
    with releases_served(tmp_path_factory.mktemp("releases")) as served:
        yield served


@pytest.fixture
def device(releases: Releases) -> Iterator[Bench]:
    # Socket paths are short (sun_path has 108 bytes), and pytest's own folders are not.
    with tempfile.TemporaryDirectory(prefix="lf-") as folder, bench(Path(folder), releases) as made:
        yield made
