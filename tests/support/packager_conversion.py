"""Converters and tiny packages for tests of conversion; nothing here needs a framework or a network."""

from __future__ import annotations

import base64
import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

from packager.sources.toolchain import Converter

PROGRAMS = Path(__file__).parent / "packager_converter"


def accept(_: Path, __: str) -> None:
    """A check that takes everything."""


def converter(behaviour: str = "converts", **changes: Any) -> Converter:
    """A converter that runs in this environment and behaves as told."""
    sound: dict[str, Any] = {
        "name": "pretender",
        "title": "Pretender",
        "module": behaviour,
        "source_name": "source.tflite",
        "lock": "",
        "pythons": ((3, 11), (3, 12), (3, 13)),
        "size": "1 MB",
        "check": accept,
        "own_packages": ("numpy",),
        "timeout_s": 60.0,
        "programs": PROGRAMS,
    }
    return Converter(**(sound | changes))


class Ear:
    """Hears what is going on."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.lines: list[str] = []

    def start(self, label: str, total: int | None) -> None:
        self.steps.append(f"{label} {total}")

    def tell(self, line: str) -> None:
        self.lines.append(line)


def write_wheel(folder: Path, name: str = "pretender", version: str = "1.0") -> str:
    """A package with one empty module; gives its line for a lock."""
    info = f"{name}-{version}.dist-info"
    members = {
        f"{name}.py": b"",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    rows = [f"{path},{_record_hash(content)},{len(content)}" for path, content in members.items()]
    members[f"{info}/RECORD"] = "\n".join([*rows, f"{info}/RECORD,,"]).encode() + b"\n"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for member, content in members.items():
            wheel.writestr(member, content)
    return f"{name}=={version} --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


def write_archive(path: Path, members: dict[str, Any]) -> Path:
    """A ZIP file of JSON documents, or of texts as they are."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content if isinstance(content, str) else json.dumps(content))
    return path


def _record_hash(content: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=")
    return f"sha256={digest.decode()}"
