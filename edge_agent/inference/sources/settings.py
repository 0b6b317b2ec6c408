"""What a source and its sinks are told, by the agent's configuration and by the source's own command line.

PURE. Rules:

1. One table of keys per kind; a key of another kind is refused, a missing one is named.
2. What waits anywhere is bounded by a setting with a default.
3. There is no TLS yet, so a broker is on this machine; a password stands in a file, never here.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal

import msgspec

from contract.errors import ConfigError, ManifestError
from contract.identifiers import nearest, parse_model
from edge_agent.loopback import is_loopback

MAX_SINKS = 4
_Text = Annotated[str, msgspec.Meta(max_length=4096)]
_Topic = Annotated[str, msgspec.Meta(max_length=1024)]
_Label = Annotated[str, msgspec.Meta(max_length=256)]
_Pixels = Annotated[int, msgspec.Meta(ge=16, le=8192)]
_Score = Annotated[float, msgspec.Meta(ge=0, le=1)]


class Sink(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where answers go.

    Attributes:
        kind: ``mqtt``, ``file``, ``callback``, ``hook`` or ``gpio``.
        labels: Only answers whose best class is one of these are wanted; empty for all.
        min_score: Only answers whose best class has at least this score are wanted.
        queue: Answers that wait for the sink; when there are more, the oldest are dropped and counted.
        broker: ``mqtt``: host:port of a broker on this machine.
        topic: ``mqtt``: where answers are published, with QoS 1.
        username: ``mqtt``: empty for none.
        password_file: ``mqtt``: file with the password in its first line, mode 0600.
        path: ``file``: the file with one JSON object a line.
        max_bytes: ``file``: size at which it is renamed and a new one begun.
        keep: ``file``: how many renamed ones are kept.
        fsync: ``file``: whether each line is on the disk before the next is written.
        function: ``callback``: ``module:function``, called with each answer.
        command: ``hook``: program and arguments, run with each answer on its standard input.
        timeout_s: ``hook``: longest time the program may take, seconds.
        chip: ``gpio``: device of the GPIO chip.
        line: ``gpio``: number of the line that is active while the last answer is wanted.
        active_low: ``gpio``: whether active means low.
    """

    kind: Literal["mqtt", "file", "callback", "hook", "gpio"]
    labels: Annotated[tuple[_Label, ...], msgspec.Meta(max_length=64)] = ()
    min_score: _Score = 0.0
    queue: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 100
    broker: _Text = ""
    topic: _Topic = ""
    username: _Label = ""
    password_file: _Text = ""
    path: _Text = ""
    max_bytes: Annotated[int, msgspec.Meta(ge=1024, le=1 << 30)] = 10 << 20
    keep: Annotated[int, msgspec.Meta(ge=0, le=100)] = 3
    fsync: bool = False
    function: _Text = ""
    command: Annotated[tuple[_Text, ...], msgspec.Meta(max_length=32)] = ()
    timeout_s: Annotated[float, msgspec.Meta(gt=0, le=600)] = 5.0
    chip: _Text = "/dev/gpiochip0"
    line: Annotated[int, msgspec.Meta(ge=-1, le=1023)] = -1
    active_low: bool = False


