"""Finds and runs a user's own task function; the only place that imports code which is not ours.

Guarantees: nothing is imported before the user named it; the project's folder comes last on the path, so that a file
in it cannot stand in for an installed module; whatever the code raises becomes one error with the end of its own
traceback. The code runs with the packager's rights: it is the user's. Does not know what tasks are.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from contract.errors import ConfigError, ManifestError

_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
_LINES_SHOWN = 4


@dataclass(frozen=True)
class UserFunction:
    """A function that was found.

    Attributes:
        name: ``module:function``.
        call: The function itself.
        folder: Of the project.
    """

    name: str
    call: Callable[..., Any]
    folder: Path

    def sha256(self) -> str:
        """Digest over the sources that the function is made of: its module, and every module of the project's folder.

        Asked for after the function was called, when it has imported what it needs.
        """
        module = self.name.partition(":")[0]
        digest = hashlib.sha256()
        for name, path in sorted(_sources(module, self.folder)):
            content = path.read_bytes()
            digest.update(name.encode() + b"\0" + hashlib.sha256(content).digest())
        return digest.hexdigest()


def find_function(name: str, folder: Path) -> UserFunction:
    """Import a module and take a function out of it.

    Args:
        name: ``module:function``; dots as in an import.
        folder: The project's, where the module is looked for after the installed ones.

    Raises:
        ConfigError: No such name, module or function.
        ManifestError: The module fails while it is imported.
    """
    if _NAME.fullmatch(name) is None:
        raise ConfigError(
            f"custom:{name[:80]} names no function",
            remedy="write custom:module:function, for example custom:my_task:task",
        )
    module_name, _, function = name.partition(":")
    place = str(folder.resolve())
    if place not in sys.path:
        sys.path.append(place)
    importlib.invalidate_caches()
    with user_code(f"importing {module_name}"):
        try:
            module = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
                raise  # it is there, and misses something itself
            raise ConfigError(
                f"there is no module {module_name}",
                remedy=f"put {module_name.replace('.', '/')}.py into {place}, where litefleet.toml is, or install it",
            ) from error
    call = getattr(module, function, None)
    if not callable(call):
        known = [key for key, value in vars(module).items() if _is_function(value, module)]
        hint = f"it has {', '.join(sorted(known))}" if known else "it has no functions"
        raise ConfigError(f"module {module_name} has no function {function!r}", remedy=hint)
    return UserFunction(name, call, folder.resolve())


def _is_function(value: object, module: ModuleType) -> bool:
    return callable(value) and getattr(value, "__module__", "") == module.__name__


@contextlib.contextmanager
def user_code(what: str) -> Iterator[None]:
    """Turn whatever the user's code raises into one error.

    Args:
        what: What it was doing, for the error text.

    Raises:
        ManifestError: With the last lines of the traceback, without our own frames.
    """
    try:
        yield
    except (ManifestError, ConfigError):
        raise
    except (Exception, SystemExit) as error:
        # Only the user's code stands in the block, and it may raise anything; the text must help to mend it.
        frames = [
            frame for frame in traceback.extract_tb(error.__traceback__) if not _is_ours(frame.filename)
        ]
        lines = [
            f"{frame.filename}:{frame.lineno} in {frame.name}: {frame.line}"
            for frame in frames[-_LINES_SHOWN:]
        ]
        raise ManifestError(
            f"your code failed while {what}: {type(error).__name__}: {error}",
            faults=lines,
            remedy="mend it; it can be tried alone, without the packager",
        ) from error


def _is_ours(filename: str) -> bool:
    return Path(filename).is_relative_to(Path(__file__).parent) or filename.startswith("<frozen importlib")


def _sources(module: str, folder: Path) -> Iterator[tuple[str, Path]]:
    for name, found in list(sys.modules.items()):
        file = getattr(found, "__file__", None)
        if not file or not file.endswith(".py"):
            continue
        path = Path(file).resolve()
        is_project = path.is_relative_to(folder) and "site-packages" not in path.parts
        if name == module or (is_project and not _is_part(name)):
            yield name, path


def _is_part(name: str) -> bool:
    """Whether a module is litefleet's own: its version stands in the key of the cache anyway."""
    return name.partition(".")[0] in {"contract", "firmware_profiles", "packager"}
