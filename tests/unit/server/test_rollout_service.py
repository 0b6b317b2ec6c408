from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from contract.deployment import Reason, State
from contract.errors import ConflictError, IncompatibleError, LitefleetError, ManifestError, NotFoundError
from contract.messages import DesiredModel
from server.ingest.intake import Effects, take_in
from server.rollout.desired import with_model
from server.rollout.engine import RolloutState
from server.rollout.orders import RolloutOrder, desired_document
from server.rollout.service import RolloutService
from server.storage.repository import Storage
from server.storage.rollouts import DeploymentRecord
from tests.support.server_storage import NOON, OTHER_PROFILE, a_change, a_report, a_storage, inbound


class Bench:
    """A rollout service over a real database; devices answer when the test says so."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.sent: list[str] = []
        self.service = RolloutService(storage, self.sent.append)

    def start(self, version: str = "1.0.0", *, shares: tuple[float, ...] = (1.0,)) -> str:
        return self.service.create(RolloutOrder("digits", version, None, shares)).id

    def deployments(self, rollout: str) -> dict[str, DeploymentRecord]:
        with self.storage.read() as rows:
            return {entry.device: entry for entry in rows.rollouts.deployments(rollout)}

    def states(self, rollout: str) -> dict[str, State | None]:
        return {device: entry.state for device, entry in self.deployments(rollout).items()}

    def wanted(self, device: str) -> DesiredModel | None:
        with self.storage.read() as rows:
            return desired_document(rows, device).models.get("digits")

    def report(self, device: str, **model: Any) -> None:
        with self.storage.write() as rows:
            take_in(rows, inbound(device, a_report(**model)), Effects(), NOON)

    def end(self, rollout: str, device: str, state: State, reason: Reason | None = None) -> None:
        """A device's deployment ends; the service is told."""
        deployment = self.deployments(rollout)[device].id
        with self.storage.write() as rows:
            message = a_change(deployment, state, step=9, reason=reason)
            take_in(rows, inbound(device, message), Effects(), datetime.now(timezone.utc))
        self.service.advance_all()

    def go_offline(self, device: str) -> None:
        with self.storage.write() as rows:
            rows.devices.set_presence(device, online=False, boot="b1", session=1, agent_version="")


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with a_storage(tmp_path, "a", "b", "c") as storage:
        yield Bench(storage)


def test_all_devices_of_the_releases_profiles_take_part(bench: Bench) -> None:
    with bench.storage.write() as rows:
        rows.devices.add("other", profile=OTHER_PROFILE, password_hash="h", at=NOON)
    rollout = bench.start()
    assert bench.states(rollout) == dict.fromkeys(["a", "b", "c"], State.ASSIGNED)
    assert bench.sent == ["a", "b", "c"]
    wanted = bench.wanted("a")
    assert wanted is not None
    assert (wanted.version, wanted.rollout) == ("1.0.0", rollout)


def test_a_document_is_committed_before_it_is_sent(bench: Bench) -> None:
    seen: list[DesiredModel | None] = []
    bench.service = RolloutService(bench.storage, lambda device: seen.append(bench.wanted(device)))
    bench.start()
    assert [wanted.version if wanted else None for wanted in seen] == ["1.0.0"] * 3


@pytest.mark.parametrize(
    ("order", "error", "words"),
    [
        (RolloutOrder("Digits!", "1.0.0", None, (1.0,)), ManifestError, "model name"),
        (RolloutOrder("digits", "one", None, (1.0,)), ManifestError, "version"),
        (RolloutOrder("digits", "1.0.0", None, (0.5,)), ManifestError, "the last share"),
        (RolloutOrder("digits", "1.0.9", None, (1.0,)), NotFoundError, "did you mean '1.0.0'"),
        (RolloutOrder("digits", "1.0.0", [], (1.0,)), NotFoundError, "at least one device"),
        (RolloutOrder("digits", "1.0.0", ["a", "x", "y"], (1.0,)), NotFoundError, "unknown devices: x, y"),
        (RolloutOrder("digits", "1.0.0", ["a", "other"], (1.0,)), IncompatibleError, "other is a"),
    ],
)
def test_an_order_that_cannot_work_is_refused_and_changes_nothing(
    bench: Bench, order: RolloutOrder, error: type[LitefleetError], words: str
) -> None:
    with bench.storage.write() as rows:
        rows.devices.add("other", profile=OTHER_PROFILE, password_hash="h", at=NOON)
    with pytest.raises(error) as refused:
        bench.service.create(order)
    assert words in refused.value.summary()
    with bench.storage.read() as rows:
        assert rows.rollouts.newest(10) == []
    assert bench.sent == []


def test_an_order_for_a_profile_that_nobody_has_is_refused(tmp_path: Path) -> None:
    with a_storage(tmp_path) as storage, pytest.raises(NotFoundError, match="no device has a profile"):
        Bench(storage).start()


def test_an_order_for_an_unknown_model_names_the_known_ones(bench: Bench) -> None:
    with pytest.raises(NotFoundError) as refused:
        bench.service.create(RolloutOrder("faces", "1.0.0", None, (1.0,)))
    assert refused.value.remedy == "known: digits"


