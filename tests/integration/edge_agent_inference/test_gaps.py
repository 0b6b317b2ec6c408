"""Memory that holds one worker at a time: what applications and operators notice of a version with a gap before it."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from contract.deployment import Reason, State
from contract.errors import AgentUnavailableError
from contract.messages import WIRE_VERSION, DeploymentChange, Desired, DesiredModel, Event, Reported
from edge_agent import connect
from edge_agent.crew import Crew
from edge_agent.inference.admission import RESERVE_BYTES, WORKER_BYTES, Swap
from edge_agent.inference.asking import Inference
from edge_agent.inference.async_client import connect_async
from edge_agent.inference.engine import UNPROVED
from edge_agent.inference.pool import Pool
from edge_agent.telemetry.health import Health
from edge_agent.update.actions import Actions
from edge_agent.update.doors import Origin
from edge_agent.update.fetch_protocol import Fetched, FetchJob
from edge_agent.update.journal import Journal
from edge_agent.update.models import Models
from edge_agent.update.runner import Runner
from tests.support.builders import some_capabilities
from tests.support.inference_slots import (
    START_S,
    a_slot,
    fixed_threads,
    golden_arrays,
    images_of,
    is_running,
    manifest_of,
    npz_of,
    serve,
    slot_of,
    wait_until,
)

ROOM = manifest_of("1.1.0").variants[0].peak_memory_bytes + WORKER_BYTES + RESERVE_BYTES - 1
IMAGE = images_of(2)[0]


class Told:
    """The door ``Reporter``, and what a crew tells of gaps."""

    def __init__(self) -> None:
        self.gaps: list[tuple[str, str, str]] = []
        self.changes: list[DeploymentChange] = []

    def on_gap(self, model: str, version: str, words: str) -> None:
        self.gaps.append((model, version, words))

    def send_change(self, change: DeploymentChange) -> None:
        self.changes.append(change)

    def send_reported(self, reported: Reported) -> None:
        """Nothing of it matters here."""

    def send_event(self, event: Event) -> None:
        """Nothing of it matters here."""


class FromFolders:
    """The door ``Fetcher``: versions that are on the disk already.

    Args:
        folders: By version.
    """

    def __init__(self, folders: dict[str, Path]) -> None:
        self._folders = folders

    def fetch(
        self, job: FetchJob, on_progress: Callable[[int, int], None], should_stop: Callable[[], bool]
    ) -> Fetched | None:
        del on_progress, should_stop
        shutil.copytree(self._folders[job.version], job.slot_dir, dirs_exist_ok=True)
        return Fetched(manifest_sha256="0" * 64, variant="static-int8", bytes_total=1, bytes_downloaded=1)


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def crew(pool: Pool, told: Told) -> Crew:
    return Crew(
        pool,
        fixed_threads(),
        START_S,
        START_S,
        lambda: UNPROVED,
        Swap.GAP,
        lambda: ROOM,
        on_gap=told.on_gap,
    )


def test_in_a_gap_an_application_waits_for_the_next_version(pool: Pool, crew: Crew, run_dir: Path) -> None:
    serve(pool)
    with connect(run_dir).model("digits") as model:
        assert model.infer(IMAGE).version == "1.0.0"
        crew.admit("digits", "1.1.0", slot_of("1.1.0"))
        answers: list[Inference] = []
        asking = threading.Thread(target=lambda: answers.append(model.infer(IMAGE, deadline_s=START_S)))
        asking.start()
        crew.activate(crew.start("digits", "1.1.0", slot_of("1.1.0")))
        asking.join(START_S)
        assert [answer.version for answer in answers] == ["1.1.0"]


def test_who_waits_in_vain_in_a_gap_is_told_why(pool: Pool, crew: Crew, run_dir: Path) -> None:
    serve(pool)
    with connect(run_dir).model("digits") as model:
        model.infer(IMAGE)
        crew.admit("digits", "1.1.0", slot_of("1.1.0"))
        with pytest.raises(AgentUnavailableError, match="digits is between two versions") as caught:
            model.infer(IMAGE, deadline_s=0.2)
        assert "try again" in caught.value.remedy

    async def ask() -> None:
        async with connect_async(run_dir) as agent:
            await agent.model("digits").infer(IMAGE, deadline_s=0.2)

    with pytest.raises(AgentUnavailableError, match="digits is between two versions"):
        asyncio.run(ask())


def test_an_operator_is_told_when_a_gap_begins_and_how_long_it_was(
    pool: Pool, crew: Crew, told: Told
) -> None:
    serve(pool)
    crew.admit("digits", "1.1.0", slot_of("1.1.0"))
    ((model, version, words),) = told.gaps
    assert (model, version) == ("digits", "1.0.0")
    assert words.startswith("ends before 1.1.0 is tested, memory holds one of them: it takes ")

    crew.activate(crew.start("digits", "1.1.0", slot_of("1.1.0")))
    ((model, version, words),) = told.gaps[1:]
    assert (model, version) == ("digits", "1.1.0")
    assert words.startswith("answers, after ")
    crew.activate(crew.start("digits", "1.0.0", slot_of("1.0.0")))
    assert len(told.gaps) == 2, "without a gap there is nothing to tell"


def test_a_candidate_that_ends_in_a_gap_has_given_its_memory_back(pool: Pool, crew: Crew) -> None:
    serve(pool)
    crew.admit("digits", "1.1.0", slot_of("1.1.0"))
    candidate = crew.start("digits", "1.1.0", slot_of("1.1.0"))
    crew.discard(candidate)
    assert not is_running(candidate.pid)


def test_a_model_that_is_withdrawn_in_its_gap_is_not_deployed_any_more(
    pool: Pool, crew: Crew, run_dir: Path
) -> None:
    serve(pool)
    crew.admit("digits", "1.1.0", slot_of("1.1.0"))
    assert (run_dir / "digits.sock").is_symlink()
    crew.withdraw("digits")
    assert not (run_dir / "digits.sock").is_symlink()
    assert crew.gaps == {}


@pytest.fixture
def wrong(tmp_path: Path) -> Path:
    """Version 1.2.0, which does not answer as it should."""
    arrays = golden_arrays()
    expected = "expected.static-int8.probabilities"
    arrays[expected] = arrays[expected][:, ::-1].copy()
    return a_slot(tmp_path / "wrong", golden=npz_of(arrays), version="1.2.0")


@pytest.fixture
def runner(pool: Pool, crew: Crew, told: Told, tmp_path: Path, wrong: Path) -> Iterator[Runner]:
    """Everything that deploys, on this pool."""
    models = Models(tmp_path / "models", Journal(tmp_path / "models", tmp_path), crew)
    origin = Origin(
        server_url="http://127.0.0.1:1",
        root=tmp_path / "root.json",
        trust_dir=tmp_path / "trust",
        profile=manifest_of().profile,
        capabilities=some_capabilities,
    )
    fetcher = FromFolders({"1.0.0": slot_of("1.0.0"), "1.1.0": slot_of("1.1.0"), "1.2.0": wrong})
    actions = Actions(origin, fetcher, crew, Health(pool.take_windows), models.slots, fetch_deadline_s=0.0)
    runner = Runner(models, actions, told, on_up=lambda: None, on_end=lambda _: None)
    runner.start()
    yield runner
    runner.stop()
    assert runner.join(START_S)


def desire(runner: Runner, told: Told, revision: int, version: str) -> DeploymentChange:
    """Have a version deployed; how that ended."""
    deployment = f"d{revision}"
    wanted = DesiredModel(version=version, deployment=deployment)
    runner.submit(Desired(v=WIRE_VERSION, revision=revision, models={"digits": wanted}))

    def ends() -> list[DeploymentChange]:
        over = {State.SUCCEEDED, State.FAILED}
        return [each for each in told.changes if each.deployment == deployment and each.after in over]

    wait_until(lambda: bool(ends()), f"the end of {deployment}", START_S)
    return ends()[0]


def test_a_candidate_that_fails_in_its_gap_brings_the_old_version_back(
    pool: Pool, told: Told, runner: Runner, run_dir: Path
) -> None:
    assert desire(runner, told, 1, "1.0.0").after is State.SUCCEEDED
    first = pool.active("digits")
    assert first is not None
    with connect(run_dir).model("digits") as model:
        assert model.infer(IMAGE).version == "1.0.0"
        end = desire(runner, told, 2, "1.2.0")
        assert (end.after, end.reason) == (State.FAILED, Reason.SELF_TEST)
        assert model.infer(IMAGE).version == "1.0.0"
    second = pool.active("digits")
    assert second is not None
    assert second.pid != first.pid
    assert not is_running(first.pid)
    assert [version for _, version, _ in told.gaps] == ["1.0.0", "1.0.0"]
    assert told.gaps[1][2].startswith("answers, after ")


def test_versions_follow_each_other_with_gaps(pool: Pool, told: Told, runner: Runner, run_dir: Path) -> None:
    for revision, version in enumerate(["1.0.0", "1.1.0", "1.0.0"], 1):
        assert desire(runner, told, revision, version).after is State.SUCCEEDED
        with connect(run_dir).model("digits") as model:
            assert model.infer(IMAGE).version == version
    assert [version for _, version, _ in told.gaps] == ["1.0.0", "1.1.0", "1.1.0", "1.0.0"]
