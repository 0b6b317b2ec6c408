"""Reads what is known of a board from /proc, /sys, /dev and its libraries; the one door to those files.

Guarantees: runs nothing and loads nothing: a library's level is read from the version names inside it, a package's
version from its metadata. Every read is bounded; a file that is missing or cannot be read gives an empty fact, never
an error. All paths start at ``root``, so a folder can stand for a whole board.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import struct
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from itertools import islice
from pathlib import Path

from edge_agent.inference.board import (
    CORAL_USB_IDS,
    Accelerator,
    Cooling,
    Facts,
    FileStamp,
    InstalledRuntime,
    Temperature,
)
from edge_agent.inference.runtime_needs import PACKAGES

_TEXT_MAX_BYTES = 64 * 1024
_LIBRARY_MAX_BYTES = 64 << 20
_DIGEST_MAX_BYTES = 8 << 20
"""A delegate's library is hashed at every start up to this size: 30 ms on a Pi 4; larger ones go by size and time."""
_BLOCK_BYTES = 1 << 20
_ENTRIES_MAX = 64
_MACHINES = {3: "i686", 40: "armv7l", 62: "x86_64", 183: "aarch64", 243: "riscv64"}
"""e_machine of an ELF header (System V ABI, "ELF Header"; include/uapi/linux/elf-em.h)."""
_TRIPLETS = {
    "aarch64": "aarch64-linux-gnu",
    "armv7l": "arm-linux-gnueabihf",
    "x86_64": "x86_64-linux-gnu",
    "i686": "i386-linux-gnu",
}


@dataclass(frozen=True)
class PythonEnvironment:
    """The Python that workers will use: its version, and where its packages are."""

    version: str
    paths: tuple[str, ...]


def this_python() -> PythonEnvironment:
    """The one that runs."""
    return PythonEnvironment(platform.python_version(), tuple(path for path in sys.path if path))


def read_facts(root: Path = Path("/"), python: PythonEnvironment | None = None) -> Facts:
    """Look at a board.

    Args:
        root: Its root folder.
        python: The Python to look at; by default the one that runs.
    """
    python = python or this_python()
    arch, bits = _user_land(root)
    cpu = _cpu_fields(root)
    return Facts(
        arch=arch,
        bits=bits,
        kernel=_text(root / "proc/sys/kernel/osrelease"),
        boot=_text(root / "proc/sys/kernel/random/boot_id"),
        board=_text(root / "proc/device-tree/model"),
        compatible=tuple(filter(None, _read(root / "proc/device-tree/compatible").split("\0"))),
        cpu_model=cpu.get("model name", ""),
        cpu_features=tuple(sorted(cpu.get("flags", cpu.get("Features", "")).split())),
        cores=int(cpu["cores"]),
        memory_bytes=_memory_bytes(root),
        glibc=library_level(find_library("libc.so.6", root, arch), b"GLIBC_"),
        glibcxx=library_level(find_library("libstdc++.so.6", root, arch), b"GLIBCXX_"),
        libraries=stamp_of(root / "etc/ld.so.cache").sha256,
        python=python.version,
        numpy=_installed_version("numpy", python.paths),
        runtimes=tuple(_runtimes(python.paths)),
        accelerators=(*_usb_accelerators(root), *_apex_accelerators(root)),
        cooling=tuple(_cooling(root)),
        temperatures=tuple(_temperatures(root)),
    )


def processor_of(root: Path = Path("/")) -> str:
    """Architecture, model and features of the first processor, as text: what kernels are chosen by."""
    cpu = _cpu_fields(root)
    kind = cpu.get("model name") or " ".join(
        cpu.get(f"CPU {key}", "") for key in ("implementer", "part", "variant")
    )
    return " ".join([platform.machine(), kind, *sorted(cpu.get("flags", cpu.get("Features", "")).split())])


def find_library(name: str, root: Path = Path("/"), arch: str = "") -> Path | None:
    """Where a shared library is: at its absolute path, or in the folders that the loader knows by default."""
    if "/" in name:
        path = root / name.lstrip("/")
        return path if path.is_file() else None
    triplet = _TRIPLETS.get(arch or _user_land(root)[0], "")
    folders = [f"{base}/{triplet}" for base in ("usr/local/lib", "lib", "usr/lib") if triplet]
    folders += ["usr/local/lib", "lib64", "usr/lib64", "lib", "usr/lib"]
    return next((path for path in (root / folder / name for folder in folders) if path.is_file()), None)


def library_level(library: Path | None, prefix: bytes) -> str:
    """The highest symbol version that a library defines, for example ``3.4.30``; empty when it cannot be read.

    Args:
        library: A shared library.
        prefix: Of its version names, for example ``GLIBCXX_``.
    """
    if library is None:
        return ""
    found: set[tuple[int, ...]] = set()
    pattern = re.compile(re.escape(prefix) + rb"(\d+(?:\.\d+){1,3})\0")
    rest = b""
    for block in _blocks(library, _LIBRARY_MAX_BYTES):
        found |= {tuple(map(int, hit.split(b"."))) for hit in pattern.findall(rest + block)}
        rest = block[-64:]
    return ".".join(map(str, max(found))) if found else ""


