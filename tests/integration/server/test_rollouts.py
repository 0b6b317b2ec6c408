"""Rollouts over the real broker, with devices that speak the contract."""

from __future__ import annotations

import os
import signal

import pytest

from contract.deployment import Reason
from tests.support.server_device import DeviceDouble
from tests.support.server_fleet import Fleet
from tests.support.server_process import ApiError, is_alive, wait_until


def names(count: int, prefix: str) -> list[str]:
    return [f"{prefix}{index}" for index in range(count)]


def wait_for_model(fleet: Fleet, device: str, **expected: str) -> None:
    def is_there() -> bool:
        model = fleet.device(device)["models"]["digits"]
        return {key: model[key] for key in expected} == expected

    wait_until(is_there, what=f"{device} with {expected}")


def test_canary_succeeds_then_everybody_gets_it(fleet: Fleet) -> None:
    devices = fleet.connect(*(group := names(5, "ro-a")))
    rollout = fleet.wait_ended(fleet.start_rollout("1.0.0", devices=group, phases=[0.4, 1.0], trial_s=0.5))
    assert (rollout["state"], rollout["reason"], rollout["phase"]) == ("succeeded", "", 1)
    assert rollout["phases"] == [
        {"share": 0.4, "devices": 2, "succeeded": 2, "failed": 0},
        {"share": 1.0, "devices": 3, "succeeded": 3, "failed": 0},
    ]
    assert {device.version_of("digits") for device in devices} == {"1.0.0"}
    wanted = devices[0].desired[-1].models["digits"]
    assert (wanted.version, wanted.rollout, wanted.trial_s) == ("1.0.0", rollout["id"], 0.5)
    known = fleet.device("ro-a0")
    assert known["models"]["digits"]["desired"] == known["models"]["digits"]["version"] == "1.0.0"
    assert known["revision_desired"] == known["revision_reported"] == 1
    ends = [(entry["state"], entry["bytes_done"] > 0) for entry in rollout["deployments"]]
    assert ends == [("succeeded", True)] * 5


def test_canary_fails_then_the_rollout_stops_and_the_device_gets_its_old_version_back(fleet: Fleet) -> None:
    devices = fleet.connect(*(group := names(3, "ro-b")))
    fleet.wait_ended(fleet.start_rollout("1.0.0", devices=group))
    for device in devices:
        device.failing["1.1.0"] = Reason.SELF_TEST
    rollout = fleet.wait_ended(fleet.start_rollout("1.1.0", devices=group, phases=[0.3, 1.0]))
    assert (rollout["state"], rollout["reason"], rollout["phase"]) == ("stopped", "self-test", 0)
    states = {entry["device"]: entry["state"] for entry in rollout["deployments"]}
    assert sorted(map(str, states.values())) == ["None", "None", "failed"]
    (canary,) = (name for name, state in states.items() if state == "failed")
    for name in states:
        wait_for_model(fleet, name, state="succeeded", desired="1.0.0", version="1.0.0")
    documents = {document.revision: document for document in fleet.devices[canary].desired}
    wanted = [documents[revision].models["digits"] for revision in (1, 2, 3)]
    assert [each.version for each in wanted] == ["1.0.0", "1.1.0", "1.0.0"]
    assert len({each.deployment for each in wanted}) == 3
    untouched = next(name for name in states if name != canary)
    assert fleet.devices[untouched].desired[-1].models["digits"].version == "1.0.0"


def test_a_first_version_that_fails_is_taken_out_of_desired(fleet: Fleet) -> None:
    (device,) = fleet.connect("ro-c0")
    device.failing["1.0.0"] = Reason.RUNTIME_LOAD
    rollout = fleet.wait_ended(fleet.start_rollout("1.0.0", devices=["ro-c0"]))
    assert rollout["reason"] == "runtime-load"
    wait_until(lambda: fleet.device("ro-c0")["models"] == {}, what="nothing is desired")
    assert device.desired[-1].models == {}


def test_lost_state_changes_do_not_hold_up_the_rollout(fleet: Fleet) -> None:
    (device, other) = fleet.connect("ro-d0", "ro-d1")
    device.is_silent = other.is_silent = True
    rollout = fleet.wait_ended(fleet.start_rollout("1.0.0", devices=["ro-d0", "ro-d1"], phases=[0.5, 1.0]))
    assert rollout["state"] == "succeeded"


