"""The agent's configuration: one TOML file, environment overrides, one frozen object.

Guarantees: a configuration that comes out is complete and within bounds; unknown keys and variables are refused with
the nearest known one; relative paths are relative to the file; the password is read from a file that only its owner
can read. Starts nothing and creates nothing.
"""

from __future__ import annotations

import enum
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec

from contract.errors import ConfigError, ManifestError
from contract.identifiers import nearest, parse_device_id, parse_profile_id
from contract.topics import DEFAULT_PREFIX, Topics
from edge_agent.gateway.settings import GatewaySettings, gateway_faults
from edge_agent.heat.settings import HeatSettings, heat_faults
from edge_agent.inference.admission import Swap
from edge_agent.inference.sources.settings import Source, source_faults, unknown_sink_keys
from edge_agent.inference.threads import WorkerSettings
from edge_agent.loopback import is_loopback
from edge_agent.pipelines.settings import (
    CombinedSettings,
    EnsembleSettings,
    PipelineSettings,
    StageSettings,
    combined_faults,
)

CONFIG_MAX_BYTES = 64 * 1024
PASSWORD_MAX_BYTES = 1024
ENV_PREFIX = "LITEFLEET_AGENT_"
LIST_SECTIONS = frozenset({"sources", "delegates", "pipelines", "ensembles"})
_TAKEN_NAMES = frozenset({"xnnpack", "none", "external"})
"""Delegates that are no library, or a kind of them."""

