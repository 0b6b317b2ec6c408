"""What devices send, through the real broker into the real database."""

from __future__ import annotations

import os
import signal

from contract.compat import Capabilities, RuntimeFact
from contract.messages import DeviceInfo, Reported, ReportedModel, SequencedWindow
from contract.profile import Arch, DelegateName
from contract.topics import Kind
from tests.support.server_device import DeviceDouble, a_window
from tests.support.server_fleet import Fleet
from tests.support.server_process import wait_until


def totals(fleet: Fleet, device: str) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = fleet.server.api("GET", f"/api/v1/telemetry?device={device}")
    return rows


def wait_acked(device: DeviceDouble, seq: int) -> None:
    wait_until(lambda: device.acks and device.acks[-1].seq >= seq, what=f"the ack of {seq}")


def test_telemetry_is_acknowledged_once_it_is_committed_and_counted_once(fleet: Fleet) -> None:
    (device,) = fleet.connect("t0")
    windows = [a_window(seq) for seq in range(4)]
    device.send_telemetry(*windows[:3])
    wait_acked(device, 2)
    # The ack says committed: it can be read at once.
    (row,) = totals(fleet, "t0")
    assert (row["windows"], row["requests"], row["rss_bytes"]) == (3, 30, 50_000_002)
    device.send_telemetry(*windows)
    wait_acked(device, 3)
    (row,) = totals(fleet, "t0")
    assert (row["windows"], row["requests"], row["errors"]) == (4, 40, 0)
    assert isinstance(row["latency_ms_p50"], float)
    assert 1.7 < row["latency_ms_p50"] < 2.3
    assert all(ack.boot == device.boot for ack in device.acks)


def test_a_new_boot_counts_its_windows_anew(fleet: Fleet) -> None:
    (device,) = fleet.connect("t1")
    device.send_telemetry(a_window(0))
    wait_acked(device, 0)
    device.boot = "another"
    device.send_telemetry(a_window(0, version="1.1.0"))
    wait_until(lambda: device.acks[-1].boot == "another", what="the ack of the other boot")
    assert [row["version"] for row in totals(fleet, "t1")] == ["1.0.0", "1.1.0"]


def test_bad_messages_are_left_out_and_the_server_goes_on(fleet: Fleet) -> None:
    (device,) = fleet.connect("bad")
    for payload in (b"", b"no json", b"x\x9c broken zlib", b'{"v":9}', b"\xff" * 100):
        for kind in ("telemetry", "reported", "state", "info", "event", "deployment/x", "nonsense"):
            device.publish(f"{device.access.prefix}/bad/up/{kind}", payload)
    device.send_event("after the bad messages")
    (event,) = wait_until(lambda: fleet.device("bad")["events"], what="the event after the bad messages")
    assert event["detail"] == "after the bad messages"


def test_an_event_is_kept_once_and_listed_after_the_one_before(fleet: Fleet) -> None:
    (device,) = fleet.connect("e0")
    device.send_event("first")
    wait_until(lambda: fleet.device("e0")["events"], what="the first event")
    newest = fleet.server.api("GET", "/api/v1/events")[-1]
    device.send_event("second")
    (event,) = wait_until(
        lambda: fleet.server.api("GET", f"/api/v1/events?after={newest['id']}"), what="the second event"
    )
    assert (event["device"], event["kind"], event["detail"]) == ("e0", "worker-crashed", "second")


def test_what_a_device_says_of_itself_is_shown(fleet: Fleet) -> None:
    (device,) = fleet.connect("i0")
    capabilities = Capabilities(
        profile="generic-x86-64",
        arch=Arch.X86_64,
        memory_bytes=1,
        disk_free_bytes=2,
        runtimes=(RuntimeFact(name="ai-edge-litert", version="2.3.0"),),
        delegates=(DelegateName.XNNPACK,),
        agent_version="0.1.0",
    )
    device._send(Kind.INFO, DeviceInfo(v=1, board="a board", capabilities=capabilities))
    wait_until(lambda: fleet.device("i0")["info"], what="the info")
    assert fleet.device("i0")["info"]["capabilities"]["arch"] == "x86_64"
    assert fleet.device("i0")["agent_version"] == "0.1.0"


