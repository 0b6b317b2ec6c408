"""Makes a converter's environment on first use, from its lock.

Guarantees: an environment counts only when it is whole (its marker is written last); one process makes it, others
wait; hashes of everything in the lock are checked by the installer. What is made is announced with its size first.
The user's configuration of pip and uv applies: index, mirror, proxy, folders of wheels.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from contract.errors import ConfigError
from packager.durable import storage_errors, write_durably
from packager.sources.cache import cache_folder, locked
from packager.sources.distil import distil
from packager.sources.interpreters import find_python
from packager.sources.toolchain import Converter, Toolchain

_log = logging.getLogger(__name__)
_MARKER = "litefleet-ready"
_INSTALL_TIMEOUT_S = 3600.0  # gigabytes over a slow line
# Nothing of the user's environment variables or site packages reaches the converter; -P needs Python 3.11.
_FLAGS = ("-E", "-s", "-P")

Tell = Callable[[str], None]


def prepare(converter: Converter, tell: Tell) -> Toolchain:
    """The interpreter for a converter: this one where it has what is needed, else an environment of its own.

    Raises:
        ConfigError: The environment cannot be made: no suitable Python, or the installer failed.
        StorageError: The disk refuses it.
    """
    if converter.own_packages and all(map(importlib.util.find_spec, converter.own_packages)):
        versions = [f"{name}=={importlib.metadata.version(name)}" for name in converter.own_packages]
        return Toolchain(Path(sys.executable), ("-P",), " ".join(versions))
    folder = cache_folder("converters") / converter.folder_name
    lock = folder.with_name(f"{folder.name}.lock")
    with locked(lock, _INSTALL_TIMEOUT_S, lambda: tell(f"waiting for another packer to make {folder}")):
        if not (folder / _MARKER).is_file():
            _make(converter, folder, tell)
    return Toolchain(folder / "bin" / "python", _FLAGS, converter.lock_digest)


def _make(converter: Converter, folder: Path, tell: Tell) -> None:
    python = find_python(converter.pythons, converter.title)
    tell(f"making an environment for {converter.title} in {folder}, once: {converter.size}, with {python}")
    with storage_errors(f"make {folder}"):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        requirements = folder / "requirements.txt"
        requirements.write_text(converter.lock, encoding="utf-8")
        _log_path(converter).unlink(missing_ok=True)
    own = folder / "bin" / "python"
    _run(converter, [str(python), "-m", "venv", str(folder)])
    options = ["--no-deps", "--require-hashes", "-r", str(requirements)]
    uv = shutil.which("uv")
    pip = [str(own), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
    _run(
        converter,
        [uv, "pip", "install", "--quiet", "--python", str(own), *options] if uv else [*pip, *options],
    )
    if converter.unlocked:
        # Always by pip: it has the user's own sources for such packages (see ADR 0018).
        _run(converter, [*pip, *converter.unlocked])
    write_durably(folder / _MARKER, b"")
    tell(f"made the environment for {converter.title}: {_size_bytes(folder) / 1e6:,.0f} MB")


def _run(converter: Converter, command: Sequence[str]) -> None:
    log = _log_path(converter)
    try:
        with log.open("ab") as output:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                timeout=_INSTALL_TIMEOUT_S,
                check=False,
                env={**os.environ, "PIP_NO_INPUT": "1"},
            )
        reason = distil(log.read_text(encoding="utf-8", errors="replace")) if done.returncode else ""
    except subprocess.TimeoutExpired:
        reason = f"not done within {_INSTALL_TIMEOUT_S:.0f} s"
    except OSError as error:
        reason = f"{command[0]} does not start: {error.strerror}"
    if reason:
        raise ConfigError(
            f"the environment for {converter.title} cannot be made: {reason} (whole log: {log})",
            remedy=_remedy(converter),
        )
    _log.info("done: %s", " ".join(command))


def _log_path(converter: Converter) -> Path:
    return cache_folder("logs") / f"{converter.folder_name}.log"


def _remedy(converter: Converter) -> str:
    if converter.extra:
        return (
            f"look at network, disk and index, or install it beside litefleet: "
            f"pip install 'litefleet[{converter.extra}]' ({converter.size})"
        )
    return f"look at network, disk ({converter.size}) and package index"


def _size_bytes(folder: Path) -> int:
    return sum(path.lstat().st_blocks * 512 for path in folder.rglob("*"))
