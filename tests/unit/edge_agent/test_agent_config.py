from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from contract.errors import ConfigError
from edge_agent.config import (
    CONFIG_MAX_BYTES,
    AgentConfig,
    load_config,
    read_password,
    sections,
)
from edge_agent.config_text import show_config
from edge_agent.loopback import is_loopback
from edge_agent.pipelines.settings import StageSettings

TEXT = """
[device]
id = "pi-kitchen"
profile = "raspberry-pi-4"

[server]
url = "http://127.0.0.1:8080"
"""


def load(folder: Path, text: str = TEXT, **environment: str) -> AgentConfig:
    path = folder / "agent.toml"
    path.write_text(text)
    return load_config(path, environment)


def test_the_least_that_must_be_said_gives_a_whole_configuration(tmp_path: Path) -> None:
    config = load(tmp_path)
    assert (config.device.id, config.mqtt.port, config.telemetry.window_s) == ("pi-kitchen", 1883, 10.0)
    assert config.sources == ()
    assert config.topics().prefix == "litefleet/v1"


def test_relative_paths_are_relative_to_the_file_and_absolute_ones_stay(tmp_path: Path) -> None:
    text = TEXT.replace("[server]", 'state_dir = "/var/lib/litefleet"\n[server]')
    config = load(tmp_path, text + '\n[[sources]]\nmodel = "digits"\npath = "images"\n')
    assert config.device.state_dir == Path("/var/lib/litefleet")
    assert config.device.run_dir == tmp_path / "run"
    assert config.server.root == tmp_path / "root.json"
    assert config.mqtt.password_file == tmp_path / "password"
    assert config.sources[0].path == str(tmp_path / "images")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[devise]\nid = 1\n", "devise: unknown key, did you mean 'device'?"),
        ("[mqtt]\nprot = 1\n", "mqtt.prot: unknown key, did you mean 'port'"),
        ('[[pipelines]]\nstages = [{ modle = "a" }]\n', "stages.modle: unknown key, did you mean 'model'"),
        ("pipelines = [3]\n", "pipelines"),
        ('[[ensembles]]\nname = "a"\nmodels = ["b", "b"]\n', "ensembles[0].models: 'b' stands twice"),
        ('[[sources]]\nmodel = "a"\npath = "b"\nrate = 1\n', "sources.rate: unknown key, did you mean 'rate_hz'"),
        ("[mqtt]\nport = 70000\n", "`$.mqtt.port`"),
        ('[mqtt]\nport = "many"\n', "Expected `int`, got `str`"),
        ("[mqtt]\nkeepalive_s = 1\n", "`$.mqtt.keepalive_s`"),
        ('[mqtt]\nprefix = "a/#"\n', "mqtt.prefix: topic prefix 'a/#' is not usable"),
        ('[mqtt]\npassword_file = ""\n', "expected a path"),
        ('[mqtt]\nhost = "broker.example"\n', "mqtt.host: 'broker.example' is not this machine; this version"),
        ('[[sources]]\nmodel = "A B"\npath = "b"\n', "sources[0].model: 'A B' is not a model name"),
        ('[[sources]]\nmodel = "a"\npath = "b"\nkind = "camera"\n', "Invalid enum value 'camera'"),
        ('[[sources]]\nmodel = "a"\n', "sources[0].path: folder needs it"),
        ('[[sources]]\npath = "b"\nsinks = [{ pth = "c" }]\n', "sources.sinks.pth: unknown key, did you mean"),
        ("sources = 3\n", "Expected `array`"),
        ("device = 3\n", "Expected `object`"),
        ("[telemetry]\nwindow_s = 0\n", "`$.telemetry.window_s`"),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_refused_and_named(tmp_path: Path, text: str, fault: str) -> None:
    base = "" if text.startswith("device") else TEXT
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text + base if not text.startswith("[") else base + text)
    assert fault in caught.value.summary()


@pytest.mark.parametrize(
    ("key", "value", "fault"),
    [
        ("id", "a/b", "device.id: 'a/b' is not a device id"),
        ("profile", "Pi 4", "device.profile: 'Pi 4' is not a profile id"),
        ("url", "ftp://127.0.0.1", "server.url: must be like http://127.0.0.1:8080"),
        ("url", "http://", "server.url: must be like"),
        ("url", "https://fleet.example", "server.url: 'fleet.example' is not this machine"),
    ],
)
def test_a_wrong_name_or_address_is_refused(tmp_path: Path, key: str, value: str, fault: str) -> None:
    lines = [f'{key} = "{value}"' if line.startswith(f"{key} =") else line for line in TEXT.splitlines()]
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, "\n".join(lines))
    assert fault in caught.value.summary()


def test_every_unknown_key_is_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, TEXT + "[mqtt]\na = 1\nb = 2\n", LITEFLEET_AGENT_MQTT_PROT="1")
    assert len(caught.value.faults) == 3


def test_a_missing_file_a_large_one_and_rubbish_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        load_config(tmp_path / "nowhere.toml", {})
    with pytest.raises(ConfigError, match="larger than"):
        load(tmp_path, "#" * (CONFIG_MAX_BYTES + 1))
    with pytest.raises(ConfigError, match="no TOML file"):
        load(tmp_path, "[device")