_Option = Annotated[str, msgspec.Meta(max_length=256)]
Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all tables of the file."""


class DeviceSection(Section, frozen=True, kw_only=True):
    """Who this device is, and where it keeps its things.

    Attributes:
        id: As enrolled; also the MQTT user name and client id.
        profile: Id of a shipped device profile.
        state_dir: Models, journals and the outbox; survives restarts.
        run_dir: Sockets of the workers; may be on a RAM disk.
    """

    id: str
    profile: str
    state_dir: Path = Path("state")
    run_dir: Path = Path("run")


class ServerSection(Section, frozen=True, kw_only=True):
    """Where releases come from: base URL, and the file with the pinned TUF root."""

    url: str
    root: Path = Path("root.json")


class MqttSection(Section, frozen=True, kw_only=True):
    """The broker: address, topic prefix, file with the password, keep-alive in seconds."""

    host: str = "127.0.0.1"
    port: Port = 1883
    prefix: str = DEFAULT_PREFIX
    password_file: Path = Path("password")
    keepalive_s: Annotated[int, msgspec.Meta(ge=5, le=3600)] = 30


class Preference(str, enum.Enum):
    """Which variant of a bundle is wanted, of those that this board can run."""

    FIRST = "first"
    ACCURATE = "accurate"


class UpdateSection(Section, frozen=True, kw_only=True):
    """How patient a deployment is.

    Attributes:
        fetch_deadline_s: Longest time spent on trying to fetch, seconds; counted anew after a restart.
        start_timeout_s: Longest time a worker may take to load a model, seconds.
        self_test_timeout_s: Longest time the golden inputs may take, seconds.
        swap: ``beside``: a new version is loaded and tested while the old one answers, and refused where memory does
            not hold both. ``gap``: there the old one ends first; until the new one is tested, nobody answers.
        variant: ``first``: the bundle's first that fits, usually the fastest. ``accurate``: of those that run on the
            processor, the one that lost least accuracy.
    """

    fetch_deadline_s: Annotated[float, msgspec.Meta(ge=1, le=604800)] = 21600.0
    start_timeout_s: Annotated[float, msgspec.Meta(ge=1, le=600)] = 60.0
    self_test_timeout_s: Annotated[float, msgspec.Meta(ge=1, le=600)] = 60.0
    swap: Swap = Swap.BESIDE
    variant: Preference = Preference.FIRST


class TelemetrySection(Section, frozen=True, kw_only=True):
    """How telemetry is gathered and kept.

    Attributes:
        window_s: Length of a window, seconds.
        outbox_max_windows: Most windows kept while the server cannot be reached; a window takes up to 1 KiB.
    """

    window_s: Annotated[float, msgspec.Meta(ge=0.1, le=86400)] = 10.0
    outbox_max_windows: Annotated[int, msgspec.Meta(ge=100, le=1_000_000)] = 50_000


class DelegateSection(Section, frozen=True, kw_only=True):
    """A delegate in a shared library of its own, tried on every model that an ordinary processor can run.

    Attributes:
        name: How reports call it; ``edgetpu`` changes how the Edge TPU's own is loaded.
        library: Path, or a name that the loader finds.
        options: Handed to it as they are.
    """

    name: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,31}\Z")]
    library: Annotated[str, msgspec.Meta(min_length=1, max_length=4096)]
    options: Annotated[dict[_Option, _Option], msgspec.Meta(max_length=16)] = msgspec.field(
        default_factory=dict
    )


class AgentConfig(Section, frozen=True, kw_only=True):
    """Everything the agent is told. All paths are absolute."""

    device: DeviceSection
    server: ServerSection
    mqtt: MqttSection = MqttSection()
    update: UpdateSection = UpdateSection()
    telemetry: TelemetrySection = TelemetrySection()
    workers: WorkerSettings = WorkerSettings()
    gateway: GatewaySettings = GatewaySettings()
    heat: HeatSettings = HeatSettings()
    sources: Annotated[tuple[Source, ...], msgspec.Meta(max_length=16)] = ()
    delegates: Annotated[tuple[DelegateSection, ...], msgspec.Meta(max_length=4)] = ()
    pipelines: Annotated[tuple[PipelineSettings, ...], msgspec.Meta(max_length=8)] = ()
    ensembles: Annotated[tuple[EnsembleSettings, ...], msgspec.Meta(max_length=8)] = ()

    def combined(self) -> CombinedSettings:
        """Pipelines and ensembles."""
        return CombinedSettings(pipelines=self.pipelines, ensembles=self.ensembles)

    def topics(self) -> Topics:
        """Topics under the configured prefix."""
        return Topics(self.mqtt.prefix)


def load_config(path: Path, environment: Mapping[str, str]) -> AgentConfig:
    """Read the configuration.

    Args:
        path: The TOML file, at most 64 KiB.
        environment: Variables; ``LITEFLEET_AGENT_<SECTION>_<KEY>`` takes precedence over the file.

    Raises:
        ConfigError: Anything about it is wrong; names every fault found.
    """
    try:
        with path.open("rb") as file:
            content = file.read(CONFIG_MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(
            f"cannot read {path}: {error.strerror}",
            remedy="give the agent.toml that 'litefleet devices add' wrote",
        ) from error
    if len(content) > CONFIG_MAX_BYTES:
        raise ConfigError(f"{path} is larger than {CONFIG_MAX_BYTES} bytes")
    try:
        raw = msgspec.toml.decode(content)
    except (msgspec.DecodeError, ValueError) as error:
        raise ConfigError(f"{path} is no TOML file: {error}") from error
    return parse_config(raw, environment, path.absolute())


def parse_config(raw: Mapping[str, Any], environment: Mapping[str, str], path: Path) -> AgentConfig:
    """Check what a file says, with the environment's overrides.

    Raises:
        ConfigError: Anything about it is wrong.
    """
    faults = [f"{key}: unknown key, {hint}" for key, hint in unknown_keys(raw)]
    merged, environment_faults = _with_environment(raw, environment)
    if faults or environment_faults:
        raise ConfigError(f"{path} is not usable", faults=[*faults, *environment_faults])
    try:
        config = msgspec.convert(merged, AgentConfig, dec_hook=_decode_path)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path} is not usable: {error}") from error
    faults = _config_faults(config)
    if faults:
        raise ConfigError(f"{path} is not usable", faults=faults)
    return _with_absolute_paths(config, path.parent)


def sections() -> dict[str, type[msgspec.Struct]]:
    """Every table of the file by its name; those of ``LIST_SECTIONS`` repeat."""
    return {
        "device": DeviceSection,
        "server": ServerSection,
        "mqtt": MqttSection,
        "update": UpdateSection,
        "telemetry": TelemetrySection,
        "workers": WorkerSettings,
        "gateway": GatewaySettings,
        "heat": HeatSettings,
        "sources": Source,
        "delegates": DelegateSection,
        "pipelines": PipelineSettings,
        "ensembles": EnsembleSettings,
    }


def unknown_keys(raw: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Every key that means nothing, with the nearest that does."""
    found: list[tuple[str, str]] = []
    known = sections()
    for name, table in raw.items():
        if name not in known:
            found.append((name, nearest(name, known)))
            continue
        found += _unknown_in(name, table, known[name])
        for entry in table if name == "pipelines" and isinstance(table, list) else ():
            if isinstance(entry, dict):
                found += _unknown_in("pipelines.stages", entry.get("stages"), StageSettings)
    return found + unknown_sink_keys(raw.get("sources"))


def _unknown_in(name: str, table: object, kind: type[msgspec.Struct]) -> list[tuple[str, str]]:
    fields = kind.__struct_fields__
    entries = table if isinstance(table, list) else [table]
    keys = [key for entry in entries if isinstance(entry, dict) for key in entry]
    return [(f"{name}.{key}", nearest(key, fields)) for key in keys if key not in fields]


def _with_environment(
    raw: Mapping[str, Any], environment: Mapping[str, str]
) -> tuple[dict[str, Any], list[str]]:
    merged = {name: dict(table) if isinstance(table, dict) else table for name, table in raw.items()}
    known = {
        f"{ENV_PREFIX}{name}_{field.encode_name}".upper(): (name, field)
        for name, section in sections().items()
        if name not in LIST_SECTIONS
        for field in msgspec.structs.fields(section)
    }
    faults: list[str] = []
    for variable in sorted(key for key in environment if key.startswith(ENV_PREFIX)):
        if variable not in known:
            faults.append(f"{variable}: unknown variable, {nearest(variable, known)}")
            continue
        name, field = known[variable]
        try:
            value = msgspec.convert(environment[variable], field.type, strict=False, dec_hook=_decode_path)
        except msgspec.ValidationError as error:
            faults.append(f"{variable}: {error}")
            continue
        table = merged.setdefault(name, {})
        if isinstance(table, dict):
            table[field.encode_name] = value
    return merged, faults


