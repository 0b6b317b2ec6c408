"""The gateway's settings, from the agent's configuration to its process."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from contract.errors import ConfigError
from edge_agent.config import parse_config
from edge_agent.gateway.settings import GatewaySettings, parse_settings
from edge_agent.gateway_process import gateway_command

RAW = {
    "device": {"id": "pi-1", "profile": "generic-x86-64"},
    "server": {"url": "http://127.0.0.1:8080"},
}


def test_the_process_gets_what_the_agent_was_told() -> None:
    table = {"enabled": True, "socket": "gateway.sock", "max_concurrent": 2}
    config = parse_config({**RAW, "gateway": table}, {}, Path("/etc/litefleet/agent.toml"))

    command = gateway_command(config.gateway, config.device.run_dir)

    assert command[1:5] == ("-m", "edge_agent.gateway", "--run-dir", "/etc/litefleet/run")
    settings = parse_settings(command[-1])
    assert settings == config.gateway
    assert settings.socket == "/etc/litefleet/gateway.sock"
    assert (settings.connections, settings.max_waiting) == (2, 0)
    assert settings.socket_umask == 0o117


def test_without_a_table_there_is_no_gateway_and_bounds_have_defaults() -> None:
    settings = parse_config(RAW, {}, Path("/x/agent.toml")).gateway
    assert settings == GatewaySettings()
    assert not settings.enabled
    assert (settings.connections, settings.max_waiting) == (4, 28)
    assert settings.body_budget_bytes == 4 * settings.max_body_bytes


@pytest.mark.parametrize(
    ("table", "fault"),
    [
        ({"host": "192.0.2.1"}, r"gateway\.host: '192\.0\.2\.1' is not this machine"),
        ({"host": "device.example"}, "is not this machine"),
        ({"socket": "x" * 200}, r"gateway\.socket: longer than 107 bytes"),
        ({"socket_mode": "rw"}, "socket_mode"),
        ({"max_body_bytes": 10}, "max_body_bytes"),
        ({"deadline": 1}, r"gateway\.deadline: unknown key.*deadline_s"),
    ],
)
def test_settings_that_cannot_be_are_refused(table: dict[str, object], fault: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config({**RAW, "gateway": table}, {}, Path("/x/agent.toml"))
    assert re.search(fault, caught.value.summary())


@pytest.mark.parametrize("text", ["{", '{"host": "192.0.2.1"}', '{"prot": 1}', '{"port": 0}'])
def test_the_process_believes_nobody(text: str) -> None:
    with pytest.raises(ConfigError, match="cannot be used"):
        parse_settings(text)