def test_the_environment_takes_precedence_and_adds_sections(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        LITEFLEET_AGENT_DEVICE_ID="pi-2",
        LITEFLEET_AGENT_MQTT_PORT="1884",
        LITEFLEET_AGENT_TELEMETRY_WINDOW_S="0.5",
        LITEFLEET_AGENT_DEVICE_STATE_DIR="elsewhere",
        OTHER="x",
    )
    assert (config.device.id, config.mqtt.port, config.telemetry.window_s) == ("pi-2", 1884, 0.5)
    assert config.device.state_dir == tmp_path / "elsewhere"


@pytest.mark.parametrize(
    ("variable", "value", "fault"),
    [
        ("LITEFLEET_AGENT_MQTT_PROT", "1", "LITEFLEET_AGENT_MQTT_PROT: unknown variable, did you mean"),
        ("LITEFLEET_AGENT_MQTT_PORT", "many", "LITEFLEET_AGENT_MQTT_PORT: Expected `int`"),
        ("LITEFLEET_AGENT_SOURCES_MODEL", "x", "LITEFLEET_AGENT_SOURCES_MODEL: unknown variable"),
    ],
)
def test_a_wrong_variable_is_refused(tmp_path: Path, variable: str, value: str, fault: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, **{variable: value})
    assert fault in caught.value.summary()


def test_a_section_that_is_no_table_is_refused_also_with_an_override(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        load(tmp_path, "mqtt = 3\n" + TEXT, LITEFLEET_AGENT_MQTT_PORT="1")


@pytest.mark.parametrize(
    ("host", "is_local"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("0.0.0.0", False),  # noqa: S104 - must be refused
        ("fleet", False),
    ],
)
def test_loopback_is_recognised(host: str, is_local: bool) -> None:  # noqa: FBT001 - a table's column
    assert is_loopback(host) == is_local


def test_the_shown_configuration_is_toml_that_gives_the_same_again(tmp_path: Path) -> None:
    sources = (
        '[[sources]]\nmodel = "digits"\npath = "a \\"b\\""\n[[sources.sinks]]\nkind = "file"\npath = "results"\n'
        '[[sources.sinks]]\nkind = "hook"\ncommand = ["/bin/true", "x"]\nlabels = ["7"]\n'
    )
    delegates = (
        '[[delegates]]\nname = "npu"\nlibrary = "lib/npu.so"\noptions = { "a.b" = "\\"1\\"", c = "2" }\n'
    )
    plain = '[[delegates]]\nname = "gpu"\nlibrary = "libgpu.so"\n'
    combined = (
        '[[pipelines]]\nname = "doorbell"\nstages = [{ model = "finder" },'
        ' { model = "both", crop = "boxes", top = 2 }]\n'
        '[[ensembles]]\nname = "both"\nmodels = ["one", "other"]\n'
    )
    config = load(tmp_path, TEXT + sources + delegates + plain + combined)
    assert config.delegates[0].library == str(tmp_path / "lib" / "npu.so")
    assert config.delegates[1].library == "libgpu.so"
    assert config.sources[0].sinks[0].path == str(tmp_path / "results")
    text = show_config(config)
    assert set(msgspec.toml.decode(text)) == set(sections())
    assert load(tmp_path, text) == config


def test_the_password_is_the_files_first_line(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text("secret\nmore\n")
    path.chmod(0o600)
    assert read_password(path) == "secret"


@pytest.mark.parametrize(
    ("content", "mode", "fault"),
    [
        ("secret", 0o644, "others than its owner"),
        ("\n", 0o600, "is empty"),
        ("x" * 2000, 0o600, "larger than"),
    ],
)
def test_a_password_file_that_is_not_safe_is_refused(
    tmp_path: Path, content: str, mode: int, fault: str
) -> None:
    path = tmp_path / "password"
    path.write_text(content)
    path.chmod(mode)
    with pytest.raises(ConfigError, match=fault):
        read_password(path)


def test_a_missing_password_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"mqtt\.password_file: cannot read"):
        read_password(tmp_path / "password")


def test_every_setting_stands_in_the_documentation_with_its_default() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "reference" / "agent-configuration.md").read_text()
    rows = [line.split("|")[1:-1] for line in page.splitlines() if line.startswith("| `")]
    documented = {cells[0].strip().strip("`"): cells[1].strip() for cells in rows if len(cells) == 4}
    wanted: dict[str, str] = {}
    tables: dict[str, type[msgspec.Struct]] = {**sections(), "pipelines.stages": StageSettings}
    for name, section in tables.items():
        for field in msgspec.structs.fields(section):
            default = "required" if field.required else f"`{_shown(_default(field))}`"
            wanted[f"{name}.{field.encode_name}"] = default
    assert documented == wanted


def _default(field: msgspec.structs.FieldInfo) -> object:
    return field.default_factory() if field.default is msgspec.NODEFAULT else field.default


def _shown(value: object) -> str:
    return msgspec.json.encode(str(value) if isinstance(value, Path) else value).decode()
