"""The server's settings: one TOML file, overridden by the environment, in one frozen struct.

Guarantees: unknown tables, keys and ``LITEFLEET_SERVER_...`` variables are refused with the nearest known name;
only loopback addresses are accepted, since this version has no TLS. Secrets are never settings: they are files.
"""

from __future__ import annotations

import enum
import ipaddress
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec

from contract.errors import ConfigError
from contract.identifiers import nearest
from contract.topics import DEFAULT_PREFIX, Topics

CONFIG_NAME = "server.toml"
CONFIG_MAX_BYTES = 64 * 1024
ENVIRONMENT_PREFIX = "LITEFLEET_SERVER_"

Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
Days = Annotated[int, msgspec.Meta(ge=1, le=3650)]


class BrokerKind(str, enum.Enum):
    """Which broker to run. ``auto`` takes mosquitto where it is installed, else the embedded one."""

    AUTO = "auto"
    MOSQUITTO = "mosquitto"
    EMBEDDED = "embedded"


class _Table(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all tables."""


class HttpConfig(_Table, frozen=True, kw_only=True):
    """Where the HTTP API listens."""

    host: str = "127.0.0.1"
    port: Port = 8080


class MqttConfig(_Table, frozen=True, kw_only=True):
    """Where the broker listens, and the root of all topics."""

    host: str = "127.0.0.1"
    port: Port = 1883
    prefix: str = DEFAULT_PREFIX


class BrokerConfig(_Table, frozen=True, kw_only=True):
    """Which broker runs."""

    kind: BrokerKind = BrokerKind.AUTO


class StorageConfig(_Table, frozen=True, kw_only=True):
    """How long telemetry windows and events are kept, days. Totals are kept for good."""

    telemetry_days: Days = 30
    event_days: Days = 365


class ServerConfig(_Table, frozen=True, kw_only=True):
    """Everything that can be set."""

    http: HttpConfig = HttpConfig()
    mqtt: MqttConfig = MqttConfig()
    broker: BrokerConfig = BrokerConfig()
    storage: StorageConfig = StorageConfig()

    def http_url(self) -> str:
        """Base URL of the HTTP API."""
        return f"http://{self.http.host}:{self.http.port}"


_TABLES: Mapping[str, type[_Table]] = {
    "http": HttpConfig,
    "mqtt": MqttConfig,
    "broker": BrokerConfig,
    "storage": StorageConfig,
}


def load_config(folder: Path, environment: Mapping[str, str] = os.environ) -> ServerConfig:
    """Read ``server.toml`` of a server's folder.

    Args:
        folder: What ``litefleet-server init`` made.
        environment: Variables ``LITEFLEET_SERVER_<TABLE>_<KEY>`` override the file.

    Raises:
        ConfigError: No such file, or any setting is wrong.
    """
    path = folder / CONFIG_NAME
    try:
        with path.open("rb") as file:
            content = file.read(CONFIG_MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read: {error.strerror}", remedy=f"make it with: litefleet-server init {folder}"
        ) from error
    return parse_config(content, environment, where=str(path))


def parse_config(content: bytes, environment: Mapping[str, str], *, where: str) -> ServerConfig:
    """Read settings from TOML and the environment; ``where`` names the file in error texts.

    Raises:
        ConfigError: With every unknown name, or the first wrong value.
    """
    if len(content) > CONFIG_MAX_BYTES:
        raise ConfigError(f"{where} is larger than {CONFIG_MAX_BYTES} bytes")
    try:
        raw = msgspec.toml.decode(content)
    except (msgspec.DecodeError, ValueError) as error:
        raise ConfigError(f"{where} is no TOML file: {error}") from error
    faults = _unknown_names(raw, environment)
    if faults:
        raise ConfigError(f"{where} is not usable", faults=faults)
    for name, text in environment.items():
        if name.startswith(ENVIRONMENT_PREFIX):
            table, key = _ENVIRONMENT[name]
            raw.setdefault(table, {})[key] = text
    try:
        config = msgspec.convert(raw, ServerConfig, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{where} is not usable: {error}") from error
    _check(config)
    return config


def render_config(config: ServerConfig) -> str:
    """The settings as the TOML file that ``parse_config`` reads back."""
    lines = ["# Settings of a litefleet server; see docs/how-to/run-a-rollout.md."]
    for table in _TABLES:
        lines += ["", f"[{table}]"]
        for key, value in msgspec.to_builtins(getattr(config, table)).items():
            lines.append(f"{key} = {msgspec.json.encode(value).decode()}")
    return "\n".join(lines) + "\n"


_ENVIRONMENT: Mapping[str, tuple[str, str]] = {
    f"{ENVIRONMENT_PREFIX}{table.upper()}_{field.upper()}": (table, field)
    for table, struct in _TABLES.items()
    for field in struct.__struct_fields__
}


def _unknown_names(raw: Mapping[str, Any], environment: Mapping[str, str]) -> list[str]:
    faults: list[str] = []
    for table, content in raw.items():
        if table not in _TABLES:
            faults.append(f"[{table}]: unknown table, {nearest(table, _TABLES)}")
        elif not isinstance(content, dict):
            faults.append(f"{table}: must be a table")
        else:
            known = _TABLES[table].__struct_fields__
            faults += [
                f"{table}.{key}: unknown key, {nearest(key, known)}" for key in content if key not in known
            ]
    faults += [
        f"{name}: unknown environment variable, {nearest(name, _ENVIRONMENT)}"
        for name in sorted(environment)
        if name.startswith(ENVIRONMENT_PREFIX) and name not in _ENVIRONMENT
    ]
    return faults


def _check(config: ServerConfig) -> None:
    for key, host in {"http.host": config.http.host, "mqtt.host": config.mqtt.host}.items():
        if not _is_loopback(host):
            raise ConfigError(
                f"{key}: {host!r} is not a loopback address, and this version has no TLS",
                remedy="use 127.0.0.1; reach it from elsewhere through an SSH tunnel or a VPN on this machine",
            )
    if (config.http.host, config.http.port) == (config.mqtt.host, config.mqtt.port):
        raise ConfigError(f"http and mqtt both use port {config.http.port}", remedy="give one another port")
    Topics(config.mqtt.prefix)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.IPv4Address(host).is_loopback
    except ValueError:
        return False
