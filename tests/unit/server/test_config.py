from __future__ import annotations

from pathlib import Path

import pytest

from contract.errors import ConfigError
from server.config import BrokerKind, HttpConfig, ServerConfig, load_config, parse_config, render_config


def parse(text: str, **environment: str) -> ServerConfig:
    return parse_config(text.encode(), environment, where="server.toml")


def test_an_empty_file_gives_the_defaults() -> None:
    assert parse("") == ServerConfig()
    assert parse("").http_url() == "http://127.0.0.1:8080"


def test_what_is_rendered_reads_back() -> None:
    config = ServerConfig(http=HttpConfig(port=8181))
    assert parse(render_config(config)) == config


def test_the_environment_overrides_the_file() -> None:
    config = parse(
        "[http]\nport = 1000\n", LITEFLEET_SERVER_HTTP_PORT="2000", LITEFLEET_SERVER_BROKER_KIND="embedded"
    )
    assert config.http.port == 2000
    assert config.broker.kind is BrokerKind.EMBEDDED


def test_the_operators_own_variable_is_not_a_setting() -> None:
    assert parse("", LITEFLEET_SERVER="http://127.0.0.1:8080") == ServerConfig()


def test_every_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError) as refused:
        parse("[htpp]\n[http]\nprot = 1\n", LITEFLEET_SERVER_HTTP_PROT="2")
    table, key, variable = refused.value.faults
    assert table == "[htpp]: unknown table, did you mean 'http'?"
    assert key.startswith("http.prot: unknown key, did you mean 'port'")
    assert "LITEFLEET_SERVER_HTTP_PROT: unknown environment variable" in variable
    assert "'LITEFLEET_SERVER_HTTP_PORT'" in variable


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("http = 1\n", "must be a table"),
        ("[http\n", "no TOML file"),
        ("[http]\nport = 0\n", "http.port"),
        ("[http]\nport = 'x'\n", "http.port"),
        ("[broker]\nkind = 'rabbit'\n", "rabbit"),
        ("[storage]\ntelemetry_days = 0\n", "telemetry_days"),
        ("[mqtt]\nprefix = 'a/#'\n", "prefix"),
        ("[mqtt]\nport = 8080\n", "both use port 8080"),
        ("# " + "x" * 70_000, "larger than"),
    ],
)
def test_a_wrong_setting_is_refused(text: str, fault: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse(text)
    assert fault in refused.value.summary()


@pytest.mark.parametrize("host", ["10.0.0.1", "192.168.1.2", "fleet.example", "::1", ""])
@pytest.mark.parametrize("table", ["http", "mqtt"])
def test_listening_beyond_loopback_without_tls_is_refused(table: str, host: str) -> None:
    with pytest.raises(ConfigError, match="loopback"):
        parse(f"[{table}]\nhost = '{host}'\n")


def test_a_missing_file_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read") as refused:
        load_config(tmp_path)
    assert "litefleet-server init" in refused.value.remedy


def test_the_file_in_the_folder_is_read(tmp_path: Path) -> None:
    (tmp_path / "server.toml").write_text("[http]\nport = 8181\n")
    assert load_config(tmp_path, {}).http.port == 8181
