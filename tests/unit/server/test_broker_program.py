from __future__ import annotations

from pathlib import Path

import pytest

from contract.errors import ConfigError
from server.broker.probe import encode_connect
from server.broker.program import BrokerProgram, choose_program
from server.config import BrokerKind, MqttConfig

MOSQUITTO = "/usr/sbin/mosquitto"


def choose(kind: BrokerKind, found: str | None) -> BrokerProgram:
    return choose_program(kind, MqttConfig(port=1999), Path("/srv/broker"), find=lambda: found)


@pytest.mark.parametrize("kind", [BrokerKind.AUTO, BrokerKind.MOSQUITTO])
def test_mosquitto_runs_where_it_is_installed(kind: BrokerKind) -> None:
    program = choose(kind, MOSQUITTO)
    assert (program.name, program.warning) == ("mosquitto", "")
    assert program.command == (MOSQUITTO, "-c", "/srv/broker/mosquitto.conf")


@pytest.mark.parametrize(
    ("kind", "found", "why"),
    [
        (BrokerKind.AUTO, None, "mosquitto is not installed"),
        (BrokerKind.EMBEDDED, None, "mosquitto is not installed"),
        (BrokerKind.EMBEDDED, MOSQUITTO, "broker.kind is embedded"),
    ],
)
def test_else_the_embedded_one_with_a_warning(kind: BrokerKind, found: str | None, why: str) -> None:
    program = choose(kind, found)
    assert program.name == "amqtt"
    assert program.warning.startswith(why)
    assert "apt-get install mosquitto" in program.warning
    assert program.command[1:] == (
        "-m",
        "server.broker.embedded",
        "/srv/broker/passwords",
        "127.0.0.1",
        "1999",
        "litefleet/v1",
    )


def test_mosquitto_wanted_and_missing_is_refused() -> None:
    with pytest.raises(ConfigError, match="not installed"):
        choose(BrokerKind.MOSQUITTO, None)


def test_the_connect_packet_has_its_exact_bytes() -> None:
    assert encode_connect("pi", "pw") == (
        b"\x10\x16"  # CONNECT, 22 bytes follow
        b"\x00\x04MQTT\x04\xc2\x00\x0a"  # 3.1.1; user name, password, clean session; 10 s
        b"\x00\x02pi\x00\x02pi\x00\x02pw"
    )
    assert encode_connect("d" * 64, "p" * 43)[:3] == b"\x10\xbb\x01"  # 187 = 0x3b + 1 * 128
