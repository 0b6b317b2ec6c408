"""Which broker to run, and how: mosquitto where it is installed, else amqtt on loopback."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from contract.errors import ConfigError
from server.broker.configuration import (
    ACCESS_NAME,
    PASSWORDS_NAME,
    SETTINGS_NAME,
    BrokerSettings,
    render_access,
    render_passwords,
    render_settings,
)
from server.config import BrokerKind, MqttConfig
from server.storage.durable import write_durably

MOSQUITTO_PATH = os.pathsep.join(("/usr/sbin", "/sbin", "/usr/local/sbin", "/opt/homebrew/sbin"))
"""Where distributions install it, besides PATH, which on Debian has no sbin for ordinary users."""
_REMEDY = "install it, for example: sudo apt-get install mosquitto"


@dataclass(frozen=True)
class BrokerProgram:
    """A broker that can be started.

    Attributes:
        name: ``mosquitto`` or ``amqtt``.
        command: Its command line; names its folder.
        settings: What it was made for.
        warning: What the operator must know of it; empty for nothing.
    """

    name: str
    command: tuple[str, ...]
    settings: BrokerSettings
    warning: str = ""


def find_mosquitto() -> str | None:
    """Path of mosquitto; None where it is not installed."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path=MOSQUITTO_PATH)


def choose_program(
    kind: BrokerKind, mqtt: MqttConfig, folder: Path, *, find: Callable[[], str | None] = find_mosquitto
) -> BrokerProgram:
    """The broker to run in a folder.

    Args:
        kind: Which one is wanted.
        mqtt: Where it is to listen.
        folder: Its own folder.
        find: Finds mosquitto.

    Raises:
        ConfigError: The one asked for is not installed, or neither is.
    """
    settings = BrokerSettings(
        host=mqtt.host,
        port=mqtt.port,
        prefix=mqtt.prefix,
        folder=str(folder),
        system_user=pwd.getpwuid(os.geteuid()).pw_name,
    )
    mosquitto = find()
    if kind is BrokerKind.MOSQUITTO and mosquitto is None:
        raise ConfigError("broker.kind is mosquitto, and it is not installed", remedy=_REMEDY)
    if kind is not BrokerKind.EMBEDDED and mosquitto is not None:
        command = (mosquitto, "-c", str(folder / SETTINGS_NAME))
        return BrokerProgram("mosquitto", command, settings)
    if importlib.util.find_spec("amqtt") is None:
        raise ConfigError("there is neither mosquitto nor amqtt here", remedy=_REMEDY)
    reason = "mosquitto is not installed" if mosquitto is None else "broker.kind is embedded"
    arguments = (str(folder / PASSWORDS_NAME), mqtt.host, str(mqtt.port), mqtt.prefix)
    warning = (
        f"{reason}: running the embedded broker amqtt, which is for trying litefleet out on this machine. "
        "It is slow, keeps nothing over a restart, and any local process can disturb its clients. "
        f"For real use: {_REMEDY}"
    )
    embedded = (sys.executable, "-m", "server.broker.embedded", *arguments)
    return BrokerProgram("amqtt", embedded, settings, warning)


def write_files(program: BrokerProgram, hashes: Mapping[str, str]) -> None:
    """Write everything that the broker reads; from user name to password hash.

    Raises:
        StorageError: The disk is full, read-only or failing.
    """
    folder = Path(program.settings.folder)
    write_durably(folder / SETTINGS_NAME, render_settings(program.settings).encode())
    write_durably(folder / ACCESS_NAME, render_access(program.settings.prefix).encode())
    write_passwords(program, hashes)


def write_passwords(program: BrokerProgram, hashes: Mapping[str, str]) -> None:
    """Replace the password file; the broker reads it at start and on SIGHUP.

    Raises:
        StorageError: The disk is full, read-only or failing.
    """
    write_durably(Path(program.settings.folder) / PASSWORDS_NAME, render_passwords(hashes).encode())
