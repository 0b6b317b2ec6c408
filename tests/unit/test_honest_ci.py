"""What CI lacks fails there, and is left out elsewhere."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.tools import do_without, require

ROOT = Path(__file__).parents[2]
VERSIONS = ("3.10", "3.11", "3.12", "3.13")


def test_what_is_missing_skips_on_a_laptop_and_fails_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no such board"):
        do_without("no such board", remedy="buy one")
    with pytest.raises(pytest.skip.Exception, match="no-such-program is not installed"):
        require("no-such-program")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match=r"no such board; CI must have it \(buy one\)"):
        do_without("no such board", remedy="buy one")
    with pytest.raises(pytest.fail.Exception, match="no-such-program is not installed; CI must have it"):
        require("no-such-program")


def on_a_machine_with(
    folder: Path, versions: tuple[str, ...], **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run ``scripts/test-pythons`` where there are these Pythons, which do nothing but say that all is well."""
    programs, scripts = folder / "bin", folder / "scripts"
    programs.mkdir()
    for name in ("bash", "dirname", "rm"):
        (programs / name).symlink_to(require(name))
    for version in versions:
        (programs / f"python{version}").symlink_to(require("true"))
    # Environments are asked for and never made, so nothing is tested and nothing downloaded.
    (programs / "uv").write_text(f"#!{require('bash')}\necho asked for >&2\nexit 3\n")
    (programs / "uv").chmod(0o755)
    scripts.mkdir()
    shutil.copy(ROOT / "scripts" / "test-pythons", scripts)
    return subprocess.run(
        [require("bash"), str(scripts / "test-pythons")],
        env={"PATH": str(programs), "PYENV_ROOT": str(folder / "none"), **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_ci_without_one_of_the_pythons_fails_and_names_it(tmp_path: Path) -> None:
    ended = on_a_machine_with(tmp_path, VERSIONS[:3], CI="true")
    assert ended.returncode == 1
    assert ended.stderr.startswith("CI must have every Python that is supported; not found")
    assert "(pyenv install 3.13)" in ended.stderr


@pytest.mark.parametrize(
    ("versions", "variables"), [(VERSIONS, {"CI": "true"}), (VERSIONS[1:3], {})], ids=["CI", "laptop"]
)
def test_tests_begin_where_the_pythons_are_there(
    tmp_path: Path, versions: tuple[str, ...], variables: dict[str, str]
) -> None:
    ended = on_a_machine_with(tmp_path, versions, **variables)
    assert (ended.returncode, ended.stderr) == (3, "asked for\n")


def test_a_laptop_with_one_python_has_nothing_to_compare(tmp_path: Path) -> None:
    ended = on_a_machine_with(tmp_path, VERSIONS[1:2])
    assert ended.returncode == 1
    assert "fewer than two versions of Python" in ended.stderr