def test_an_order_on_an_empty_server_says_to_publish(tmp_path: Path) -> None:
    storage = Storage(tmp_path / "litefleet.db")
    with pytest.raises(NotFoundError) as refused:
        Bench(storage).start()
    assert refused.value.remedy == "publish one first"
    storage.close()


def test_two_rollouts_of_a_model_do_not_meet_on_a_device(bench: Bench) -> None:
    first = bench.service.create(RolloutOrder("digits", "1.0.0", ["a"], (1.0,)))
    with pytest.raises(ConflictError) as refused:
        bench.start("1.1.0")
    assert f"litefleet rollouts stop {first.id}" in refused.value.remedy
    beside = bench.service.create(RolloutOrder("digits", "1.1.0", ["b", "c"], (1.0,)))
    assert beside.state is RolloutState.RUNNING


def test_a_device_that_holds_too_much_refuses_the_whole_order(bench: Bench) -> None:
    with bench.storage.write() as rows:
        document = desired_document(rows, "b")
        for index in range(32):
            document = with_model(document, f"m{index}", DesiredModel(version="1.0.0", deployment="d"))
        rows.devices.set_desired("b", document, at=NOON)
    with pytest.raises(ConflictError, match="at most 32 models"):
        bench.start()
    assert bench.wanted("a") is None


def test_a_server_that_died_between_two_steps_goes_on(bench: Bench) -> None:
    rollout = bench.start(shares=(0.3, 1.0))
    (canary,) = (device for device, state in bench.states(rollout).items() if state is State.ASSIGNED)
    deployment = bench.deployments(rollout)[canary].id
    with bench.storage.write() as rows:
        take_in(rows, inbound(canary, a_change(deployment, State.SUCCEEDED)), Effects(), NOON)
    another = Bench(bench.storage)
    another.service.advance_all()
    assert list(another.states(rollout).values()).count(State.ASSIGNED) == 2
    assert len(another.sent) == 2
    another.service.advance_all()
    assert len(another.sent) == 2


def test_a_failed_device_is_set_back_to_what_it_ran(bench: Bench) -> None:
    bench.report("a", version="0.9.0", state=State.SUCCEEDED, deployment="old")
    rollout = bench.start()
    assert bench.deployments(rollout)["a"].previous_version == "0.9.0"
    before = bench.wanted("a")
    bench.end(rollout, "a", State.FAILED, Reason.SELF_TEST)
    after = bench.wanted("a")
    assert before is not None
    assert after is not None
    assert (after.version, after.rollout) == ("0.9.0", "")
    assert after.deployment != before.deployment
    assert bench.sent.count("a") == 2


def test_a_device_in_the_middle_of_something_is_set_back_to_what_was_wanted(bench: Bench) -> None:
    with bench.storage.write() as rows:
        wanted = DesiredModel(version="0.8.0", deployment="set-back")
        document = with_model(desired_document(rows, "a"), "digits", wanted)
        rows.devices.set_desired("a", document, at=NOON)
    bench.report("a", version="0.9.0", state=State.TRIAL, deployment="withdrawn")
    rollout = bench.start()
    assert bench.deployments(rollout)["a"].previous_version == "0.8.0"


def test_after_a_failure_offline_devices_are_withdrawn_and_running_ones_awaited(bench: Bench) -> None:
    rollout = bench.start()
    bench.go_offline("b")
    bench.end(rollout, "a", State.FAILED, Reason.TRIAL)
    assert bench.states(rollout) == {"a": State.FAILED, "b": State.FAILED, "c": State.ASSIGNED}
    assert bench.deployments(rollout)["b"].reason is Reason.SUPERSEDED
    assert bench.wanted("b") is None
    assert bench.service.find(rollout).state is RolloutState.RUNNING
    bench.end(rollout, "c", State.SUCCEEDED)
    found = bench.service.find(rollout)
    assert (found.state, found.reason) == (RolloutState.STOPPED, "trial")
    kept = bench.wanted("c")
    assert kept is not None
    assert kept.version == "1.0.0"


def test_a_late_failure_does_not_undo_a_newer_rollout(bench: Bench) -> None:
    rollout = bench.start()
    deployment = bench.deployments(rollout)["a"]
    with bench.storage.write() as rows:
        newer = DesiredModel(version="1.1.0", deployment="newer")
        rows.devices.set_desired("a", with_model(desired_document(rows, "a"), "digits", newer), at=NOON)
    bench.end(rollout, "a", State.FAILED, Reason.SUPERSEDED)
    assert bench.wanted("a") == newer
    assert bench.deployments(rollout)["a"].is_set_back
    assert deployment.id != newer.deployment


def test_stopping_what_has_ended_changes_nothing(bench: Bench) -> None:
    bench.report("a", version="1.0.0")
    rollout = bench.service.create(RolloutOrder("digits", "1.0.0", ["a"], (1.0,)))
    assert rollout.state is RolloutState.SUCCEEDED
    assert bench.service.stop(rollout.id).state is RolloutState.SUCCEEDED


def test_a_rollout_that_does_not_exist_is_not_found(bench: Bench) -> None:
    for ask in (bench.service.find, bench.service.stop, bench.service.advance):
        with pytest.raises(NotFoundError):
            ask("nothing")
    with bench.storage.read() as rows, pytest.raises(NotFoundError):
        desired_document(rows, "nobody")
