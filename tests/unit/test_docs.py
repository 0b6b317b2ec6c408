"""Nothing is undocumented, nothing documented is gone, and no link leads nowhere."""

from __future__ import annotations

import re
from pathlib import Path

import click
import msgspec
import pytest

from contract.deployment import Reason, State
from contract.errors import ConfigError, DeviceError, LitefleetError, RejectedError, TransientError
from contract.manifest import Manifest
from contract.messages import MESSAGE_OF, EventKind
from firmware_profiles import load_profile, profile_ids
from tests.support.reference import COMMANDS, PAGES, ROOT, blocks_of, commands, meanings, rendered
from tests.support.reference_types import REPORTS, enums, leaves, struct_types

SKIPPED = {".git", "build", "dist"}
MARKDOWN = sorted(
    path
    for path in ROOT.rglob("*.md")
    if not any(part in SKIPPED or part.startswith(".") for part in path.relative_to(ROOT).parts)
)
REFERENCE = sorted(PAGES.glob("*.md"))
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)
_FAMILIES: dict[str, type[LitefleetError]] = {
    "rejected": RejectedError,
    "transient": TransientError,
    "device": DeviceError,
    "config": ConfigError,
}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def page(name: str) -> str:
    return (PAGES / name).read_text(encoding="utf-8")


def table(text: str, head: str) -> list[list[str]]:
    """The cells of the table whose first column has this head, without markup."""
    lines = text.partition(f"| {head} |")[2].splitlines()[2:]
    rows: list[list[str]] = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append([cell.strip().strip("`") for cell in line.strip("|").split("|")])
    return rows


# Links


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    plain = (re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower() for heading in headings)
    return {re.sub(r"[^\w\- ]", "", heading).strip().replace(" ", "-") for heading in plain}


def broken_links(path: Path, text: str) -> list[str]:
    """Every relative link of a page that leads nowhere."""
    broken: list[str] = []
    for target in _LINK.findall(_CODE.sub("", text)):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        place = (path.parent / file).resolve()
        if not file:
            is_broken = anchor not in anchors(text)
        elif not place.exists():
            is_broken = True
        else:
            is_broken = bool(anchor) and anchor not in anchors(place.read_text(encoding="utf-8"))
        if is_broken:
            broken.append(target)
    return broken


@pytest.mark.parametrize("path", MARKDOWN, ids=name_of)
def test_every_relative_link_leads_somewhere(path: Path) -> None:
    assert broken_links(path, path.read_text(encoding="utf-8")) == []


def test_a_broken_link_is_found() -> None:
    text = (
        "# One two\n[a](README.md) [b](missing.md) [c](#one-two) [d](#three) [e](https://x.y/z) "
        "`[f](code.md)` [g](README.md#nothing)\n```\n[h](code.md)\n# no-heading\n```\n[i](#no-heading)\n"
    )
    assert broken_links(ROOT / "X.md", text) == ["missing.md", "#three", "README.md#nothing", "#no-heading"]


def test_every_page_is_in_the_index() -> None:
    index = ROOT / "docs" / "README.md"
    linked = {
        (index.parent / target.partition("#")[0]).resolve() for target in _LINK.findall(index.read_text())
    }
    records = ROOT / "docs" / "adr"
    linked |= {(records / target).resolve() for target in _LINK.findall((records / "README.md").read_text())}
    pages = {path for path in MARKDOWN if name_of(path).startswith("docs/")} - {index}
    assert sorted(map(name_of, pages - linked)) == []


# What is written from the code


@pytest.mark.parametrize("path", REFERENCE, ids=name_of)
def test_a_reference_page_says_what_the_code_says(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text == rendered(text), "write the pages anew: .venv/bin/python -m tests.support.reference"


def test_every_field_is_explained() -> None:
    silent = [
        f"{name}.{field.name}"
        for name, struct in (struct_types() | struct_types(REPORTS)).items()
        for field in struct.fields
        if not meanings(struct.cls).get(field.name)
    ]
    assert silent == []


@pytest.mark.parametrize(
    ("name", "roots"),
    [("manifest.md", (Manifest,)), ("messages.md", tuple(MESSAGE_OF.values())), ("report.md", REPORTS)],
)
def test_every_struct_has_its_table_on_its_page(name: str, roots: tuple[type[msgspec.Struct], ...]) -> None:
    tables = [block[1] for block in blocks_of(page(name)) if block[0] == "fields"]
    assert sorted(tables) == sorted(struct_types(roots))
    assert set(map(str.lower, tables)) <= anchors(page(name))


def test_every_message_shows_an_example() -> None:
    examples = {block[1] for block in blocks_of(page("messages.md")) if block[0] == "example"}
    assert examples == {kind.value for kind in MESSAGE_OF}
    assert ("example", "manifest") in blocks_of(page("manifest.md"))


def test_topics_states_and_their_diagram_are_shown() -> None:
    assert {("topics", ""), ("filters", "")} <= set(blocks_of(page("topics.md")))
    assert {("diagram", ""), ("states", "")} <= set(blocks_of(page("deployment-states.md")))


def test_every_command_is_documented() -> None:
    shown = [block[1].replace("_", " ") for block in blocks_of(page("commands.md")) if block[0] == "command"]
    assert shown == list(commands())
    assert {name.split()[0] for name in shown} == set(COMMANDS)


@pytest.mark.parametrize("name", list(commands()))
def test_every_command_and_option_says_what_it_is_for(name: str) -> None:
    command = commands()[name]
    assert command.help
    options = [option for option in command.params if isinstance(option, click.Option)]
    assert [option.name for option in options if not option.help] == []


# What is written by hand


def test_every_state_and_reason_is_documented() -> None:
    states = page("deployment-states.md")
    assert [row[0] for row in table(states, "State")] == [state.value for state in State]
    assert [row[0] for row in table(states, "Reason")] == [reason.value for reason in Reason]


def test_every_error_code_is_documented_with_its_family() -> None:
    known: dict[str, str] = {}

    def walk(name: str, kind: type[LitefleetError]) -> None:
        known[kind.code] = name
        for member in kind.__subclasses__():
            walk(name, member)

    for name, family in _FAMILIES.items():
        walk(name, family)
    rows = table(page("errors.md"), "Code")
    assert {row[0]: row[1] for row in rows} == known
    assert len(rows) == len(known)
    assert all(len(row) == 4 and all(row) for row in rows)


def test_every_kind_of_event_is_documented() -> None:
    assert [row[0] for row in table(page("messages.md"), "Kind")] == [kind.value for kind in EventKind]


def test_every_word_that_a_field_may_hold_is_documented() -> None:
    text = "".join(page(name) for name in ("manifest.md", "messages.md", "deployment-states.md"))
    words = {str(member.value) for kind in enums() for member in kind}
    assert sorted(word for word in words if f"`{word}`" not in text) == []


def test_every_profile_and_every_field_of_one_is_documented() -> None:
    text = (ROOT / "firmware_profiles" / "README.md").read_text(encoding="utf-8")
    assert sorted(row[0] for row in table(text, "Profile")) == profile_ids()
    known = leaves(struct_types()["Profile"])
    assert sorted(row[0] for row in table(text, "Field")) == sorted(known)
    for row in table(text, "Profile"):
        assert all(precision.value in row[3] for precision in load_profile(row[0]).ladder)
