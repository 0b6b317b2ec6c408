"""What this board offers: the facts that decide which variant fits.

Guarantees: no runtime is imported; versions come from the installed distributions' metadata. The delegates are those
that a TFLite runtime brings along (XNNPACK); others would need probing, which this version does not do.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from contract.compat import Capabilities, RuntimeFact
from contract.errors import ConfigError
from contract.profile import Arch, DelegateName, Profile
from edge_agent.files import storage_errors

DISTRIBUTION = "litefleet"
KNOWN_RUNTIMES = ("ai-edge-litert", "tflite-runtime", "tensorflow")
"""Best first where a profile does not say (docs/adr/0001)."""
_MODEL_FILE = Path("/proc/device-tree/model")
_MEMORY_FILE = Path("/proc/meminfo")
_MODEL_MAX_BYTES = 256


def agent_version() -> str:
    """Version of the installed agent."""
    return metadata.version(DISTRIBUTION)


def read_capabilities(profile: Profile, folder: Path) -> Capabilities:
    """Look at this board.

    Args:
        profile: The one it was enrolled with.
        folder: Where models are stored.

    Raises:
        ConfigError: The board's architecture is not one litefleet knows.
        StorageError: The folder cannot be looked at.
    """
    runtimes = _installed_runtimes([runtime.name for runtime in profile.runtimes])
    with storage_errors(f"look at {folder}"):
        disk = os.statvfs(folder)
    return Capabilities(
        profile=profile.id,
        arch=read_arch(platform.machine(), is_64_bit=sys.maxsize > 2**32),
        memory_bytes=_memory_bytes(_MEMORY_FILE.read_text("ascii")),
        disk_free_bytes=disk.f_bavail * disk.f_frsize,
        runtimes=runtimes,
        delegates=(DelegateName.XNNPACK,) if runtimes else (),
        agent_version=agent_version(),
    )


def _installed_runtimes(preferred: Sequence[str]) -> tuple[RuntimeFact, ...]:
    names = dict.fromkeys((*preferred, *KNOWN_RUNTIMES))
    versions = {name: _installed_version(name) for name in names}
    return tuple(RuntimeFact(name=name, version=version) for name, version in versions.items() if version)


def _installed_version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""


def read_arch(machine: str, *, is_64_bit: bool) -> Arch:
    """Architecture of the user land.

    Args:
        machine: What the kernel calls the processor.
        is_64_bit: Whether this process is; 32-bit Raspberry Pi OS runs on a 64-bit kernel.

    Raises:
        ConfigError: litefleet does not know it.
    """
    if machine in {"aarch64", "arm64", "armv8l", "armv7l"}:
        return Arch.AARCH64 if is_64_bit else Arch.ARMV7L
    if machine in {"x86_64", "AMD64"} and is_64_bit:
        return Arch.X86_64
    raise ConfigError(f"litefleet does not run on {machine}, {64 if is_64_bit else 32} bit")


def _memory_bytes(meminfo: str) -> int:
    fields = dict(line.split(":", 1) for line in meminfo.splitlines() if ":" in line)
    return int(fields["MemTotal"].split()[0]) * 1024  # "MemTotal:  16384 kB", proc(5)


def board_name() -> str:
    """What the board calls itself: its device tree's model, or the host's processor."""
    try:
        with _MODEL_FILE.open("rb") as file:
            name = file.read(_MODEL_MAX_BYTES).decode("utf-8", "replace").strip("\0 \n")
    except OSError:
        name = ""
    return name or f"{platform.system()} {platform.machine()}"