def stamp_of(path: Path, *, is_hashed: bool = True) -> FileStamp:
    """A file as it is now; zeros when it is not there."""
    try:
        seen = path.stat()
    except OSError:
        return FileStamp(path=str(path), size_bytes=0, mtime_ns=0)
    sha256 = ""
    if is_hashed and seen.st_size <= _DIGEST_MAX_BYTES:
        digest = hashlib.sha256()
        for block in _blocks(path, _DIGEST_MAX_BYTES):
            digest.update(block)
        sha256 = digest.hexdigest()
    return FileStamp(path=str(path), size_bytes=seen.st_size, mtime_ns=seen.st_mtime_ns, sha256=sha256)


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_TEXT_MAX_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""


def _text(path: Path) -> str:
    return _read(path).strip("\0 \n")[:256]


def _number(path: Path) -> int:
    text = _text(path)
    return int(text) if re.fullmatch(r"-?\d{1,15}", text) else 0


def _blocks(path: Path, limit_bytes: int) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            while limit_bytes > 0 and (block := file.read(min(_BLOCK_BYTES, limit_bytes))):
                limit_bytes -= len(block)
                yield block
    except OSError:
        return


def _user_land(root: Path) -> tuple[str, int]:
    """Architecture and width of this process' own program: a 32-bit user land may run on a 64-bit kernel."""
    try:
        with (root / "proc/self/exe").open("rb") as file:
            header = file.read(20)
    except OSError:
        return "", 0
    if len(header) < 20 or header[:4] != b"\x7fELF":
        return "", 0
    (machine,) = struct.unpack_from("<H" if header[5] == 1 else ">H", header, 18)
    return _MACHINES.get(machine, f"machine {machine}"), {1: 32, 2: 64}.get(header[4], 0)


def _cpu_fields(root: Path) -> dict[str, str]:
    """First value of each key of /proc/cpuinfo, and ``cores``."""
    found: dict[str, str] = {}
    cores = 0
    for line in _read(root / "proc/cpuinfo").splitlines():
        key, _, value = (part.strip() for part in line.partition(":"))
        cores += key == "processor"
        found.setdefault(key, value)
    return {**found, "cores": str(cores)}


def _memory_bytes(root: Path) -> int:
    found = re.search(r"^MemTotal:\s+(\d{1,12}) kB", _read(root / "proc/meminfo"), re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def _distribution(name: str, paths: Sequence[str]) -> metadata.Distribution | None:
    return next(iter(metadata.distributions(name=name, path=list(paths))), None)


def _installed_version(name: str, paths: Sequence[str]) -> str:
    found = _distribution(name, paths)
    return found.version if found is not None else ""


def _runtimes(paths: Sequence[str]) -> Iterator[InstalledRuntime]:
    for name, package in PACKAGES.items():
        found = _distribution(name, paths)
        if found is not None:
            folder = Path(str(found.locate_file(package)))
            yield InstalledRuntime(name=name, version=found.version, files=tuple(_stamps(folder)))


def _stamps(folder: Path) -> Iterator[FileStamp]:
    """The native parts of a package: they are too large to hash at every start."""
    for path in islice(_sorted(folder, "*.so*"), _ENTRIES_MAX):
        yield stamp_of(path, is_hashed=False)


def _sorted(folder: Path, pattern: str) -> Iterator[Path]:
    try:
        yield from sorted(folder.glob(pattern))
    except OSError:
        return


def _usb_accelerators(root: Path) -> Iterator[Accelerator]:
    for device in _sorted(root / "sys/bus/usb/devices", "*"):
        name = f"{_text(device / 'idVendor')}:{_text(device / 'idProduct')}".lower()
        if name in CORAL_USB_IDS:
            bus, number = _number(device / "busnum"), _number(device / "devnum")
            node = f"dev/bus/usb/{bus:03d}/{number:03d}"
            speed = _number(device / "speed")
            yield Accelerator(
                id=name, node=f"/{node}", is_accessible=_is_accessible(root / node), port_mbps=speed
            )


def _apex_accelerators(root: Path) -> Iterator[Accelerator]:
    for node in islice(_sorted(root / "dev", "apex_*"), _ENTRIES_MAX):
        yield Accelerator(id=node.name, node=f"/dev/{node.name}", is_accessible=_is_accessible(node))


def _is_accessible(node: Path) -> bool:
    return os.access(node, os.R_OK | os.W_OK)


def _cooling(root: Path) -> Iterator[Cooling]:
    for device in islice(_sorted(root / "sys/class/thermal", "cooling_device*"), _ENTRIES_MAX):
        kind = _text(device / "type")
        yield Cooling(kind=kind, state=_number(device / "cur_state"), most=_number(device / "max_state"))


def _temperatures(root: Path) -> Iterator[Temperature]:
    for zone in islice(_sorted(root / "sys/class/thermal", "thermal_zone*"), _ENTRIES_MAX):
        if text := _text(zone / "temp"):
            celsius = _number(zone / "temp") / 1000 if text else 0.0
            yield Temperature(zone=_text(zone / "type"), celsius=celsius)