class Source(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Inputs that the agent has answered by itself.

    Attributes:
        model: Model that answers.
        kind: ``folder``, ``watch``, ``v4l2``, ``picamera2``, ``opencv`` or ``mqtt``.
        rate_hz: Inputs a second at most.
        path: ``folder``, ``watch``: folder of images.
        done: ``watch``: what becomes of a file that was answered: ``keep``, ``delete``, or ``move:DIR``.
        device: ``v4l2``: the camera.
        camera: ``picamera2``: number of the camera.
        width: ``v4l2``, ``picamera2``: wanted width, pixels.
        height: ``v4l2``, ``picamera2``: wanted height, pixels.
        url: ``opencv``: what OpenCV opens: an RTSP address, a GStreamer pipeline, a file.
        gstreamer: ``opencv``: whether the address is a GStreamer pipeline that ends in ``appsink``.
        broker: ``mqtt``: host:port of a broker on this machine.
        topic: ``mqtt``: topic filter; a message is a JPEG, PNG or other image, or a .npy array.
        username: ``mqtt``: empty for none.
        password_file: ``mqtt``: file with the password in its first line, mode 0600.
        max_payload_bytes: ``mqtt``: largest message.
        sinks: Where answers go.
    """

    model: str
    kind: Literal["folder", "watch", "v4l2", "picamera2", "opencv", "mqtt"] = "folder"
    rate_hz: Annotated[float, msgspec.Meta(gt=0, le=1000)] = 1.0
    path: _Text = ""
    done: _Text = "keep"
    device: _Text = "/dev/video0"
    camera: Annotated[int, msgspec.Meta(ge=0, le=15)] = 0
    width: _Pixels = 640
    height: _Pixels = 480
    url: _Text = ""
    gstreamer: bool = False
    broker: _Text = ""
    topic: _Topic = ""
    username: _Label = ""
    password_file: _Text = ""
    max_payload_bytes: Annotated[int, msgspec.Meta(ge=64, le=64 << 20)] = 4 << 20
    sinks: Annotated[tuple[Sink, ...], msgspec.Meta(max_length=MAX_SINKS)] = ()


_BROKER_KEYS = ("broker", "topic", "username", "password_file")
SOURCE_KEYS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "folder": ("path",),
        "watch": ("path", "done"),
        "v4l2": ("device", "width", "height"),
        "picamera2": ("camera", "width", "height"),
        "opencv": ("url", "gstreamer"),
        "mqtt": (*_BROKER_KEYS, "max_payload_bytes"),
    }
)
"""Kind of source to the keys of its own."""
SINK_KEYS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "mqtt": _BROKER_KEYS,
        "file": ("path", "max_bytes", "keep", "fsync"),
        "callback": ("function",),
        "hook": ("command", "timeout_s"),
        "gpio": ("chip", "line", "active_low"),
    }
)
"""Kind of sink to the keys of its own."""
_REQUIRED = frozenset({"path", "url", "broker", "topic", "function", "command", "line"})


def source_faults(source: Source) -> list[str]:
    """What is wrong with settings whose every value is within its range; each begins with its key."""
    faults: list[str] = []
    try:
        parse_model(source.model)
    except ManifestError as error:
        faults.append(f"model: {error.summary()}")
    faults += _kind_faults(source, SOURCE_KEYS[source.kind], SOURCE_KEYS)
    if source.done not in {"keep", "delete"} and not source.done.partition("move:")[2]:
        faults.append(f"done: {source.done!r} is not keep, delete or move:DIR")
    for index, sink in enumerate(source.sinks):
        faults += [f"sinks[{index}].{fault}" for fault in sink_faults(sink)]
    return faults


def sink_faults(sink: Sink) -> list[str]:
    """The same for a sink."""
    faults = _kind_faults(sink, SINK_KEYS[sink.kind], SINK_KEYS)
    if sink.kind == "mqtt" and set(sink.topic) & set("#+"):
        faults.append(f"topic: {sink.topic!r} is a filter; answers go to one topic")
    if sink.function and not all(sink.function.partition(":")):
        faults.append(f"function: {sink.function!r} is not like package.module:function")
    return faults


def _kind_faults(
    settings: Source | Sink, own: tuple[str, ...], table: Mapping[str, tuple[str, ...]]
) -> list[str]:
    defaults = {field.name: field.default for field in msgspec.structs.fields(settings)}
    faults = [
        f"{key}: {settings.kind} needs it" for key in own if key in _REQUIRED and _is_default(settings, key)
    ]
    others = {key for keys in table.values() for key in keys} - set(own)
    faults += [
        f"{key}: {settings.kind} has no such key"
        for key in defaults
        if key in others and not _is_default(settings, key)
    ]
    if "broker" in own and settings.broker:
        faults += [f"broker: {fault}" for fault in _broker_faults(settings.broker)]
    if settings.password_file and not settings.username:
        faults.append("username: a password needs one")
    return faults


def _is_default(settings: Source | Sink, key: str) -> bool:
    default = next(field.default for field in msgspec.structs.fields(settings) if field.name == key)
    return bool(getattr(settings, key) == default)


def _broker_faults(broker: str) -> list[str]:
    try:
        host, _ = broker_address(broker)
    except ValueError:
        return [f"{broker!r} is not host:port"]
    if not is_loopback(host):
        return [f"{host!r} is not this machine; this version speaks no TLS yet (use an SSH or VPN tunnel)"]
    return []


def broker_address(broker: str) -> tuple[str, int]:
    """Host and port of ``host:port``.

    Raises:
        ValueError: It is not that.
    """
    host, _, port = broker.rpartition(":")
    number = int(port)
    if not host or not 0 < number < 65536:
        raise ValueError(broker)
    return host.strip("[]"), number


def unknown_sink_keys(sources: object) -> list[tuple[str, str]]:
    """Every key of the sinks of a file's sources that means nothing, with the nearest that does."""
    known = Sink.__struct_fields__
    found: list[tuple[str, str]] = []
    for source in sources if isinstance(sources, list) else []:
        sinks: Any = source.get("sinks") if isinstance(source, dict) else None
        for sink in sinks if isinstance(sinks, list) else []:
            if isinstance(sink, dict):
                found += [(f"sources.sinks.{key}", nearest(key, known)) for key in sink if key not in known]
    return found


def parse_settings(text: str | bytes) -> Source:
    """Settings in JSON, as the source's process gets them.

    Raises:
        ConfigError: Anything about them is wrong.
    """
    try:
        source = msgspec.json.decode(text, type=Source)
    except msgspec.DecodeError as error:
        raise ConfigError(f"the source's settings cannot be used: {error}") from error
    faults = source_faults(source)
    if faults:
        raise ConfigError("the source's settings cannot be used", faults=faults)
    return source
