"""A real agent, broker, release server and runtime: what becomes of a desired document."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import msgspec
import pytest

from contract.deployment import Reason, State
from contract.messages import DesiredModel, EventKind
from edge_agent import connect
from tests.support.agent_bench import Bench, wait_until
from tests.support.agent_releases import (
    ANSWERS_WRONG,
    BETTER,
    CANNOT_LOAD,
    DAMAGED,
    GOOD,
    TOO_LARGE,
)
from tests.support.digits import image_of


class Application(threading.Thread):
    """Asks the model again and again, as an application beside the agent does."""

    def __init__(self, run_dir: Path) -> None:
        super().__init__(daemon=True)
        self._run_dir = run_dir
        self._stop_asking = threading.Event()
        self.answers = 0
        self.wrong: list[object] = []
        self.error: BaseException | None = None

    def run(self) -> None:
        image = image_of("7")
        try:
            with connect(self._run_dir) as agent:
                model = agent.model("digits")
                while not self._stop_asking.wait(0.002):
                    best = model.infer(image).classes[0]
                    self.answers += 1
                    if best.label != "7":
                        self.wrong.append(best)
        except BaseException as error:  # noqa: BLE001 - looked at by the test
            self.error = error

    def stop(self) -> None:
        self._stop_asking.set()
        self.join(20)
        assert self.error is None, self.error
        assert not self.wrong


def test_two_versions_are_deployed_and_no_request_fails_or_is_forgotten(device: Bench) -> None:
    device.agent.start().wait_ready()
    device.server.deploy(GOOD, "d1")
    end = device.server.wait_end("d1")
    assert end.after is State.SUCCEEDED, end
    application = Application(device.run_dir)
    application.start()
    wait_until(lambda: application.answers > 20, "the first version answers")
    device.server.deploy(BETTER, "d2", trial_s=0.6)
    end = device.server.wait_end("d2")
    assert end.after is State.SUCCEEDED, end
    application.stop()
    report = device.server.wait_reported(
        lambda model: model.version == BETTER and model.state is State.SUCCEEDED
    )
    model = report.models["digits"]
    assert (model.variant, model.deployment) == ("static-int8", "d2")
    assert model.delegate is not None
    assert (model.delegate.actual, model.delegate.nodes_delegated > 0) == ("xnnpack", True)
    assert model.threads in {1, 2}
    tuned = msgspec.json.decode((device.state_dir / "threads.json").read_bytes())["entries"]
    assert (tuned[-1]["digest"], tuned[-1]["threads"]) == (model.digest, model.threads)
    assert device.server.states("d2") == [
        State.ASSIGNED,
        State.FETCHING,
        State.STAGING,
        State.TESTING,
        State.SWITCHING,
        State.TRIAL,
        State.SUCCEEDED,
    ]
    assert end.bytes_done == 105_888 + 3_536
    wait_until(
        lambda: (
            sum(window.requests for window in device.server.windows.copy().values()) == application.answers
        ),
        "telemetry of all requests",
    )
    windows = device.server.windows.values()
    assert {window.version for window in windows if window.requests} == {GOOD, BETTER}
    assert sum(window.errors for window in windows) == 0
    assert device.server.events() == []


def test_bad_releases_are_refused_for_their_reason_and_the_old_worker_answers_on(deployed: Bench) -> None:
    workers = deployed.workers()
    assert list(workers.values()) == [GOOD]
    for version, reason in {
        ANSWERS_WRONG: Reason.SELF_TEST,
        CANNOT_LOAD: Reason.RUNTIME_LOAD,
        TOO_LARGE: Reason.INCOMPATIBLE,
        DAMAGED: Reason.DIGEST,
        "9.9.9": Reason.NOT_FOUND,
    }.items():
        deployment = f"d-{reason.value}"
        deployed.server.deploy(version, deployment)
        end = deployed.server.wait_end(deployment)
        assert (end.after, end.reason) == (State.FAILED, reason), end
        assert end.detail
        assert State.SWITCHING not in deployed.server.states(deployment)
        report = deployed.server.wait_reported(
            lambda model, name=deployment: model.deployment == name and model.state is State.FAILED  # type: ignore[misc]
        ).models["digits"]
        assert (report.version, report.reason) == (GOOD, reason)
    wait_until(lambda: deployed.workers() == workers, "the same worker, and no other")
    assert [*deployed.slot("b").rglob("*")] == [deployed.slot("b") / "artifacts"]
    with connect(deployed.run_dir) as agent:
        assert agent.model("digits").infer(image_of("7")).classes[0].label == "7"
    kinds = {(event.kind, event.reason) for event in deployed.server.events()}
    assert (EventKind.REFUSED, Reason.DIGEST) in kinds
    assert (EventKind.REFUSED, Reason.SELF_TEST) in kinds


def test_a_worker_that_crashes_in_its_trial_is_rolled_back(deployed: Bench) -> None:
    deployed.server.deploy(BETTER, "d2", trial_s=30.0)
    deployed.server.wait_change("d2", State.TRIAL)
    (crashing,) = (pid for pid, version in deployed.workers().items() if version == BETTER)
    os.kill(crashing, signal.SIGSEGV)
    end = deployed.server.wait_end("d2")
    assert (end.after, end.reason) == (State.FAILED, Reason.TRIAL), end
    assert "SIGSEGV" in end.detail
    deployed.server.wait_reported(lambda model: model.version == GOOD and model.reason is Reason.TRIAL)
    wait_until(lambda: list(deployed.workers().values()) == [GOOD], "only the old version's worker")
    with connect(deployed.run_dir) as agent:
        assert agent.model("digits").infer(image_of("7")).classes[0].label == "7"
    wait_until(
        lambda: (
            {EventKind.WORKER_CRASHED, EventKind.ROLLED_BACK} <= {e.kind for e in deployed.server.events()}
        ),
        "both events",
    )


def test_a_model_comes_from_a_server_that_fails_now_and_then_and_goes_when_it_is_not_desired(
    device: Bench,
) -> None:
    device.releases.gate.refuses = "/artifacts"
    device.agent.start().wait_ready()
    device.server.deploy(GOOD, "d1")
    wait_until(lambda: "fetching digits 1.0.0 again" in device.agent.log, "a first try that fails")
    device.releases.gate.refuses = ""
    assert device.server.wait_end("d1").after is State.SUCCEEDED
    device.server.desire({})
    device.server.wait_for(type(device.server.last_reported()), lambda r: r.revision == 2 and not r.models)
    wait_until(lambda: device.workers() == {}, "no worker")
    assert not (device.state_dir / "models" / "digits").exists()
    assert not (device.run_dir / "digits.sock").exists()


def test_a_newer_document_supersedes_a_download(device: Bench) -> None:
    device.agent.start().wait_ready()
    with device.releases.gate.holding("/artifacts"):
        device.server.deploy(GOOD, "d1")
        device.server.wait_change("d1", State.FETCHING)
        device.server.deploy(BETTER, "d2")
        assert device.server.wait_end("d1").reason is Reason.SUPERSEDED
    assert device.server.wait_end("d2").after is State.SUCCEEDED


@pytest.mark.parametrize("extra", ["[update]\nfetch_deadline_s = 1\n"])
def test_a_server_that_stays_away_fails_the_deployment_at_its_deadline(device: Bench, extra: str) -> None:
    config = device.config.read_text() + extra
    device.config.write_text(config)
    device.releases.gate.refuses = "/artifacts"
    try:
        device.agent.start().wait_ready()
        device.server.desire({"digits": DesiredModel(version=GOOD, deployment="d1")})
        end = device.server.wait_end("d1")
    finally:
        device.releases.gate.refuses = ""
    assert (end.after, end.reason) == (State.FAILED, Reason.DOWNLOAD)
