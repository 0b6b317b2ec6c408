"""What earlier runs made, kept by what it was made from, so that an interrupted run goes on where it stopped.

Guarantees: an entry is whole or absent, whatever happens while it is written; one that the disk spoiled is noticed by
its digest, removed and made again; the folder stays within a size, and what was used last stays. Everything about the
cache may fail: then the work is done, and the log says why. Two runs at once may share a folder.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import platform
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

_log = logging.getLogger(__name__)

MAX_BYTES = 4 << 30
"""4 GiB: some hundred variants of the largest nets that small boards run."""
_CACHE_ENV = "XDG_CACHE_HOME"
_SUFFIX = ".stage"
_DRAFT_PREFIX = ".draft-"
_DRAFT_MAX_AGE_S = 24 * 3600.0  # a draft this old belongs to a run that was killed
_CPUINFO_MAX_BYTES = 1 << 16
_DIGEST_BYTES = hashlib.sha256().digest_size


def default_cache_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """``litefleet/pack`` in the user's cache folder (XDG Base Directory Specification 0.8)."""
    base = environment.get(_CACHE_ENV, "")
    # The specification: a relative path is to be ignored.
    root = Path(base) if base.startswith("/") else Path("~/.cache").expanduser()
    return root / "litefleet" / "pack"


def processor_kind(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """What the last bits of a calculation depend on: architecture and instruction sets."""
    features = ""
    with contextlib.suppress(OSError), cpuinfo.open("rb") as file:
        lines = file.read(_CPUINFO_MAX_BYTES).decode("ascii", errors="replace").splitlines()
        features = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return f"{platform.machine()} {hashlib.sha256(features.encode()).hexdigest()[:16]}"


def stage_key(kind: str, **ingredients: object) -> str:
    """Name of an entry: a digest over everything that its content follows from.

    Args:
        kind: What is made, for example ``quantized``.
        ingredients: What it is made from, by name; anything that has a JSON form.
    """
    return hashlib.sha256(msgspec.json.encode([kind, ingredients], order="deterministic")).hexdigest()


class Stages:
    """Does the work of a stage, or takes what it gave before."""

    def __init__(self, folder: Path | None, max_bytes: int = MAX_BYTES) -> None:
        """Nothing is made or read yet.

        Args:
            folder: Where entries are; None to remember nothing.
            max_bytes: How much they may take together.
        """
        self._folder = folder
        self._max_bytes = max_bytes
        self.reused = 0
        self.made = 0

    def run(self, key: str, make: Callable[[], bytes]) -> bytes:
        """What ``make`` gives, from an earlier run where there was one.

        Args:
            key: From ``stage_key``.
            make: Does the work; what it raises goes through, and nothing is kept.
        """
        known = self._load(key)
        if known is not None:
            self.reused += 1
            return known
        content = make()
        self.made += 1
        self._store(key, content)
        return content

    def _load(self, key: str) -> bytes | None:
        if self._folder is None:
            return None
        path = self._folder / (key + _SUFFIX)
        try:
            stored = path.read_bytes()
            content = stored[_DIGEST_BYTES:]
            if hashlib.sha256(content).digest() == stored[:_DIGEST_BYTES]:
                os.utime(path)  # used now: it goes last
                return content
            _log.warning("the cache entry %s is damaged; it is made again", path)
            path.unlink(missing_ok=True)
        except FileNotFoundError:
            return None
        except OSError as error:
            _log.warning("the cache entry %s cannot be used: %s", path, error.strerror)
        return None

    def _store(self, key: str, content: bytes) -> None:
        if self._folder is None:
            return
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle, draft = tempfile.mkstemp(prefix=_DRAFT_PREFIX, dir=self._folder)
            try:
                # Not synchronised with the disk: what a power cut leaves half is noticed by its digest.
                with os.fdopen(handle, "wb") as file:
                    file.write(hashlib.sha256(content).digest())
                    file.write(content)
                Path(draft).replace(self._folder / (key + _SUFFIX))
            except BaseException:
                Path(draft).unlink(missing_ok=True)
                raise
            _shrink(self._folder, self._max_bytes, time.time())
        except OSError as error:
            _log.warning("the cache %s cannot be written: %s", self._folder, error.strerror)


def _shrink(folder: Path, max_bytes: int, now: float) -> None:
    """Remove what was used longest ago until the rest fits, and what killed runs left behind."""
    entries: list[tuple[float, int, Path]] = []
    with os.scandir(folder) as found:
        for entry in found:
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue  # another run removed it
            if entry.name.endswith(_SUFFIX):
                entries.append((status.st_mtime, status.st_size, Path(entry.path)))
            elif entry.name.startswith(_DRAFT_PREFIX) and now - status.st_mtime > _DRAFT_MAX_AGE_S:
                Path(entry.path).unlink(missing_ok=True)
    total = sum(size for _, size, _ in entries)
    for _, size, path in sorted(entries):
        if total <= max_bytes:
            return
        path.unlink(missing_ok=True)
        total -= size
