"""Looks into ZIP-shaped model files (.keras, .pt2) without unpacking them.

Guarantees: bounded in members and bytes whatever the archive claims; nothing is executed or written.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from contract.errors import ManifestError

_MAX_MEMBERS = 200_000
_JSON_MAX_BYTES = 256 << 20  # a graph of a hundred thousand operators has tens of megabytes


def read_json_members(path: Path, name: str, suffix: str) -> Iterator[tuple[str, Any]]:
    """Every JSON document in an archive whose path ends in ``suffix``.

    Args:
        path: The archive.
        name: How to call it in error texts.
        suffix: End of the members' paths.

    Yields:
        Path in the archive, and what it holds.

    Raises:
        ManifestError: It is no archive, is damaged, or breaks a bound.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if len(members) > _MAX_MEMBERS:
                raise ManifestError(f"{name} has {len(members)} members, at most {_MAX_MEMBERS} are read")
            for member in members:
                if member.filename.endswith(suffix):
                    yield member.filename, _parse(archive, member, name)
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, NotImplementedError, RuntimeError) as error:
        raise ManifestError(
            f"{name} is damaged, or no such model: {error}", remedy="save it again, and copy it whole"
        ) from error


def _parse(archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str) -> Any:
    with archive.open(member) as file:
        content = file.read(_JSON_MAX_BYTES + 1)
    if len(content) > _JSON_MAX_BYTES:
        raise ManifestError(f"{name}: {member.filename} is larger than {_JSON_MAX_BYTES} bytes")
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"{name} is damaged: {member.filename} is no JSON") from error