def test_an_offline_device_keeps_its_phase_waiting_and_catches_up(fleet: Fleet) -> None:
    access = fleet.enrol("late")
    rollout = fleet.start_rollout("1.0.0", devices=["late"])
    assert fleet.rollout(rollout)["deployments"][0]["state"] == "assigned"
    with DeviceDouble(access):
        assert fleet.wait_ended(rollout)["state"] == "succeeded"


def test_devices_that_run_the_version_succeed_at_once_even_offline(fleet: Fleet) -> None:
    (device,) = fleet.connect("ro-f0")
    fleet.wait_ended(fleet.start_rollout("1.0.0", devices=["ro-f0"]))
    device.stop()
    fleet.wait_online("ro-f0", online=False)
    again = fleet.start_rollout("1.0.0", devices=["ro-f0"])
    assert fleet.rollout(again)["state"] == "succeeded"


def test_stopped_by_the_operator_takes_back_what_has_not_ended(fleet: Fleet) -> None:
    (device,) = fleet.connect("ro-g0")
    offline = fleet.enrol("ro-g1")
    fleet.wait_ended(fleet.start_rollout("1.0.0", devices=["ro-g0"]))
    device.holding.add("1.1.0")
    rollout = fleet.start_rollout("1.1.0", devices=["ro-g0", "ro-g1"])
    wait_until(lambda: device.version_of("digits") == "1.0.0" and device._held, what="it fetches")
    with pytest.raises(ApiError) as refused:
        fleet.start_rollout("1.1.0", devices=["ro-g0", "ro-g1"])
    assert (refused.value.status, refused.value.body["code"]) == (409, "conflict")
    stopped = fleet.server.api("POST", f"/api/v1/rollouts/{rollout}/stop")
    assert (stopped["state"], stopped["reason"]) == ("stopped", "operator")
    assert {entry["reason"] for entry in stopped["deployments"]} == {"superseded"}
    wait_until(lambda: device.desired[-1].models["digits"].version == "1.0.0", what="set back")
    with DeviceDouble(offline) as late:
        wait_until(lambda: late.desired, what="the document of the offline device")
        assert late.desired[-1].models == {}
    assert fleet.server.api("POST", f"/api/v1/rollouts/{rollout}/stop") == stopped


def test_other_models_stay_as_they_are(fleet: Fleet) -> None:
    fleet.publish("2.0.0", model="faces")
    (device,) = fleet.connect("ro-h0")
    fleet.wait_ended(fleet.start_rollout("1.0.0", devices=["ro-h0"]))
    before = device.desired[-1].models["digits"]
    fleet.wait_ended(fleet.start_rollout("2.0.0", devices=["ro-h0"], model="faces"))
    assert device.desired[-1].models["digits"] == before
    assert device.version_of("faces") == "2.0.0"


def test_server_killed_in_the_middle_of_a_rollout_goes_on_after_its_restart(fleet: Fleet) -> None:
    devices = fleet.connect(*(group := names(3, "ro-k")))
    for device in devices:
        device.holding.add("1.0.0")
    rollout = fleet.start_rollout("1.0.0", devices=group, phases=[0.3, 1.0])
    wait_until(lambda: any(device._held for device in devices), what="the canary fetches")
    broker = fleet.server.broker_pid()
    fleet.server.kill()
    wait_until(lambda: not is_alive(broker), what="the broker dies with the server")
    for device in devices:
        device.let_go()
    fleet.server.start()
    ended = fleet.wait_ended(rollout)
    assert ended["state"] == "succeeded"
    assert {device.version_of("digits") for device in devices} == {"1.0.0"}


def test_broker_killed_comes_back_and_the_rollout_ends(fleet: Fleet) -> None:
    devices = fleet.connect(*(group := names(2, "ro-l")))
    for device in devices:
        device.holding.add("1.0.0")
    rollout = fleet.start_rollout("1.0.0", devices=group, phases=[0.5, 1.0])
    wait_until(lambda: any(device._held for device in devices), what="the canary fetches")
    broker = fleet.server.broker_pid()
    os.kill(broker, signal.SIGKILL)
    wait_until(
        lambda: fleet.server.api("GET", "/healthz", role=None)["status"] == "degraded", what="the loss"
    )
    wait_until(lambda: fleet.server.broker_pid() != broker, what="a new broker")
    for device in devices:
        device.let_go()
    assert fleet.wait_ended(rollout)["state"] == "succeeded"
    assert fleet.server.api("GET", "/healthz", role=None)["status"] == "ok"
