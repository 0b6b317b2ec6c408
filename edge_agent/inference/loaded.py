"""Which shared libraries this process has loaded, by the names under which the loader found them.

Guarantees: a name is a path that a later process would find too, a link where the loader followed one; at most
``LIBRARIES_MAX``. Reads the loader's own list (dlinfo(3), ``RTLD_DI_LINKMAP``); where there is none, there are no
names.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

LIBRARIES_MAX = 500
"""A probe of ai-edge-litert has 39 (own measurement, Python 3.11, numpy 2.4)."""
_LINK_MAP = 2
"""RTLD_DI_LINKMAP of glibc's and musl's dlfcn.h."""


class _Library(ctypes.Structure):
    """``struct link_map`` of link.h."""


_Library._fields_ = [
    ("address", ctypes.c_void_p),
    ("name", ctypes.c_char_p),
    ("dynamic", ctypes.c_void_p),
    ("next", ctypes.POINTER(_Library)),
    ("previous", ctypes.POINTER(_Library)),
]


def loaded_libraries() -> list[str]:
    """Absolute paths, in the order of loading; without the program itself and what is in no file."""
    program = ctypes.CDLL(None)
    library = ctypes.POINTER(_Library)()
    try:
        handle = ctypes.c_void_p(program._handle)  # noqa: SLF001 - ctypes has no other name for it
        program.dlinfo(handle, _LINK_MAP, ctypes.byref(library))  # which leaves no pointer where it fails
    except AttributeError:
        return []
    found: list[str] = []
    while ctypes.cast(library, ctypes.c_void_p).value is not None and len(found) < LIBRARIES_MAX:
        name = os.fsdecode(library.contents.name or b"")
        if "/" in name:
            found.append(str(Path(name).absolute()))
        library = library.contents.next
    return found
