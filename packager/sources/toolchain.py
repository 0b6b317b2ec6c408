"""What a converter is: its program, its environment, and what it looks at before it starts.

PURE. Rules:

1. A converter's environment is named by its lock: another lock is another environment, never an upgrade in place.
2. Sizes and times shown to the user were measured, and say where.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_DIGEST_CHARS = 12


@dataclass(frozen=True)
class Converter:
    """One way to make a .tflite file of another framework's model.

    Attributes:
        name: Of its environment's folder.
        title: What users know it by.
        module: In ``packager.sources.converters``.
        source_name: What the source is called in the job's folder.
        lock: Hash-pinned requirements of its environment.
        unlocked: Requirements that are installed by name and version alone, after the others.
        pythons: (major, minor) versions that its lock has wheels for, the best first.
        size: What its environment takes on disk, measured on Linux x86-64.
        check: Refuses a hostile or damaged source before anything is started; gets path and name.
        own_packages: Packages that, installed beside litefleet, make an environment of its own needless.
        extra: The extra of litefleet that brings it; empty for none.
        timeout_s: Time for one job.
        programs: Folder of the programs that run in the environment; ``__main__.py`` is started.
    """

    name: str
    title: str
    module: str
    source_name: str
    lock: str
    pythons: tuple[tuple[int, int], ...]
    size: str
    check: Callable[[Path, str], None]
    unlocked: tuple[str, ...] = ()
    own_packages: tuple[str, ...] = ()
    extra: str = ""
    timeout_s: float = 1800.0  # the largest nets for small boards convert in minutes
    programs: Path = Path(__file__).parent / "converters"

    @property
    def lock_digest(self) -> str:
        """sha256 over everything that decides what is installed."""
        return hashlib.sha256("\n".join((self.lock, *self.unlocked)).encode()).hexdigest()

    @property
    def folder_name(self) -> str:
        """Of its environment."""
        return f"{self.name}-{self.lock_digest[:_DIGEST_CHARS]}"


@dataclass(frozen=True)
class Toolchain:
    """An interpreter that has what a converter needs.

    Attributes:
        python: The interpreter.
        flags: For it.
        digest: What is installed there: part of the key of everything it makes.
    """

    python: Path
    flags: tuple[str, ...]
    digest: str
