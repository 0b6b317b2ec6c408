"""The command line refuses wrong usage in one line and loads nothing heavy for it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from contract.errors import ConfigError
from packager.cli import main
from packager.settings import read_token
from tests.support.builders import a_bundle

PACK = ("pack", "model.tflite", "--name", "digits", "--version", "1.0.0", "--evaluation", "images")
ON_PC = (*PACK, "--profile", "generic-x86-64")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


@pytest.mark.parametrize("command", ["pack", "compress", "distil", "inspect", "publish", "keys"])
def test_every_command_has_help(command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    assert "Usage:" in result.stdout


@pytest.mark.parametrize(
    "command", [("pack",), ("compress",), ("distil",), ("inspect",), ("publish",), ("keys", "init")]
)
def test_every_commands_help_has_an_example(command: tuple[str, ...]) -> None:
    assert "Example: litefleet-packager" in run(*command, "--help").stdout


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ((*PACK, "--profile", "raspbery-pi-4"), "error: there is no profile 'raspbery-pi-4' - did you mean"),
        ((*ON_PC, "--profile", "generic-x86-64"), "profile generic-x86-64 is given twice"),
        ((*ON_PC, "--std", "0"), "std must be above 0"),
        ((*ON_PC, "--name", "Digits"), "error: 'Digits' is not a model name"),
        ((*ON_PC, "--version", "1.0"), "error: '1.0' is not a version"),
        (ON_PC, "error: a profile's ladder has static int8 or int16"),
        ((*ON_PC, "--mean", "a"), "'a' is not a number, or three with commas between"),
        ((*ON_PC, "--mean", "nan"), "'nan' is not finite"),
        ((*ON_PC, "--max-drop", "1.5"), "error: '1.5' is no allowed loss - write 0.01 for one point, or 1%"),
        ((*ON_PC, "--max-class-drop", "5 %%"), "error: '5 %%' is no allowed loss"),
        ((*ON_PC, "--class-floor", "2"), "2.0 is not in the range 0<=x<=1"),
        ((*ON_PC, "--confidence", "0.4"), "confidence must be above 0.5 and below 1"),
        ((*ON_PC, "--min-samples", "0"), "0 is not in the range x>=1"),
        (PACK, "no profiles: give --profile, or set pack.profiles in litefleet.toml"),
        (("pack",), "no model: give MODEL"),
        (("publish", "--server", "http://127.0.0.1:1"), "Missing argument 'BUNDLES...'"),
    ],
)
def test_wrong_usage_is_refused_with_exit_code_2(arguments: tuple[str, ...], wanted: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert wanted in result.stderr
    assert result.stdout == ""


def test_inspect_shows_a_bundle_and_that_its_digests_are_right(tmp_path: Path) -> None:
    result = run("inspect", str(a_bundle(tmp_path)))
    assert result.exit_code == 0
    assert "digits 1.0.0" in result.stdout
    assert "2 artifacts, every digest is right" in result.stdout


def test_inspect_refuses_what_is_no_bundle_with_exit_code_1(tmp_path: Path) -> None:
    (tmp_path / "x.bundle").write_text("no bundle")
    result = run("inspect", str(tmp_path / "x.bundle"), "--json")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert len(result.stderr.splitlines()) == 1


def test_keys_are_made_and_never_overwritten(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    assert run("keys", "init", "--keys", str(folder)).exit_code == 0
    again = run("keys", "init", "--keys", str(folder))
    assert again.exit_code == 1
    assert "never overwritten" in again.stderr


def test_help_loads_neither_numpy_nor_runtime_nor_quantizer_nor_network() -> None:
    program = (
        "import sys, packager.cli; "
        "heavy = {'numpy', 'ai_edge_litert', 'litert_quantizer', 'PIL', 'rich', 'tuf', 'urllib3'}; "
        "sys.stdout.write(' '.join(sorted(heavy & set(sys.modules))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == ""


def token_file(folder: Path, content: str = "secret\n", mode: int = 0o600) -> Path:
    path = folder / "publisher.token"
    path.write_text(content)
    path.chmod(mode)
    return path


def test_a_token_is_read_without_its_line_end(tmp_path: Path) -> None:
    assert read_token(token_file(tmp_path)) == "secret"


def test_a_token_that_others_can_read_is_refused_and_stands_in_no_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="can be read by others") as refused:
        read_token(token_file(tmp_path, mode=0o644))
    assert "secret" not in refused.value.diagnostics()


def test_a_missing_or_empty_token_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file") as refused:
        read_token(tmp_path / "none")
    assert "--token-file" in refused.value.remedy
    with pytest.raises(ConfigError, match="is empty"):
        read_token(token_file(tmp_path, content="\n"))
