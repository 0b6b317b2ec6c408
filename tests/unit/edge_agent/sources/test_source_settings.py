from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from contract.errors import ConfigError
from edge_agent.inference.sources.settings import (
    SINK_KEYS,
    SOURCE_KEYS,
    Sink,
    Source,
    broker_address,
    parse_settings,
    source_faults,
    unknown_sink_keys,
)

GOOD: list[dict[str, Any]] = [
    {"path": "a"},
    {"kind": "watch", "path": "a", "done": "move:seen"},
    {"kind": "watch", "path": "a", "done": "delete"},
    {"kind": "v4l2"},
    {"kind": "picamera2", "camera": 1},
    {"kind": "opencv", "url": "rtsp://camera/1"},
    {"kind": "mqtt", "broker": "[::1]:1883", "topic": "a/#", "username": "u", "password_file": "p"},
]
GOOD_SINKS: list[dict[str, Any]] = [
    {"kind": "mqtt", "broker": "localhost:1883", "topic": "a"},
    {"kind": "file", "path": "a", "labels": ["cat"], "min_score": 0.5},
    {"kind": "callback", "function": "a.b:c"},
    {"kind": "hook", "command": ["/bin/true"]},
    {"kind": "gpio", "line": 17},
]


def a_source(**keys: Any) -> Source:
    return msgspec.convert({"model": "digits", **keys}, type=Source)


@pytest.mark.parametrize("keys", GOOD)
def test_every_kind_of_source_can_be_configured(keys: dict[str, Any]) -> None:
    assert source_faults(a_source(**keys)) == []


@pytest.mark.parametrize("sink", GOOD_SINKS)
def test_every_kind_of_sink_can_be_configured(sink: dict[str, Any]) -> None:
    assert source_faults(a_source(path="a", sinks=[sink])) == []


@pytest.mark.parametrize(
    ("keys", "fault"),
    [
        ({"model": "A B", "path": "a"}, "model: 'A B' is not a model name"),
        ({}, "path: folder needs it"),
        ({"path": "a", "url": "b"}, "url: folder has no such key"),
        ({"kind": "watch", "path": "a", "done": "move:"}, "done: 'move:' is not keep, delete or move:DIR"),
        ({"kind": "opencv"}, "url: opencv needs it"),
        ({"kind": "mqtt", "broker": "a", "topic": "b"}, "broker: 'a' is not host:port"),
        ({"kind": "mqtt", "broker": "h:1", "topic": "b"}, "broker: 'h' is not this machine; this version"),
        ({"kind": "mqtt", "broker": "::1:0", "topic": "b"}, "broker: '::1:0' is not host:port"),
        (
            {"kind": "mqtt", "broker": "localhost:1", "topic": "b", "password_file": "p"},
            "username: a password",
        ),
        ({"path": "a", "sinks": [{"kind": "file"}]}, "sinks[0].path: file needs it"),
        ({"path": "a", "sinks": [{"kind": "gpio"}]}, "sinks[0].line: gpio needs it"),
        (
            {"path": "a", "sinks": [{"kind": "hook", "command": ["a"], "line": 1}]},
            "sinks[0].line: hook has no",
        ),
        (
            {"path": "a", "sinks": [{"kind": "callback", "function": "a"}]},
            "sinks[0].function: 'a' is not like",
        ),
        (
            {"path": "a", "sinks": [{"kind": "mqtt", "broker": "localhost:1", "topic": "a/+"}]},
            "sinks[0].topic: 'a/+' is a filter",
        ),
    ],
)
def test_a_wrong_setting_is_named(keys: dict[str, Any], fault: str) -> None:
    (found,) = source_faults(a_source(**keys))
    assert found.startswith(fault)


def test_unknown_keys_of_sinks_are_named_with_the_nearest() -> None:
    sources = [{"sinks": [{"kind": "file", "pth": "a"}, 3]}, {"sinks": 3}, {}, 3]
    assert unknown_sink_keys(sources) == [("sources.sinks.pth", "did you mean 'path'?")]
    assert unknown_sink_keys({"sinks": 3}) == []


def test_every_key_belongs_to_a_kind_or_to_all() -> None:
    of_sources = {key for keys in SOURCE_KEYS.values() for key in keys} | {
        "model",
        "kind",
        "rate_hz",
        "sinks",
    }
    assert of_sources == set(Source.__struct_fields__)
    of_sinks = {key for keys in SINK_KEYS.values() for key in keys} | {"kind", "labels", "min_score", "queue"}
    assert of_sinks == set(Sink.__struct_fields__)


def test_a_process_refuses_settings_that_the_configuration_would() -> None:
    assert parse_settings('{"model": "digits", "path": "/a"}') == a_source(path="/a")
    with pytest.raises(ConfigError, match="cannot be used"):
        parse_settings('{"model": "digits", "pth": "/a"}')
    with pytest.raises(ConfigError) as caught:
        parse_settings('{"model": "digits"}')
    assert caught.value.faults == ("path: folder needs it",)


def test_an_address_may_be_ip_version_6() -> None:
    assert broker_address("[::1]:1883") == ("::1", 1883)


def test_every_key_of_a_sink_stands_in_the_documentation_with_its_default() -> None:
    page = (Path(__file__).resolve().parents[4] / "docs" / "reference" / "sources.md").read_text()
    rows = [line.split("|")[1:-1] for line in page.splitlines() if line.startswith("| `")]
    documented = {
        cells[0].strip(" `"): cells[1].strip()
        for cells in rows
        if len(cells) == 4 and cells[2].strip(" `") in _KINDS
    }
    wanted = {
        field.name: "required" if field.required else f"`{msgspec.json.encode(field.default).decode()}`"
        for field in msgspec.structs.fields(Sink)
    }
    assert documented == wanted


_KINDS = {"all", *SINK_KEYS}
