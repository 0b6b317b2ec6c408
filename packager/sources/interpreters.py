"""Finds a Python interpreter of a wanted version on this machine.

Guarantees: what is returned ran, has the version and can make virtual environments. Installs nothing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from contract.errors import ConfigError

_TIMEOUT_S = 30.0
_PROBE = "import ensurepip, venv, sys; sys.stdout.write('%d.%d' % sys.version_info[:2])"


def find_python(versions: Sequence[tuple[int, int]], what: str) -> Path:
    """The first interpreter of one of the versions: this one, then PATH, then pyenv.

    Args:
        versions: (major, minor), the best first.
        what: Who needs it, for the error text.

    Raises:
        ConfigError: There is none.
    """
    for version in versions:
        for candidate in _candidates(version):
            if _is_usable(candidate, version):
                return candidate
    names = " or ".join(f"{major}.{minor}" for major, minor in versions)
    raise ConfigError(
        f"{what} needs Python {names}, and none that can make virtual environments is on PATH",
        remedy=f"install Python {versions[0][0]}.{versions[0][1]} (with its venv module), for example with "
        "your distribution's packages or pyenv, and put it on PATH",
    )


def _candidates(version: tuple[int, int]) -> Iterator[Path]:
    name = f"python{version[0]}.{version[1]}"
    if sys.version_info[:2] == version:
        yield Path(sys.executable)
    found = shutil.which(name)
    if found:
        yield Path(found)
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from sorted(root.glob(f"versions/{version[0]}.{version[1]}*/bin/{name}"), reverse=True)


def _is_usable(python: Path, version: tuple[int, int]) -> bool:
    try:
        done = subprocess.run(
            [python, "-I", "-c", _PROBE],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0 and done.stdout == f"{version[0]}.{version[1]}"