def test_a_device_that_dies_is_offline_and_a_late_will_does_not_kill_the_next_session(fleet: Fleet) -> None:
    (device,) = fleet.connect("p0")
    device.die()
    fleet.wait_online("p0", online=False)
    with DeviceDouble(device.access) as again:
        fleet.wait_online("p0", online=True)
        again.session = 5
        again.send_state(online=True, session=5)
        again.send_state(online=False, session=4)
        again.send_event("after the late will")
        wait_until(lambda: fleet.device("p0")["events"], what="the event after the late will")
        assert fleet.device("p0")["online"] is True
    fleet.wait_online("p0", online=False)


def test_a_device_with_an_older_revision_gets_its_document_again(fleet: Fleet) -> None:
    (device,) = fleet.connect("r0")
    fleet.wait_ended(fleet.start_rollout("1.0.0", devices=["r0"]))
    device.stop()
    fleet.wait_online("r0", online=False)
    with DeviceDouble(device.access) as forgetful:
        # It knows nothing any more, and the broker's copy goes too: only the database still knows.
        # A device takes the revision first, and the models one by one.
        wait_until(lambda: forgetful.version_of("digits") == "1.0.0", what="the document")
        assert forgetful.revision == 1


def test_a_device_with_a_newer_revision_gets_a_higher_one(fleet: Fleet) -> None:
    (device,) = fleet.connect("r1")
    device._send(Kind.REPORTED, Reported(v=1, revision=40, models={"digits": ReportedModel(version="1.0.0")}))
    wait_until(lambda: device.desired[-1].revision == 41, what="a revision above the device's")


def test_a_broker_that_lost_everything_gets_it_back(fleet: Fleet) -> None:
    (device,) = fleet.connect("l0")
    fleet.wait_ended(fleet.start_rollout("1.0.0", devices=["l0"]))
    device.stop()
    fleet.wait_online("l0", online=False)
    broker = fleet.server.broker_pid()
    os.kill(broker, signal.SIGSTOP)
    for kept in (fleet.server.folder / "broker").glob("mosquitto.db*"):
        kept.unlink()
    os.kill(broker, signal.SIGKILL)
    wait_until(lambda: fleet.server.broker_pid() != broker, what="a new broker")
    wait_until(
        lambda: fleet.server.api("GET", "/healthz", role=None)["status"] == "ok", what="the connection"
    )
    with DeviceDouble(device.access) as again:
        wait_until(lambda: again.revision == 1, what="the document")


def test_devices_that_were_online_are_offline_after_the_broker_died_until_they_come_back(
    fleet: Fleet,
) -> None:
    (stays, goes) = fleet.connect("stays", "goes")
    os.kill(fleet.server.broker_pid(), signal.SIGSTOP)
    goes.die()
    os.kill(fleet.server.broker_pid(), signal.SIGKILL)
    stays.send_event("again")
    wait_until(lambda: fleet.device("stays")["events"], what="the event of the device that came back")
    fleet.wait_online("stays", online=True)
    fleet.wait_online("goes", online=False)


def test_telemetry_sent_while_the_server_is_down_is_taken_in_after_its_start(fleet: Fleet) -> None:
    (device,) = fleet.connect("o0")
    windows: list[SequencedWindow] = [a_window(seq) for seq in range(3)]
    fleet.server.terminate()
    fleet.server.start()
    wait_until(device.is_connected.is_set, what="the device is back")
    device.send_telemetry(*windows)
    wait_acked(device, 2)
    assert totals(fleet, "o0")[0]["windows"] == 3
