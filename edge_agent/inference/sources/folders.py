"""Folders of images: the same ones over and over, or new ones as they come.

Guarantees: a file is taken when it is written, not while it is: it was closed by its writer, moved in, or, for those
that were there before, unchanged for ``SETTLED_S``. With ``delete`` and ``move:`` the folder itself is the queue: the
newest first, every file once it was answered or can never be, none lost. With ``keep`` only what is new is taken, and
the newest alone when several came. Folders within the folder are looked at by ``folder`` alone.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from contract.errors import NotFoundError, StorageError
from edge_agent.inference.sources.doors import Frame
from edge_agent.inference.sources.images import SUFFIXES, list_images, load_image
from edge_agent.inference.sources.inotify import Inotify

SETTLED_S = 2.0
_MOVE = "move:"
_MAX_NAMES = 10_000


class FolderCapture:
    """A folder's images and those of its folders, round after round; it is looked at anew with each."""

    waits = True
    patience_s = math.inf

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._round: Iterator[Path] = iter(())

    def read(self, timeout_s: float) -> Frame | None:  # noqa: ARG002 - a folder has no news to wait for
        """See ``Capture``."""
        path = next(self._round, None)
        if path is None:
            self._round = iter(list_images(self._folder))
            path = next(self._round, None)
        if path is None:
            raise NotFoundError(f"no images in {self._folder}")
        return Frame(str(path), partial(load_image, path))

    def close(self) -> None:
        """See ``Capture``."""


class WatchCapture:
    """Images that appear in a folder.

    Args:
        folder: Watched; not the folders within it.
        done: ``keep``, ``delete`` or ``move:DIR``; a relative DIR is within the folder.
    """

    patience_s = math.inf

    def __init__(self, folder: Path, done: str) -> None:
        self.waits = done != "keep"
        self._folder = folder
        self._done = done
        self._move_to = folder / done[len(_MOVE) :] if done.startswith(_MOVE) else None
        self._inotify: Inotify | None = None
        self._growing: set[str] = set()
        self._ready: set[str] = set()

    def read(self, timeout_s: float) -> Frame | None:
        """See ``Capture``."""
        if self._inotify is None:
            self._inotify = Inotify(self._folder)
            self._growing.clear()
        path = self._leftover(self._hear(0.0)) if self.waits else None
        if path is None:
            newest = self._hear(timeout_s)
            path = self._leftover(newest) if self.waits else newest
        return (
            None if path is None else Frame(str(path), partial(load_image, path), partial(self._finish, path))
        )

    def _hear(self, timeout_s: float) -> Path | None:
        """The newest image of which news came that it is written."""
        assert self._inotify is not None  # noqa: S101 - read opens it
        newest = None
        try:
            for name, is_written in self._inotify.read(timeout_s):
                if Path(name).suffix.lower() not in SUFFIXES:
                    continue
                self._growing.discard(name)
                if is_written:
                    newest = self._folder / name
                    self._ready.add(name)
                else:
                    self._ready.discard(name)
                    self._growing.add(name)
        except NotFoundError:
            self.close()
            raise
        for names in (self._growing, self._ready):
            if len(names) > _MAX_NAMES:
                names.clear()  # what is left is judged by its age
        return newest

    def _leftover(self, newest: Path | None) -> Path | None:
        """The newest file in the folder that is written."""
        if newest is not None and newest.is_file():
            return newest
        found: tuple[float, str] | None = None
        now = time.time()
        with os.scandir(self._folder) as entries:
            for entry in entries:
                name = entry.name
                if Path(name).suffix.lower() not in SUFFIXES or name in self._growing or not entry.is_file():
                    continue
                try:
                    changed = entry.stat().st_mtime
                except FileNotFoundError:
                    continue
                if name in self._ready or now - changed >= SETTLED_S:
                    found = max(found or (changed, name), (changed, name))
        return None if found is None else self._folder / found[1]

    def _finish(self, path: Path) -> None:
        self._ready.discard(path.name)
        try:
            if self._move_to is not None:
                self._move_to.mkdir(parents=True, exist_ok=True)
                path.replace(self._move_to / path.name)
            elif self._done == "delete":
                path.unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(f"{path} was answered and cannot be put away: {error.strerror}") from error

    def close(self) -> None:
        """See ``Capture``."""
        if self._inotify is not None:
            self._inotify.close()
            self._inotify = None
