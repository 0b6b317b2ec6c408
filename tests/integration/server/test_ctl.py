"""``litefleet`` against a running server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from contract.deployment import Reason
from contract.heat import HeatCause, HeatLevel, HeatReport
from contract.messages import Reported
from contract.topics import Kind
from server.ctl import main
from tests.support.builders import PROFILE
from tests.support.server_device import DeviceAccess, DeviceDouble, a_window
from tests.support.server_fleet import Fleet
from tests.support.server_process import ServerProcess, wait_until
from tests.support.tools import free_port, require

TIMEOUT_S = 60


@dataclass(frozen=True)
class Done:
    """How a command ended, and what it said."""

    returncode: int
    stdout: str
    stderr: str


def litefleet(server: ServerProcess, *arguments: str) -> Done:
    environment = {
        "LITEFLEET_SERVER": server.url,
        "LITEFLEET_TOKEN_FILE": str(server.operator_token_file),
    }
    found = CliRunner().invoke(main, arguments, env=environment, catch_exceptions=False)
    return Done(found.exit_code, found.stdout, found.stderr)


def printed_json(done: Done) -> object:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_hot_device_and_what_it_measured_meanwhile_are_told(fleet: Fleet) -> None:
    (device,) = fleet.connect("hot")
    heat = HeatReport(level=HeatLevel.SLOWED, causes=(HeatCause.UNDER_VOLTAGE,), celsius=71.5)
    device._send(Kind.REPORTED, Reported(v=1, revision=0, models={}, heat=heat))
    device.send_telemetry(a_window(0), a_window(1, is_throttled=True))
    wait_until(lambda: fleet.device("hot")["heat"], what="the heat report")
    wait_until(lambda: device.acks and device.acks[-1].seq >= 1, what="the windows")
    rows = printed_json(litefleet(fleet.server, "--json", "devices"))
    assert isinstance(rows, list)
    assert next(row["heat"] for row in rows if row["id"] == "hot") == {
        "level": "slowed",
        "causes": ["under-voltage"],
        "celsius": 71.5,
        "battery_ratio": None,
    }
    (row,) = fleet.server.api("GET", "/api/v1/telemetry?device=hot")
    assert (row["windows"], row["throttled_windows"]) == (2, 1)
    assert (row["requests"], row["throttled_requests"]) == (20, 10)
    assert "throttled" in litefleet(fleet.server, "telemetry").stdout


def test_a_new_device_gets_a_folder_with_all_it_needs(fleet: Fleet, tmp_path: Path) -> None:
    folder = tmp_path / "pi"
    arguments = ("devices", "add", "ctl-a", "--profile", PROFILE, "--output", str(folder))
    done = litefleet(fleet.server, *arguments)
    assert done.returncode == 0, done.stderr
    assert f"litefleet-agent run --config {folder}/agent.toml" in done.stdout
    assert {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()} == {
        "agent.toml": 0o644,
        "password": 0o600,
        "root.json": 0o644,
    }
    assert json.loads((folder / "root.json").read_text())["signed"]["_type"] == "root"
    assert (folder / "agent.toml").read_text() == (
        "# Settings of a litefleet agent; relative paths are relative to this file.\n\n"
        f'[device]\nid = "ctl-a"\nprofile = "{PROFILE}"\nstate_dir = "state"\nrun_dir = "run"\n\n'
        f'[server]\nurl = "{fleet.server.url}"\nroot = "root.json"\n\n'
        f'[mqtt]\nhost = "127.0.0.1"\nport = {fleet.server.mqtt_port}\nprefix = "litefleet/v1"\n'
        'password_file = "password"\nkeepalive_s = 30\n\n'
        "[telemetry]\nwindow_s = 10.0\n"
    )
    password = (folder / "password").read_text().strip()
    access = DeviceAccess("ctl-a", "127.0.0.1", fleet.server.mqtt_port, "litefleet/v1", password)
    with DeviceDouble(access):
        fleet.wait_online("ctl-a", online=True)
    again = litefleet(fleet.server, *arguments)
    assert again.returncode == 1
    assert "already holds agent.toml, password, root.json" in again.stderr
    elsewhere = litefleet(fleet.server, *arguments[:-1], str(tmp_path / "other"))
    assert elsewhere.returncode == 1
    assert "device 'ctl-a' is already known" in elsewhere.stderr
    assert not (tmp_path / "other").exists()


def test_a_rollout_is_started_watched_and_shown(fleet: Fleet) -> None:
    fleet.connect("ctl-b", "ctl-c")
    fleet.devices["ctl-b"].holding.add("1.0.0")
    fleet.devices["ctl-c"].holding.add("1.0.0")
    started = printed_json(
        litefleet(
            fleet.server,
            *("--json", "rollouts", "start", "digits", "1.0.0", "--canary", "0.5"),
            *("--device", "ctl-b", "--device", "ctl-c"),
        )
    )
    assert isinstance(started, dict)
    assert [phase["share"] for phase in started["phases"]] == [0.5, 1.0]
    for device in fleet.devices.values():
        device.let_go()
    watched = litefleet(fleet.server, "watch", started["id"], "--json")
    assert watched.returncode == 0
    changes = [json.loads(line) for line in watched.stdout.splitlines()]
    assert changes[-1] == {"rollout": started["id"], "state": "succeeded", "phase": 1, "reason": ""}
    ended = {
        change["device"] for change in changes if change.get("state") == "succeeded" and "device" in change
    }
    assert ended == {"ctl-b", "ctl-c"}
    shown = litefleet(fleet.server, "rollouts", "show", started["id"])
    assert shown.returncode == 0
    assert f"rollout {started['id']}: digits 1.0.0 succeeded" in shown.stdout
    listed = litefleet(fleet.server, "rollouts")
    assert started["id"] in listed.stdout


def test_watching_a_rollout_that_stops_says_why_and_exits_with_1(fleet: Fleet) -> None:
    (device,) = fleet.connect("ctl-d")
    device.failing["1.1.0"] = Reason.SELF_TEST
    rollout = fleet.start_rollout("1.1.0", devices=["ctl-d"])
    done = litefleet(fleet.server, "watch")
    assert done.returncode == 1
    assert done.stdout.splitlines()[-2:] == [
        "ctl-d failed: self-test",
        f"rollout {rollout} stopped, phase 1: self-test",
    ]


def test_on_a_terminal_the_rollout_is_drawn_anew_until_its_end(fleet: Fleet) -> None:
    fleet.connect("ctl-t")
    rollout = fleet.start_rollout("1.0.0", devices=["ctl-t"])
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    server = ("--server", fleet.server.url, "--token-file", str(fleet.server.operator_token_file))
    command = [sys.executable, "-c", "from server.ctl import main; main()", *server, "watch", rollout]
    ours, theirs = os.openpty()
    with subprocess.Popen(command, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        assert process.wait(TIMEOUT_S) == 0
    drawn = os.read(ours, 65536).decode()
    os.close(ours)
    assert f"rollout {rollout}: digits 1.0.0 succeeded" in drawn
    assert "ctl-t" in drawn


def test_a_rollout_is_stopped(fleet: Fleet) -> None:
    fleet.enrol("ctl-e")
    rollout = fleet.start_rollout("1.0.0", devices=["ctl-e"])
    stopped = printed_json(litefleet(fleet.server, "rollouts", "stop", rollout, "--json"))
    assert isinstance(stopped, dict)
    assert (stopped["state"], stopped["reason"]) == ("stopped", "operator")


def test_tables_show_devices_releases_and_telemetry(fleet: Fleet) -> None:
    (device,) = fleet.connect("ctl-f")
    fleet.wait_ended(fleet.start_rollout("1.0.0", devices=["ctl-f"]))
    device.send_telemetry(a_window(0))
    wait_until(lambda: device.acks, what="the ack")
    devices = litefleet(fleet.server, "devices").stdout
    (line,) = [line for line in devices.splitlines() if line.startswith("ctl-f")]
    assert line.split() == ["ctl-f", PROFILE, "online", "digits", "1.0.0", "1.0.0", "float32", "succeeded"]
    assert "digits  1.1.0" in litefleet(fleet.server, "releases").stdout
    telemetry = litefleet(fleet.server, "telemetry", "--device", "ctl-f").stdout.splitlines()
    assert telemetry[1].split()[:6] == ["ctl-f", "digits", "1.0.0", "float32", "10", "0"]
    rows = printed_json(litefleet(fleet.server, "telemetry", "--model", "digits", "--json"))
    assert isinstance(rows, list)
    assert "ctl-f" in {row["device"] for row in rows}


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("rollouts", "start", "digits", "1.0.1"), 1, "did you mean '1.0.0'"),
        (("rollouts", "start", "digits", "1.0.0", "--phase", "0.5"), 1, "the last share must be 1"),
        (
            ("rollouts", "start", "digits", "1.0.0", "--phase", "1", "--canary", "0.5"),
            2,
            "exclude each other",
        ),
        (("rollouts", "start", "digits", "1.0.0", "--device", "nobody"), 1, "unknown devices: nobody"),
        (("rollouts", "show", "../../healthz"), 1, "nothing at"),
        (("rollouts", "stop", "nothing"), 1, "there is no rollout"),
        (
            (
                "devices",
                "add",
                "x y",
                "--profile",
                PROFILE,
            ),
            1,
            "not a device id",
        ),
        (
            (
                "devices",
                "add",
                "x",
                "--profile",
                "rasberry-pi-9",
            ),
            2,
            "no profile",
        ),
        (("watch", "nothing"), 1, "there is no rollout"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(
    fleet: Fleet,
    arguments: tuple[str, ...],
    code: int,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    done = litefleet(fleet.server, *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert words in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_command_as_a_process(fleet: Fleet) -> None:
    environment = {**os.environ, "LITEFLEET_TOKEN_FILE": str(fleet.server.operator_token_file)}
    command = [sys.executable, "-c", "from server.ctl import main; main()", "--server", fleet.server.url]
    done = subprocess.run(
        [*command, "releases", "--json"],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        env=environment,
        check=True,
    )
    assert "digits" in {release["model"] for release in json.loads(done.stdout)}


def test_a_server_that_cannot_be_reached_is_named(fleet: Fleet) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    done = litefleet(fleet.server, "--server", url, "devices")
    assert done.returncode == 1
    assert done.stderr == (
        f"error: no litefleet server answers at {url} - start it with: litefleet-server run FOLDER;"
        " or name it with --server or LITEFLEET_SERVER\n"
    )


def test_the_publishers_token_starts_no_rollout(fleet: Fleet) -> None:
    done = litefleet(
        fleet.server,
        *("--token-file", str(fleet.server.publisher_token_file), "rollouts", "start", "digits", "1.0.0"),
    )
    assert done.returncode == 1
    assert "operator" in done.stderr


def test_no_device_is_let_in_before_there_is_trust(tmp_path: Path) -> None:
    require("mosquitto")
    with ServerProcess(tmp_path / "server") as server:
        done = litefleet(
            server, "devices", "add", "pi", "--profile", PROFILE, "--output", str(tmp_path / "pi")
        )
        assert done.returncode == 1
        assert "litefleet-packager keys init" in done.stderr
        assert not (tmp_path / "pi").exists()
        nothing = litefleet(server, "watch")
        assert nothing.returncode == 1
        assert "there is no rollout" in nothing.stderr
