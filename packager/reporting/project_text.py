"""The project file that asks for the same run again.

PURE. Rules:

1. Names of files and folders are not repeated: they are other ones on another machine, and digests tell which
   content is meant. Each is named after its key.
2. A setting that has its default is left out. What does not change what is made (where to, the cache) is, too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any

import msgspec

from packager.project import PackTable

_PLACES = {
    "evaluation": "evaluation",
    "calibration": "calibration",
    "labels": "labels.txt",
    "baseline": "baseline.bundle",
}
_LEFT_OUT = frozenset(("output", "cache", "report"))


def project_text(table: PackTable, options: Mapping[str, Any]) -> str:
    """A ``litefleet.toml``, from the settings of a run.

    Args:
        table: The settings.
        options: Of the task: scalars and lists.
    """
    lines = ["[pack]\n", *_lines(table)]
    if options:
        lines += ["\n[task_options]\n", *(_line(key, _named(value)) for key, value in options.items())]
    return "".join(lines)


def _lines(table: PackTable) -> Iterator[str]:
    for field in msgspec.structs.fields(PackTable):
        key, value = field.encode_name, getattr(table, field.name)
        if key not in _LEFT_OUT and value != field.default:
            yield _line(key, PurePath(value).name if key == "model" else _PLACES.get(key, value))


def _named(value: object) -> object:
    """An option, of which an absolute path is only the last name."""
    return PurePath(value).name if isinstance(value, str) and value.startswith("/") else value


def _line(key: str, value: object) -> str:
    # TOML's strings, numbers, booleans and arrays are written as JSON's; only DEL must be escaped as well. A file's
    # name need not be text: what is not, is shown as such.
    text = (
        json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f").encode("utf-8", "replace").decode()
    )
    return f"{key} = {text}\n"
