"""The command line, as processes."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import msgspec
import pytest

from tests.support.agent_bench import Bench, wait_until
from tests.support.agent_cli import run_cli
from tests.support.agent_releases import GOOD, ROOT


def test_help_has_examples_and_the_version_is_known() -> None:
    assert "Example: litefleet-agent run" in " ".join(run_cli("--help").out.split())
    assert "Example: litefleet-agent status" in " ".join(run_cli("status", "--help").out.split())
    assert run_cli("--version").out.startswith("litefleet-agent")


def test_the_effective_configuration_is_shown(device: Bench) -> None:
    ended = run_cli("run", "--config", device.config, "--print-config", LITEFLEET_AGENT_MQTT_PORT="4711")
    assert ended.code == 0
    shown = msgspec.toml.decode(ended.out)
    assert shown["mqtt"]["port"] == 4711
    assert shown["device"]["state_dir"] == str(device.state_dir)
    assert "device-secret" not in ended.out


@pytest.mark.parametrize(
    ("extra", "code", "message"),
    [
        ("[mqqt]\n", 2, "did you mean 'mqtt'"),
        ("[update]\nstart_timeout_s = 0\n", 2, "`$.update.start_timeout_s`"),
    ],
)
def test_a_wrong_configuration_ends_with_code_2_and_one_line(
    device: Bench, extra: str, code: int, message: str
) -> None:
    device.config.write_text(device.config.read_text() + extra)
    ended = run_cli("run", "--config", device.config)
    assert ended.code == code
    assert message in ended.err
    assert len(ended.err.splitlines()) == 1


def test_an_unknown_profile_and_a_long_run_dir_end_with_code_2(device: Bench) -> None:
    ended = run_cli("run", "--config", device.config, LITEFLEET_AGENT_DEVICE_PROFILE="generic-x86-46")
    assert (ended.code, "generic-x86-64" in ended.err) == (2, True)
    ended = run_cli("run", "--config", device.config, LITEFLEET_AGENT_DEVICE_RUN_DIR="r" * 120)
    assert (ended.code, "shorter run_dir" in ended.err) == (2, True)


def test_a_second_agent_on_the_same_folder_is_refused_and_the_first_one_named(device: Bench) -> None:
    device.agent.start().wait_ready()
    ended = run_cli("run", "--config", device.config)
    assert ended.code == 2
    assert f"process {device.agent.pid}" in ended.err


def test_a_state_folder_that_cannot_be_made_is_refused(device: Bench) -> None:
    ended = run_cli("run", "--config", device.config, LITEFLEET_AGENT_DEVICE_STATE_DIR="password/state")
    assert ended.code == 1
    assert "cannot make" in ended.err


def test_a_state_folder_that_cannot_be_read_ends_the_agent_with_the_reason(device: Bench) -> None:
    device.state_dir.mkdir()
    (device.state_dir / "models").write_bytes(b"")
    ended = run_cli("run", "--config", device.config)
    assert ended.code == 1
    assert "error: cannot read" in ended.err


def test_sources_are_fed_and_end_with_the_agent(device: Bench) -> None:
    images = ROOT / "examples" / "digits" / "evaluation" / "7"
    device.config.write_text(
        device.config.read_text() + f'[[sources]]\nmodel = "digits"\npath = "{images}"\nrate_hz = 100\n'
    )
    device.agent.start().wait_ready()
    device.server.deploy(GOOD, "d1")
    wait_until(lambda: any(w.requests for w in device.server.windows.copy().values()), "answered images")
    wait_until(lambda: len(device.sources()) == 1, "one source process")
    (first,) = device.sources()
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: device.sources() not in ([], [first]), "another one in its place")
    assert device.agent.terminate() == 0
    assert device.sources() == []


def test_the_agent_ends_soon_and_cleanly_while_it_is_fetching(device: Bench) -> None:
    device.agent.start().wait_ready()
    with device.releases.gate.holding("/artifacts"):
        device.server.deploy(GOOD, "d1")
        wait_until(lambda: device.fetchers() != [], "a fetching process")
        assert device.agent.terminate(timeout_s=10) == 0
        assert device.fetchers() == []
    assert not (Path(device.run_dir) / "digits.sock").exists()
    device.agent.start().wait_ready()
    device.server.wait_reported(lambda m: m.deployment == "d1" and m.version == GOOD)
