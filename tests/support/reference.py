"""What the reference pages take from the code: written between markers, compared by ``tests/unit/test_docs.py``.

A page holds ``<!-- begin KIND NAME -->`` and ``<!-- end -->``; what stands between them is rendered from the code.
``python -m tests.support.reference`` writes all pages anew.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import msgspec

from contract.deployment import ENDS, NEXT, State
from contract.messages import MESSAGE_OF, encode_message
from contract.topics import QOS, RETAINED, Kind, Topics
from edge_agent.update.machine import TABLE
from tests.support.builders import a_manifest
from tests.support.contract_builders import EXAMPLES
from tests.support.reference_types import REPORTS, default_name, struct_types, type_name

ROOT = Path(__file__).resolve().parents[2]
PAGES = ROOT / "docs" / "reference"
COMMANDS = {
    "litefleet-packager": "packager.cli:main",
    "litefleet-agent": "edge_agent.cli:main",
    "litefleet-server": "server.cli:main",
    "litefleet": "server.ctl:main",
}
_BLOCK = re.compile(r"(<!-- begin (\S+)(?: (\S+))? -->\n)(.*?)(<!-- end -->)", re.DOTALL)
_ATTRIBUTE = re.compile(r"^    (\w+): (.*(?:\n {8}.*)*)", re.MULTILINE)


def rendered(page: str) -> str:
    """A page with every block written anew."""
    return _BLOCK.sub(lambda found: found[1] + BLOCKS[found[2]](found[3] or "") + "\n" + found[5], page)


def blocks_of(page: str) -> list[tuple[str, str]]:
    """Kind and name of every block of a page."""
    return [(found[2], found[3] or "") for found in _BLOCK.finditer(page)]


def meanings(struct: type[msgspec.Struct]) -> dict[str, str]:
    """Field to meaning, from the ``Attributes`` of the docstrings of a struct and its bases."""
    found: dict[str, str] = {}
    for base in reversed(struct.__mro__):
        if "Attributes:" in (base.__doc__ or ""):
            attributes = inspect.getdoc(base) or ""
            for name, text in _ATTRIBUTE.findall(attributes.partition("Attributes:")[2]):
                found[name] = _plain(text)
    return found


def _plain(text: str) -> str:
    """A docstring's text as a table cell of a page that speaks JSON."""
    return _escaped(re.sub(r"\bNone\b", "null", " ".join(text.split()).replace("``", "`")))


def _escaped(text: str) -> str:
    """Text in which nothing outside code is taken for HTML or a table's border."""
    pieces = text.replace("|", "\\|").split("`")
    return "`".join(
        piece.replace("<", "\\<") if index % 2 == 0 else piece for index, piece in enumerate(pieces)
    )


def _table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(cells) + " |" for cells in rows)])


def _fields(name: str) -> str:
    struct = (struct_types() | struct_types(REPORTS))[name]
    meaning = meanings(struct.cls)
    rows = (
        (f"`{field.encode_name}`", type_name(field.type), default_name(field), meaning[field.name])
        for field in struct.fields
    )
    return _table(("Field", "Type", "Default", "Meaning"), rows)


def _example(name: str) -> str:
    if name == "manifest":
        content = msgspec.json.format(msgspec.json.encode(a_manifest()), indent=2).decode()
    else:
        content = encode_message(EXAMPLES[Kind(name)]).decode()
    return f"```json\n{content}\n```"


def _first_line(documented: object) -> str:
    """The docstring's first sentence, without the topic that it ends with."""
    line = (inspect.getdoc(documented) or "").partition("\n")[0]
    return _plain(re.sub(r":? ``[^`]*``\.?$", "", line).rstrip("."))


