"""How many bytes of a model would travel.

PURE. Rules:

1. ``plain`` is the file; ``zlib`` and ``lzma`` are the file in one stream of these, at their highest level, as the
   standard library makes them: the same bytes give the same figures with the same library.
2. litefleet's own transfer sends artifacts as they are. What zlib or lzma save is saved where the transfer is
   compressed: a reverse proxy, an application package, an image of the device.
"""

from __future__ import annotations

import lzma
import zlib

import msgspec

_ZLIB_LEVEL = 9
_LZMA_LEVEL = 9


class Download(msgspec.Struct, frozen=True, kw_only=True):
    """A file's size, and what is left of it.

    Attributes:
        plain_bytes: Of the file.
        zlib_bytes: After zlib, level 9; what gzip and HTTP's deflate make, but for a few bytes.
        lzma_bytes: After xz with lzma, level 9.
    """

    plain_bytes: int
    zlib_bytes: int
    lzma_bytes: int


def download_of(content: bytes) -> Download:
    """Measure a file."""
    return Download(
        plain_bytes=len(content),
        zlib_bytes=len(zlib.compress(content, _ZLIB_LEVEL)),
        lzma_bytes=len(lzma.compress(content, preset=_LZMA_LEVEL)),
    )