def _decode_path(kind: type, value: object) -> object:
    if kind is not Path or not isinstance(value, (str, Path)) or not str(value):
        raise ValueError(f"expected a path, got {value!r}")
    return Path(value).expanduser()


def _config_faults(config: AgentConfig) -> list[str]:
    faults = [
        *_faults_of("device.id", parse_device_id, config.device.id),
        *_faults_of("device.profile", parse_profile_id, config.device.profile),
        *_faults_of("mqtt.prefix", Topics, config.mqtt.prefix),
    ]
    for index, source in enumerate(config.sources):
        faults += [f"sources[{index}].{fault}" for fault in source_faults(source)]
    names = [delegate.name for delegate in config.delegates]
    faults += [
        f"delegates[{index}].name: {name} is the name of a delegate without a library of its own"
        for index, name in enumerate(names)
        if name in _TAKEN_NAMES
    ]
    faults += ["delegates: one name stands twice"] if len(set(names)) != len(names) else []
    faults += combined_faults(config.combined())
    faults += [f"gateway.{fault}" for fault in gateway_faults(config.gateway)]
    faults += [f"heat.{fault}" for fault in heat_faults(config.heat)]
    if not is_loopback(config.mqtt.host):
        faults.append(f"mqtt.host: {config.mqtt.host!r} is not this machine; {_NO_TLS}")
    url = urlsplit(config.server.url)
    if url.scheme not in {"http", "https"} or not url.hostname:
        faults.append("server.url: must be like http://127.0.0.1:8080")
    elif not is_loopback(url.hostname):
        faults.append(f"server.url: {url.hostname!r} is not this machine; {_NO_TLS}")
    return faults


def _faults_of(key: str, parse: Callable[[str], object], text: str) -> list[str]:
    try:
        parse(text)
    except (ManifestError, ConfigError) as error:
        return [f"{key}: {error.summary()}"]
    return []


_NO_TLS = (
    "this version speaks no TLS yet, so it only connects to loopback (use an SSH or VPN tunnel until it does)"
)


def _with_absolute_paths(config: AgentConfig, folder: Path) -> AgentConfig:
    device = msgspec.structs.replace(
        config.device, state_dir=folder / config.device.state_dir, run_dir=folder / config.device.run_dir
    )
    server = msgspec.structs.replace(config.server, root=folder / config.server.root)
    mqtt = msgspec.structs.replace(config.mqtt, password_file=folder / config.mqtt.password_file)
    gateway = config.gateway
    if gateway.socket:
        gateway = msgspec.structs.replace(gateway, socket=str(folder / Path(gateway.socket).expanduser()))
    heat = msgspec.structs.replace(
        config.heat,
        sensor=str(folder / config.heat.sensor) if config.heat.sensor else "",
        sysfs=folder / config.heat.sysfs,
        vcgencmd=folder / config.heat.vcgencmd,
    )
    sources = tuple(_with_absolute_files(source, folder) for source in config.sources)
    delegates = tuple(_with_absolute_library(delegate, folder) for delegate in config.delegates)
    return msgspec.structs.replace(
        config,
        device=device,
        server=server,
        mqtt=mqtt,
        gateway=gateway,
        heat=heat,
        sources=sources,
        delegates=delegates,
    )


def _with_absolute_files(source: Source, folder: Path) -> Source:
    def absolute(path: str) -> str:
        return str(folder / Path(path).expanduser()) if path else ""

    sinks = tuple(
        msgspec.structs.replace(sink, path=absolute(sink.path), password_file=absolute(sink.password_file))
        for sink in source.sinks
    )
    return msgspec.structs.replace(
        source, path=absolute(source.path), password_file=absolute(source.password_file), sinks=sinks
    )


def _with_absolute_library(delegate: DelegateSection, folder: Path) -> DelegateSection:
    """A path is relative to the file; a bare name is for the loader."""
    if "/" not in delegate.library:
        return delegate
    return msgspec.structs.replace(delegate, library=str(folder / Path(delegate.library).expanduser()))


def read_password(path: Path) -> str:
    """The password in a file: its first line.

    Raises:
        ConfigError: The file is missing, empty, too large, or others than its owner can read it.
    """
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(path.stat().st_mode)
            content = file.read(PASSWORD_MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"mqtt.password_file: cannot read {path}: {error.strerror}") from error
    if mode & 0o077:
        raise ConfigError(
            f"mqtt.password_file: others than its owner can use {path}", remedy=f"chmod 600 {path}"
        )
    if len(content) > PASSWORD_MAX_BYTES:
        raise ConfigError(f"mqtt.password_file: {path} is larger than {PASSWORD_MAX_BYTES} bytes")
    password = content.decode("utf-8", "replace").partition("\n")[0].strip()
    if not password:
        raise ConfigError(f"mqtt.password_file: {path} is empty")
    return password
