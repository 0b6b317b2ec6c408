"""How every command ends."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from contract.commands import LitefleetGroup
from contract.errors import ConfigError, DeviceError, ManifestError, TransientError


@click.group(cls=LitefleetGroup)
def main() -> None:
    """A command line."""


@main.command()
def good() -> None:
    """Work."""
    click.echo("done")


@main.command()
@click.argument("kind")
def bad(kind: str) -> None:
    """Fail."""
    families = {
        "manifest": ManifestError,
        "transient": TransientError,
        "device": DeviceError,
        "config": ConfigError,
    }
    raise families[kind]("not usable", faults=["a", "b"], remedy="mend it") from ValueError("cause")


@main.group()
def nested() -> None:
    """Hold more commands."""


nested.add_command(bad)


@pytest.fixture(autouse=True)
def _root_logger_as_before() -> Iterator[None]:
    root = logging.getLogger()
    before = (root.level, list(root.handlers))
    yield
    root.setLevel(before[0])
    root.handlers[:] = before[1]


def run(*words: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, words)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def test_a_command_that_worked_ends_with_0() -> None:
    assert run("good") == (0, "done\n", "")


@pytest.mark.parametrize(("kind", "code"), [("manifest", 1), ("transient", 1), ("device", 1), ("config", 2)])
def test_a_refusal_is_one_line_on_standard_error_and_its_familys_exit_code(kind: str, code: int) -> None:
    assert run("bad", kind) == (code, "", "error: not usable: a; b - mend it\n")


def test_a_refusal_in_a_nested_group_ends_the_same_way() -> None:
    assert run("nested", "bad", "config") == (2, "", "error: not usable: a; b - mend it\n")


@pytest.mark.parametrize("option", ["-v", "--verbose"])
def test_verbose_shows_everything(option: str) -> None:
    code, _, stderr = run(option, "bad", "manifest")
    assert code == 1
    assert stderr.splitlines() == [
        "error: manifest: not usable",
        "  * a",
        "  * b",
        "  what to do: mend it",
        "  caused by ValueError: cause",
    ]


def test_wrong_usage_ends_with_2() -> None:
    code, _, stderr = run("unknown")
    assert code == 2
    assert "No such command" in stderr


def test_a_bug_keeps_its_traceback() -> None:
    with pytest.raises(KeyError):
        run("bad", "bug")


def test_help_names_the_option() -> None:
    code, stdout, _ = run("--help")
    assert code == 0
    assert "--verbose" in stdout


@pytest.mark.parametrize(("words", "level"), [(["good"], logging.WARNING), (["-v", "good"], logging.INFO)])
def test_log_lines_appear_from_the_level_asked_for(words: list[str], level: int) -> None:
    logging.getLogger().handlers.clear()
    run(*words)
    assert logging.getLogger().level == level
