from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from contract.deployment import Reason, State
from contract.messages import COUNT_MAX, Ack, ChunkRequest, DeviceState, Message, Telemetry
from server.ingest.intake import Effects, take_in
from server.rollout.orders import RolloutOrder
from server.rollout.service import RolloutService
from server.storage.repository import Storage
from server.storage.rollouts import DeploymentRecord
from tests.support.server_device import a_window
from tests.support.server_storage import NOON, a_change, a_report, a_storage, inbound

LATER = NOON + timedelta(hours=1)


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    with a_storage(tmp_path, "d", "e") as made:
        yield made


def take(storage: Storage, device: str, *messages: Message, is_retained: bool = False) -> Effects:
    effects = Effects()
    with storage.write() as rows:
        for message in messages:
            take_in(rows, inbound(device, message, is_retained=is_retained), effects, LATER)
    return effects


def assigned(storage: Storage) -> str:
    """A deployment of digits 1.0.0 that was just assigned to device d."""
    service = RolloutService(storage, lambda _: None)
    rollout = service.create(RolloutOrder("digits", "1.0.0", ["d"], (1.0,)))
    with storage.read() as rows:
        (deployment,) = rows.rollouts.deployments(rollout.id)
    assert deployment.state is State.ASSIGNED
    return deployment.id


def record(storage: Storage, deployment: str) -> DeploymentRecord:
    with storage.read() as rows:
        found = rows.rollouts.deployment(deployment)
    assert found is not None
    return found


def birth(session: int, *, online: bool = True) -> DeviceState:
    return DeviceState(v=1, online=online, boot="b1", session=session, agent_version="0.2.0", sent_at=NOON)


def test_a_message_of_an_unknown_device_changes_nothing(storage: Storage) -> None:
    effects = take(
        storage, "stranger", birth(1), a_report(), Telemetry(v=1, boot="b", windows=(a_window(0),))
    )
    assert effects == Effects()


def test_telemetry_is_acknowledged_up_to_its_newest_window(storage: Storage) -> None:
    first = Telemetry(v=1, boot="b1", windows=(a_window(4), a_window(5)))
    again = Telemetry(v=1, boot="b1", windows=(a_window(4),))
    other = Telemetry(v=1, boot="b2", windows=(a_window(0),))
    effects = take(storage, "d", first, again, other, Telemetry(v=1, boot="b3", windows=()))
    assert effects.acks == {
        ("d", "b1"): Ack(v=1, boot="b1", seq=5),
        ("d", "b2"): Ack(v=1, boot="b2", seq=0),
    }
    assert effects.seen == {"d"}
    assert not effects.wakes_rollouts


def test_a_birth_asks_for_the_document_and_wakes_the_rollouts(storage: Storage) -> None:
    effects = take(storage, "d", birth(2))
    assert effects.resends == {"d"}
    assert effects.wakes_rollouts
    with storage.read() as rows:
        device = rows.devices.find("d")
    assert device is not None
    assert (device.session, device.agent_version, device.online) == (2, "0.2.0", True)


def test_a_will_of_an_older_session_changes_nothing(storage: Storage) -> None:
    take(storage, "d", birth(3))
    effects = take(storage, "d", birth(2, online=False))
    assert not effects.wakes_rollouts
    with storage.read() as rows:
        assert "d" in rows.devices.online()


def test_what_the_broker_kept_is_no_sign_of_life(storage: Storage) -> None:
    assert take(storage, "d", a_report(), is_retained=True).seen == set()


def test_changes_are_followed_step_by_step_to_the_end(storage: Storage) -> None:
    deployment = assigned(storage)
    effects = take(storage, "d", a_change(deployment, State.FETCHING, step=1))
    assert effects.wakes_rollouts
    found = record(storage, deployment)
    assert (found.state, found.step, found.bytes_done, found.seconds) == (State.FETCHING, 1, 7, 1.5)
    assert found.ended_at is None
    take(storage, "d", a_change(deployment, State.FAILED, step=5, reason=Reason.DIGEST))
    found = record(storage, deployment)
    assert (found.state, found.reason, found.detail) == (State.FAILED, Reason.DIGEST, "said the device")
    assert found.ended_at == LATER


def test_a_change_of_an_older_step_is_ignored(storage: Storage) -> None:
    deployment = assigned(storage)
    effects = take(storage, "d", a_change(deployment, State.TESTING, step=3))
    for step in (2, 3):
        effects = take(storage, "d", a_change(deployment, State.FAILED, step=step, reason=Reason.DIGEST))
    assert not effects.wakes_rollouts
    assert record(storage, deployment).state is State.TESTING


def test_after_its_end_a_deployment_does_not_change(storage: Storage) -> None:
    deployment = assigned(storage)
    take(storage, "d", a_change(deployment, State.SUCCEEDED, step=6))
    take(storage, "d", a_change(deployment, State.FAILED, step=7, reason=Reason.TRIAL))
    assert record(storage, deployment).state is State.SUCCEEDED


def test_another_devices_word_about_a_deployment_does_not_count(storage: Storage) -> None:
    deployment = assigned(storage)
    take(storage, "e", a_change(deployment, State.SUCCEEDED, step=6))
    take(storage, "e", a_report(deployment=deployment, state=State.SUCCEEDED))
    assert record(storage, deployment).state is State.ASSIGNED


def test_a_failure_without_a_reason_is_the_devices(storage: Storage) -> None:
    deployment = assigned(storage)
    take(storage, "d", a_report(deployment=deployment, state=State.FAILED))
    assert record(storage, deployment).reason is Reason.DEVICE


def test_a_report_tells_that_a_deployment_began_and_how_it_ended(storage: Storage) -> None:
    deployment = assigned(storage)
    take(storage, "d", a_report(deployment=deployment, state=State.STAGING))
    assert record(storage, deployment).state is State.STAGING
    take(storage, "d", a_report(deployment=deployment, state=State.TRIAL))
    assert record(storage, deployment).state is State.STAGING
    take(storage, "d", a_report(deployment=deployment, state=State.SUCCEEDED))
    found = record(storage, deployment)
    assert (found.state, found.reason, found.ended_at) == (State.SUCCEEDED, None, LATER)


def test_a_report_that_names_no_deployment_is_kept(storage: Storage) -> None:
    take(storage, "d", a_report(revision=0, version="1.0.0"))
    with storage.read() as rows:
        assert rows.devices.reported("d") == a_report(revision=0, version="1.0.0")


@pytest.mark.parametrize(
    ("revision", "resends", "after"),
    [(0, {"d"}, 1), (1, set(), 1), (8, {"d"}, 9), (COUNT_MAX, {"d"}, COUNT_MAX)],
)
def test_the_document_follows_the_reported_revision(
    storage: Storage, revision: int, resends: set[str], after: int
) -> None:
    with storage.write() as rows:
        before = rows.devices.desired("d")
        assert before is not None
        rows.devices.set_desired("d", before.document.__class__(v=1, revision=1, models={}), at=LATER)
    assert take(storage, "d", a_report(revision)).resends == resends
    with storage.read() as rows:
        desired = rows.devices.desired("d")
    assert desired is not None
    assert desired.document.revision == after


def test_a_message_that_the_server_has_no_use_for_is_passed_over(storage: Storage) -> None:
    effects = take(storage, "d", ChunkRequest(v=1, transfer="t", chunks=(1,)))
    assert effects == Effects(seen={"d"})
