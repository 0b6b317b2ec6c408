from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from contract.deployment import State
from tests.support.agent_bench import Bench, bench, start_deployed
from tests.support.agent_releases import GOOD, Releases, releases_served


@pytest.fixture(scope="session")
def releases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Releases]:
    with releases_served(tmp_path_factory.mktemp("releases")) as served:
        yield served


@pytest.fixture(scope="session")
def prepared(releases: Releases) -> Iterator[Path]:
    """A state folder where 1.0.0 was deployed as ``d1`` with revision 1, by a real agent."""
    with tempfile.TemporaryDirectory(prefix="lf-") as folder:
        with bench(Path(folder), releases) as made:
            made.agent.start().wait_ready()
            made.server.deploy(GOOD, "d1")
            assert made.server.wait_end("d1").after is State.SUCCEEDED
            assert made.agent.terminate() == 0
        yield made.state_dir


@pytest.fixture
def deployed(device: Bench, prepared: Path) -> Bench:
    """A device whose agent runs 1.0.0, deployed as ``d1`` with revision 1."""
    start_deployed(device, prepared)
    return device


@pytest.fixture
def device(releases: Releases) -> Iterator[Bench]:
    # Socket paths are short (sun_path has 108 bytes), and pytest's own folders are not.
    with tempfile.TemporaryDirectory(prefix="lf-") as folder, bench(Path(folder), releases) as made:
        yield made
        if made.agent.is_running:
            assert made.agent.terminate() == 0, made.agent.log
