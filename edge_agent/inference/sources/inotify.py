"""What Linux tells of a folder: inotify(7), through the C library.

Guarantees: it never misses a file that was closed after it began, or says that it may have by reporting nothing more
of it (the kernel's queue is bounded, ``/proc/sys/fs/inotify/max_queued_events``). It hears of what happens on this
machine, not of what another one does to a shared folder.
"""

from __future__ import annotations

import ctypes
import os
import select
import struct
from collections.abc import Iterator
from pathlib import Path

from contract.errors import NotFoundError

# Constants of <sys/inotify.h>, the same on every architecture.
_MODIFY = 0x2
_CLOSE_WRITE = 0x8
_MOVED_TO = 0x80
_CREATE = 0x100
_DELETE_SELF = 0x400
_MOVE_SELF = 0x800
_IGNORED = 0x8000
_ONLYDIR = 0x1000000
_HEAD = struct.Struct("iIII")
_BUFFER_BYTES = 64 * 1024


class Inotify:
    """Of one folder.

    Args:
        folder: Watched.

    Raises:
        NotFoundError: There is no such folder, or it may not be read.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor: int = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        mask = _MODIFY | _CLOSE_WRITE | _MOVED_TO | _CREATE | _DELETE_SELF | _MOVE_SELF | _ONLYDIR
        if self._descriptor < 0 or libc.inotify_add_watch(self._descriptor, os.fsencode(folder), mask) < 0:
            reason = os.strerror(ctypes.get_errno())
            self.close()
            raise NotFoundError(f"{folder} cannot be watched: {reason}")

    def read(self, timeout_s: float) -> Iterator[tuple[str, bool]]:
        """Name of each file of which there is news within this time, and whether it is written now.

        Raises:
            NotFoundError: The folder is gone.
        """
        if not select.select([self._descriptor], [], [], timeout_s)[0]:
            return
        content = os.read(self._descriptor, _BUFFER_BYTES)
        place = 0
        while place < len(content):
            _, mask, _, length = _HEAD.unpack_from(content, place)
            place += _HEAD.size + length
            if mask & (_DELETE_SELF | _MOVE_SELF | _IGNORED):
                raise NotFoundError(f"{self._folder} is gone")
            name = os.fsdecode(content[place - length : place].rstrip(b"\0"))
            if name:
                yield name, bool(mask & (_CLOSE_WRITE | _MOVED_TO))

    def close(self) -> None:
        """Free it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
