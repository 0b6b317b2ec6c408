"""What is known of a board before anything is tried: hardware, operating system, runtimes, accelerators.

PURE. Rules:

1. An empty text or tuple means: not found. Nothing is guessed.
2. Everything a verdict may depend on is in ``Facts`` or in a ``FileStamp``, so that equal facts mean an equal verdict.
"""

from __future__ import annotations

import msgspec

CORAL_USB_IDS = frozenset({"1a6e:089a", "18d1:9302"})
"""USB Accelerator before and after its firmware was loaded (https://coral.ai/docs/accelerator/get-started/)."""


class FileStamp(msgspec.Struct, frozen=True, kw_only=True):
    """A file as it was seen: path, size, time of its last change in ns, sha256 where it is small enough to read."""

    path: str
    size_bytes: int
    mtime_ns: int
    sha256: str = ""


class InstalledRuntime(msgspec.Struct, frozen=True, kw_only=True):
    """A distribution that is installed: its name, version, and the files that its behaviour hangs on."""

    name: str
    version: str
    files: tuple[FileStamp, ...] = ()


class Accelerator(msgspec.Struct, frozen=True, kw_only=True):
    """A device that a delegate may drive.

    Attributes:
        id: USB id such as ``1a6e:089a``, or the name of a PCIe device such as ``apex_0``.
        node: Its device file.
        is_accessible: Whether this user may read and write it.
        port_mbps: Speed at which it is connected, Mbit/s; 0 where that means nothing.
    """

    id: str
    node: str
    is_accessible: bool
    port_mbps: int = 0


class Cooling(msgspec.Struct, frozen=True, kw_only=True):
    """A cooling device of the kernel: type, and its state of 0 (off) to ``most``."""

    kind: str
    state: int
    most: int


class Temperature(msgspec.Struct, frozen=True, kw_only=True):
    """A thermal zone: its type and temperature."""

    zone: str
    celsius: float


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """A board.

    Attributes:
        arch: Of the user land: ``aarch64``, ``armv7l``, ``x86_64``, or what else its programs are made for.
        bits: Of the user land, 32 or 64; 0 when unknown.
        kernel: Release.
        boot: Changes with every boot.
        board: Model as the device tree says; empty without one.
        compatible: Of the device tree.
        cpu_model: Name of the processor.
        cpu_features: As the kernel names them.
        cores: How many.
        memory_bytes: Memory the kernel sees.
        glibc: Level of the C library, for example ``2.36``.
        glibcxx: Level of the C++ library, for example ``3.4.30``.
        libraries: Digest of where the loader finds which libraries, ld.so(8): one that is installed changes it.
        python: Version.
        numpy: Version; empty when it is not installed.
        runtimes: Installed TFLite runtimes.
        accelerators: Edge TPUs.
        cooling: Fans and frequency limits.
        temperatures: Of the thermal zones, °C.
    """

    arch: str = ""
    bits: int = 0
    kernel: str = ""
    boot: str = ""
    board: str = ""
    compatible: tuple[str, ...] = ()
    cpu_model: str = ""
    cpu_features: tuple[str, ...] = ()
    cores: int = 0
    memory_bytes: int = 0
    glibc: str = ""
    glibcxx: str = ""
    libraries: str = ""
    python: str = ""
    numpy: str = ""
    runtimes: tuple[InstalledRuntime, ...] = ()
    accelerators: tuple[Accelerator, ...] = ()
    cooling: tuple[Cooling, ...] = ()
    temperatures: tuple[Temperature, ...] = ()

    def runtime(self, name: str) -> InstalledRuntime | None:
        """The installed runtime of a name."""
        return next((runtime for runtime in self.runtimes if runtime.name == name), None)


def level(version: str) -> tuple[int, ...]:
    """A dotted version as numbers that compare; what follows the numbers is left out."""
    numbers: list[int] = []
    for part in version.split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if not digits:
            break
        numbers.append(int(digits))
        if digits != part:
            break
    return tuple(numbers)