def _topics(_: str) -> str:
    def rows() -> Iterator[tuple[str, ...]]:
        for kind in Kind:
            fields = {Kind.DEPLOYMENT: "/<deployment>", Kind.CHUNK: "/<transfer>/<n>"}.get(kind, "")
            topic = f"_server/{kind.value}" if kind is Kind.SERVER_STATE else f"<device>/{kind.value}{fields}"
            message = MESSAGE_OF.get(kind)
            link = f"[{message.__name__}](messages.md#{message.__name__.lower()})" if message else "raw bytes"
            meaning = _first_line(message) if message else "One chunk of a transfer"
            retained = "yes" if kind in RETAINED else "no"
            yield f"`{topic}`", retained, str(QOS[kind]), link, meaning

    return _table(("Topic", "Retained", "QoS", "Message", "Meaning"), rows())


def _filters(_: str) -> str:
    topics = Topics()
    rows = [
        ("Server", f"`{topics.server_filter()}`", "everything that devices send up"),
        ("Device", f"`{topics.prefix}/<device>/dn/#`", "everything sent down to it"),
        ("Device", f"`{topics.server_state()}`", "the server's birth and last will"),
    ]
    return _table(("Who", "Subscribes to", "To get"), iter(rows))


def _diagram(_: str) -> str:
    # Mermaid takes a hyphen in a state's own name for the beginning of an arrow.
    word = {state: state.value.replace("-", "_") for state in State}
    lines = ["```mermaid", "stateDiagram-v2"]
    lines += [f'    state "{state.value}" as {word[state]}' for state in State if word[state] != state.value]
    lines.append(f"    [*] --> {word[State.ASSIGNED]}")
    for before, after in NEXT.items():
        lines += [f"    {word[before]} --> {word[state]}" for state in State if state in after]
    lines += [f"    {word[end]} --> [*]" for end in State if end in ENDS]
    return "\n".join([*lines, "```"])


def _states(_: str) -> str:
    def rows() -> Iterator[tuple[str, ...]]:
        for state, row in TABLE.items():
            allowed = "-" if state in ENDS else str(row.interruptions)
            given_up = "-" if state in ENDS else "no" if row.superseded is state else "yes"
            yield f"`{state.value}`", row.action.value, row.interruption, allowed, given_up

    return _table(
        ("State", "What is done", "An interruption there", "Allowed in a row", "Superseded"), rows()
    )


def commands() -> dict[str, click.Command]:
    """Every command and group of every command line by its full name."""
    found: dict[str, click.Command] = {}

    def walk(name: str, command: click.Command) -> None:
        found[name] = command
        for word, inner in sorted(getattr(command, "commands", {}).items()):
            walk(f"{name} {word}", inner)

    for name, place in COMMANDS.items():
        module, _, attribute = place.partition(":")
        walk(name, getattr(importlib.import_module(module), attribute))
    return found


def _command(name: str) -> str:
    command = commands()[name.replace("_", " ")]
    context = click.Context(command, info_name=name.replace("_", " "))
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    text = "\n\n".join(inspect.cleandoc(part) for part in (command.help, command.epilog) if part)
    lines = ["```text", usage, "```", "", _escaped(text), ""]
    rows: list[tuple[str, ...]] = []
    for option in command.params:
        if isinstance(option, click.Option) and not option.hidden:
            names = ", ".join(f"`{word}`" for word in (*option.opts, *option.secondary_opts))
            variable = f"`{option.envvar}`" if isinstance(option.envvar, str) else ""
            rows.append((names, _option_default(option), variable, _escaped(option.help or "")))
    if rows:
        lines.append(_table(("Option", "Default", "Environment", "Meaning"), iter(rows)))
    return "\n".join(lines).rstrip()


def _option_default(option: click.Option) -> str:
    if option.required:
        return "required"
    default = option.to_info_dict()["default"]
    return "" if option.is_flag or default is None else f"`{default}`"


BLOCKS: dict[str, Callable[[str], str]] = {
    "fields": _fields,
    "example": _example,
    "topics": _topics,
    "filters": _filters,
    "diagram": _diagram,
    "states": _states,
    "command": _command,
}
"""Kind of block to what renders it, given the block's name."""


def main() -> None:
    """Write all pages anew."""
    for path in sorted(PAGES.glob("*.md")):
        page = path.read_text(encoding="utf-8")
        if page != rendered(page):
            path.write_text(rendered(page), encoding="utf-8")


if __name__ == "__main__":
    main()
