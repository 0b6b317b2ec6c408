"""What this board offers: the facts that decide which variant fits, as they are told to the server.

Guarantees: no runtime is imported. The runtime and the delegates are those that survived their probes
(``edge_agent.inference.survey``); disk and memory are as they are now.
"""

from __future__ import annotations

import os
import platform
import sys
from importlib import metadata
from pathlib import Path

from contract.compat import Capabilities
from contract.errors import ConfigError
from contract.profile import Arch, Profile
from edge_agent.files import storage_errors
from edge_agent.inference.resolver import Resolution

DISTRIBUTION = "litefleet"
_MODEL_FILE = Path("/proc/device-tree/model")
_MEMORY_FILE = Path("/proc/meminfo")
_MODEL_MAX_BYTES = 256


def agent_version() -> str:
    """Version of the installed agent."""
    return metadata.version(DISTRIBUTION)


def read_capabilities(profile: Profile, folder: Path, resolution: Resolution) -> Capabilities:
    """Look at this board.

    Args:
        profile: The one it was enrolled with.
        folder: Where models are stored.
        resolution: What its probes found.

    Raises:
        ConfigError: The board's architecture is not one litefleet knows.
        StorageError: The folder cannot be looked at.
    """
    with storage_errors(f"look at {folder}"):
        disk = os.statvfs(folder)
    return Capabilities(
        profile=profile.id,
        arch=this_arch(),
        memory_bytes=_memory_bytes(_MEMORY_FILE.read_text("ascii")),
        disk_free_bytes=disk.f_bavail * disk.f_frsize,
        runtimes=() if resolution.runtime is None else (resolution.runtime,),
        delegates=resolution.delegates(),
        agent_version=agent_version(),
    )


def this_arch() -> Arch:
    """Architecture of the user land that runs.

    Raises:
        ConfigError: litefleet does not know it.
    """
    return read_arch(platform.machine(), is_64_bit=sys.maxsize > 2**32)


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
