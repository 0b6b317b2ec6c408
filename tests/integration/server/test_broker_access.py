"""Who may connect to the broker, and what reaches whom: tested at delivery, on both brokers."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.broker.passwords import SALT_BYTES, hash_password, is_password
from tests.support.server_device import DeviceAccess, DeviceDouble
from tests.support.server_fleet import Fleet, running_fleet
from tests.support.server_process import wait_until
from tests.support.tools import require


@pytest.fixture(scope="module")
def embedded_fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    environment = {"LITEFLEET_SERVER_BROKER_KIND": "embedded"}
    with running_fleet(tmp_path_factory.mktemp("embedded"), environment=environment) as fleet:
        yield fleet


@pytest.fixture(params=["standing_fleet", "embedded_fleet"])
def any_broker(request: pytest.FixtureRequest) -> Iterator[Fleet]:
    fleet: Fleet = request.getfixturevalue(request.param)
    yield fleet
    fleet.close()


def refused(access: DeviceAccess, client_id: str | None = None) -> bool:
    """Whether the broker refuses; waits until it has said so, or let the device in."""
    device = DeviceDouble(access, client_id=client_id)
    device.start()
    try:
        wait_until(lambda: device.refusals or device.is_connected.is_set(), what="the broker's answer")
        return not device.is_connected.is_set()
    finally:
        device.stop()


def test_a_rollout_over_any_broker(any_broker: Fleet) -> None:
    any_broker.connect("ac-a0", "ac-a1", "ac-a2")
    rollout = any_broker.start_rollout("1.0.0", devices=["ac-a0", "ac-a1", "ac-a2"], phases=[0.4, 1.0])
    assert any_broker.wait_ended(rollout)["state"] == "succeeded"


def test_only_the_right_password_is_let_in(any_broker: Fleet) -> None:
    access = any_broker.enrol("ac-b0")
    assert refused(dataclasses.replace(access, password=access.password[:-1]))
    assert refused(dataclasses.replace(access, password=""))
    assert refused(dataclasses.replace(access, id="unknown"))
    assert not refused(access)


def test_devices_added_at_the_same_time_are_all_let_in_at_once(any_broker: Fleet) -> None:
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        added = list(pool.map(any_broker.enrol, [f"ac-many-{index}" for index in range(8)]))
        assert not any(pool.map(refused, added))


def test_a_device_gets_nothing_of_another_and_nothing_to_it(any_broker: Fleet) -> None:
    victim, thief = any_broker.connect("ac-c0", "ac-c1")
    prefix = victim.access.prefix
    for topic in ("#", f"{prefix}/#", f"{prefix}/+/dn/#", f"{prefix}/ac-c0/#", f"{prefix}/ac-c0/up/state"):
        thief.subscribe(topic)
    thief.publish(f"{prefix}/ac-c0/dn/desired", b'{"v":1,"revision":99,"models":{}}', retain=True)
    thief.publish(f"{prefix}/ac-c0/up/event", b"{}")
    thief.publish(f"{prefix}/_server/state", b"forged", retain=True)
    rollout = any_broker.start_rollout("1.0.0", devices=["ac-c0"])
    assert any_broker.wait_ended(rollout)["state"] == "succeeded"
    thief.send_event("sent last")
    wait_until(lambda: any_broker.device("ac-c1")["events"], what="the thief's own event")
    allowed = (f"{prefix}/ac-c1/dn/", f"{prefix}/_server/state")
    assert [topic for topic, _ in thief.received if not topic.startswith(allowed)] == []
    assert victim.revision < 99
    assert b"forged" not in {payload for _, payload in thief.received}
    with DeviceDouble(victim.access) as again:
        wait_until(lambda: again.revision == victim.revision, what="the kept document")


def test_a_new_connection_gets_nothing_that_others_left(any_broker: Fleet) -> None:
    (device,) = any_broker.connect("ac-d0")
    device.stop()
    with DeviceDouble(device.access) as again:
        wait_until(lambda: again.desired, what="its own document")
        again.send_event("sent last")
        wait_until(lambda: any_broker.device("ac-d0")["events"], what="its event")
        prefix = device.access.prefix
        allowed = (f"{prefix}/ac-d0/dn/", f"{prefix}/_server/state")
        assert [topic for topic, _ in again.received if not topic.startswith(allowed)] == []


def test_a_device_cannot_take_another_ones_session(any_broker: Fleet) -> None:
    victim, thief = any_broker.connect("ac-e0", "ac-e1")
    session = victim.session
    impostor = DeviceDouble(thief.access, client_id="ac-e0")
    impostor.start()
    # mosquitto gives it its own id instead, the embedded broker refuses it.
    wait_until(lambda: impostor.refusals or impostor.is_connected.is_set(), what="the broker's answer")
    impostor.stop()
    victim.send_event("still here")
    wait_until(lambda: any_broker.device("ac-e0")["events"], what="the victim's event")
    if any_broker.server.api("GET", "/healthz", role=None)["broker"] == "mosquitto":
        assert victim.session == session


def test_the_embedded_broker_is_announced_loudly(any_broker: Fleet) -> None:
    said = "\n".join(any_broker.server.output)
    is_embedded = any_broker.server.api("GET", "/healthz", role=None)["broker"] == "amqtt"
    assert ("WARNING: broker.kind is embedded" in said) is is_embedded


def test_password_hashes_are_those_of_mosquitto_passwd(tmp_path: Path) -> None:
    program = require("mosquitto_passwd")
    path = tmp_path / "passwords"
    subprocess.run([program, "-b", "-c", str(path), "pi", "s3cret-ü"], check=True, capture_output=True)
    kept = path.read_text().strip().partition(":")[2]
    assert is_password("s3cret-ü", kept)
    assert not is_password("s3cret-u", kept)
    assert kept.split("$")[:3] == hash_password("x", bytes(SALT_BYTES)).split("$")[:3]
