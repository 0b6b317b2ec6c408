"""The agent's configuration as text, for people who ask what is in force."""

from __future__ import annotations

from pathlib import Path

import msgspec

from edge_agent.config import LIST_SECTIONS, AgentConfig, sections


def show_config(config: AgentConfig) -> str:
    """The configuration as TOML, every setting with the value in force; secrets stand in their files only."""
    blocks: list[str] = []
    for name in sections():
        value = getattr(config, name)
        heading = f"[[{name}]]" if name in LIST_SECTIONS else f"[{name}]"
        for table in value if isinstance(value, tuple) else (value,):
            lines = [f"{key} = {_toml_value(getattr(table, key))}" for key in table.__struct_fields__]
            blocks.append("\n".join([heading, *lines]))
    return "\n\n".join(blocks) + "\n"


def _toml_value(value: object) -> str:
    if isinstance(value, msgspec.Struct):
        value = msgspec.structs.asdict(value)
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_toml_value, value)) + "]"
    if isinstance(value, dict):
        pairs = [f"{_toml_value(key)} = {_toml_value(entry)}" for key, entry in value.items()]
        return "{ " + ", ".join(pairs) + " }" if pairs else "{}"
    # A JSON string, integer or float is also a TOML one (https://toml.io/en/v1.0.0, "String", "Float").
    return msgspec.json.encode(str(value) if isinstance(value, Path) else value).decode()
