"""A real agent with two models at once, and a pipeline and an ensemble of them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from contract.deployment import State
from contract.messages import DesiredModel
from edge_agent import connect
from tests.support.agent_bench import Bench, bench, wait_until
from tests.support.agent_releases import BETTER, GOOD, SECOND, Releases
from tests.support.asking import Asker

COMBINED = f"""
[[ensembles]]
name = "both"
models = ["digits", "{SECOND}"]

[[ensembles]]
name = "doorbell"
models = ["digits", "{SECOND}"]
method = "vote"
"""


@pytest.fixture
def combined(releases: Releases) -> Iterator[Bench]:
    """A device with two ensembles in its configuration."""
    with (
        tempfile.TemporaryDirectory(prefix="lf-") as folder,
        bench(Path(folder), releases, extra=COMBINED) as made,
    ):
        yield made
        if made.agent.is_running:
            assert made.agent.terminate() == 0, made.agent.log


def test_two_models_have_their_own_slots_workers_and_telemetry_and_one_is_switched_while_both_answer(
    combined: Bench,
) -> None:
    combined.agent.start().wait_ready()
    wanted = {
        "digits": DesiredModel(version=GOOD, deployment="d1"),
        SECOND: DesiredModel(version=GOOD, deployment="d2"),
    }
    combined.server.desire(wanted)
    for deployment in ("d1", "d2"):
        assert combined.server.wait_end(deployment).after is State.SUCCEEDED
    before = combined.workers()
    assert sorted(before.values()) == [GOOD, GOOD]
    with connect(combined.run_dir) as agent:
        askers = [Asker(agent.model(name, wait_s=10)) for name in ("digits", SECOND, "both", "doorbell")]
        for asker in askers:
            asker.start()
        wait_until(lambda: all(sum(asker.versions.values()) > 20 for asker in askers), "all answer")
        wanted[SECOND] = DesiredModel(version=BETTER, deployment="d3", trial_s=0.3)
        combined.server.desire(wanted)
        assert combined.server.wait_end("d3").after is State.SUCCEEDED
        both = f"digits@{GOOD},{SECOND}@{BETTER}"
        wait_until(lambda: all(asker.versions[both] > 20 for asker in askers[2:]), "the new version in both")
        for asker in askers:
            asker.stop()

    first, second, *_ = askers
    assert set(first.versions) == {GOOD}
    assert set(second.versions) == {GOOD, BETTER}
    wait_until(lambda: sorted(combined.workers().values()) == [GOOD, BETTER], "the end of the worker before")
    after = combined.workers()
    assert len(set(before) & set(after)) == 1
    models = combined.state_dir / "models"
    assert (models / "digits" / "slots.json").is_file()
    assert (models / SECOND / "b" / "manifest.json").is_file()
    asked = sum(sum(asker.versions.values()) for asker in askers[2:])

    def counted(model: str) -> int:
        windows = list(combined.server.windows.values())
        return sum(window.requests for window in windows if window.model == model)

    # An ensemble's request is one of each member's; one that was repeated after a switch counts twice.
    wait_until(
        lambda: counted("digits") >= sum(first.versions.values()) + asked, "telemetry of the first model"
    )
    wait_until(lambda: counted(SECOND) >= sum(second.versions.values()) + asked, "telemetry of the second")
    assert counted("digits") <= sum(first.versions.values()) + asked + 20
    assert combined.server.events() == []


def test_one_of_two_models_is_removed_and_the_other_answers_on(combined: Bench) -> None:
    combined.agent.start().wait_ready()
    combined.server.desire(
        {
            "digits": DesiredModel(version=GOOD, deployment="d1"),
            SECOND: DesiredModel(version=GOOD, deployment="d2"),
        }
    )
    assert combined.server.wait_end("d2").after is State.SUCCEEDED
    with connect(combined.run_dir) as agent:
        asker = Asker(agent.model("digits"))
        asker.start()
        combined.server.desire({"digits": DesiredModel(version=GOOD, deployment="d1")})
        wait_until(lambda: len(combined.workers()) == 1, "one worker is left")
        count = sum(asker.versions.values())
        wait_until(lambda: sum(asker.versions.values()) > count + 20, "the other answers on")
        asker.stop()
    assert not (combined.state_dir / "models" / SECOND).exists()
