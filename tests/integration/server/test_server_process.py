"""The server as a process: start, stop, refuse, clean up after itself."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from server.broker.program import choose_program, write_files
from server.config import BrokerKind, load_config
from tests.support.server_process import ServerProcess, is_alive, wait_until
from tests.support.tools import require

TIMEOUT_S = 60


def litefleet_server(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from server.cli import main; main()", *arguments]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        env={**os.environ, **environment},
        check=False,
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> ServerProcess:
    """A server's folder; nothing runs."""
    require("mosquitto")
    server = ServerProcess(tmp_path_factory.mktemp("made") / "server")
    server.init()
    return server


def test_init_keeps_secrets_to_their_owner_and_tells_what_to_do_next(tmp_path: Path) -> None:
    folder = tmp_path / "fleet one"
    done = litefleet_server("init", str(folder), "--http-port", "18081")
    assert done.returncode == 0, done.stderr
    assert f"litefleet-server run '{folder}'" in done.stdout
    assert "export LITEFLEET_SERVER=http://127.0.0.1:18081" in done.stdout
    found = {path.name: path.stat().st_mode & 0o777 for path in (folder / "secrets").iterdir()}
    assert found == dict.fromkeys(
        ["operator.token", "publisher.token", "online.key", "broker.password"], 0o600
    )
    assert (folder / "secrets").stat().st_mode & 0o777 == 0o700
    assert load_config(folder, {}).http.port == 18081


@pytest.mark.parametrize("existing", ["server.toml", "notes.txt"])
def test_init_of_a_folder_that_is_not_empty_changes_nothing(tmp_path: Path, existing: str) -> None:
    (tmp_path / existing).write_text("mine")
    done = litefleet_server("init", str(tmp_path))
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert [path.name for path in tmp_path.iterdir()] == [existing]
    assert (tmp_path / existing).read_text() == "mine"


def test_run_of_a_folder_that_is_none_says_what_to_do(tmp_path: Path) -> None:
    done = litefleet_server("run", str(tmp_path / "nothing"))
    assert (done.returncode, done.stdout) == (2, "")
    assert "litefleet-server init" in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_settings_in_force_are_printed_with_the_environments(made: ServerProcess) -> None:
    done = litefleet_server(
        "run", str(made.folder), "--print-config", LITEFLEET_SERVER_STORAGE_EVENT_DAYS="7"
    )
    assert done.returncode == 0
    assert "event_days = 7" in done.stdout
    assert f"port = {made.http_port}" in done.stdout


@pytest.mark.parametrize(("protocol", "key"), [("http", "[http] port"), ("mqtt", "[mqtt] port")])
def test_a_port_in_use_is_named_in_one_line(made: ServerProcess, protocol: str, key: str) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = litefleet_server(
            "run", str(made.folder), **{f"LITEFLEET_SERVER_{protocol.upper()}_PORT": str(port)}
        )
    assert done.returncode == 2
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert errors[0] == (
        f"error: port {port} on 127.0.0.1 is in use by another program"
        f" - end that program, or change {key} in server.toml"
    )


def test_listening_on_every_interface_is_refused(made: ServerProcess) -> None:
    every_interface = "0.0.0.0"  # noqa: S104 - the test is that it is refused
    done = litefleet_server("run", str(made.folder), LITEFLEET_SERVER_HTTP_HOST=every_interface)
    assert done.returncode == 2
    assert "not a loopback address" in done.stderr


def test_terminated_it_ends_with_its_broker_and_says_ready_before(made: ServerProcess) -> None:
    made.start()
    broker = made.broker_pid()
    assert made.api("GET", "/healthz", role=None)["broker"] == "mosquitto"
    again = litefleet_server("run", str(made.folder))
    assert again.returncode == 2
    assert "a server runs in" in again.stderr
    assert is_alive(broker), "the second start must not touch the first server's broker"
    assert made.terminate() == 0
    assert not is_alive(broker)
    assert f"ready http=http://127.0.0.1:{made.http_port} mqtt=127.0.0.1:{made.mqtt_port}" in made.output
    assert "ended" in made.output
    made.close()


def test_a_broker_left_behind_does_not_block_the_next_start(made: ServerProcess) -> None:
    config = load_config(made.folder, {})
    program = choose_program(BrokerKind.MOSQUITTO, config.mqtt, made.folder / "broker")
    write_files(program, {})
    with subprocess.Popen(program.command, stderr=subprocess.DEVNULL) as left_behind:
        (made.folder / "broker" / "broker.pid").write_text(str(left_behind.pid))
        wait_until(lambda: _is_listening(made.mqtt_port), what="the broker that is left behind")
        made.start()
        assert left_behind.wait(5) == 0
    assert made.broker_pid() != left_behind.pid
    made.close()


def test_somebody_elses_process_with_the_noted_pid_is_left_alone(made: ServerProcess) -> None:
    with subprocess.Popen(["sleep", "60"]) as innocent:
        (made.folder / "broker" / "broker.pid").write_text(str(innocent.pid))
        made.start()
        made.close()
        assert innocent.poll() is None
        innocent.kill()


def test_a_broker_that_cannot_start_is_said_with_its_own_words(made: ServerProcess) -> None:
    # A folder where mosquitto expects its file: it starts, says so, and ends.
    blocked = made.folder / "broker" / "access"
    blocked.unlink(missing_ok=True)
    blocked.mkdir()
    done = litefleet_server("run", str(made.folder))
    blocked.rmdir()
    assert done.returncode == 1
    assert "error: " in done.stderr


def _is_listening(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False
