"""Whole boards as folders: /proc, /sys, /dev and libraries as the kernel and Debian show them."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_agent.inference.facts import PythonEnvironment

_ELF = {"aarch64": (2, 183), "armv7l": (1, 40), "x86_64": (2, 62), "riscv64": (2, 243)}
_TRIPLET = {"aarch64": "aarch64-linux-gnu", "armv7l": "arm-linux-gnueabihf", "x86_64": "x86_64-linux-gnu"}


@dataclass(frozen=True)
class Board:
    """What a board is; the defaults are a Raspberry Pi 4 with 64-bit Bookworm.

    Attributes:
        usb: Of each USB device: id, speed in Mbit/s.
        packages: Distribution to version.
    """

    model: str = "Raspberry Pi 4 Model B Rev 1.4"
    compatible: tuple[str, ...] = ("raspberrypi,4-model-b", "brcm,bcm2711")
    arch: str = "aarch64"
    features: str = "fp asimd evtstrm crc32 cpuid"
    cores: int = 4
    memory_kib: int = 3_884_000
    glibc: str = "2.36"
    glibcxx: str = "3.4.30"
    python: str = "3.11.2"
    packages: Mapping[str, str] | None = None
    usb: Sequence[tuple[str, int]] = ()
    apex: int = 0


BOARDS: dict[str, Board] = {
    "pi-3": Board(
        model="Raspberry Pi 3 Model B Plus Rev 1.3",
        compatible=("raspberrypi,3-model-b-plus", "brcm,bcm2837"),
        memory_kib=931_000,
    ),
    "pi-4": Board(),
    "pi-4-32bit": Board(arch="armv7l", features="half thumb fastmult vfp edsp neon vfpv3 vfpv4"),
    "pi-4-coral": Board(usb=(("1d6b:0003", 5000), ("18d1:9302", 5000))),
    "pi-4-coral-usb2": Board(usb=(("1a6e:089a", 480),)),
    "pi-5": Board(
        model="Raspberry Pi 5 Model B Rev 1.0",
        compatible=("raspberrypi,5-model-b", "brcm,bcm2712"),
        features="fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp asimdrdm asimddp",
        memory_kib=8_245_000,
        glibc="2.41",
        glibcxx="3.4.33",
        python="3.13.5",
    ),
    "pi-zero-2": Board(
        model="Raspberry Pi Zero 2 W Rev 1.0",
        compatible=("raspberrypi,model-zero-2-w", "brcm,bcm2837"),
        memory_kib=436_000,
    ),
    "jetson-orin-nano": Board(
        model="NVIDIA Jetson Orin Nano Developer Kit",
        compatible=("nvidia,p3768-0000+p3767-0005", "nvidia,tegra234"),
        features="fp asimd evtstrm aes atomics fphp asimdhp asimddp",
        cores=6,
        memory_kib=7_620_000,
        glibc="2.35",
        python="3.10.12",
    ),
    "jetson-nano": Board(
        model="NVIDIA Jetson Nano Developer Kit",
        compatible=("nvidia,p3450-0000", "nvidia,tegra210"),
        memory_kib=4_059_000,
        glibc="2.27",
        glibcxx="3.4.25",
        python="3.10.13",
    ),
    "coral-dev-board": Board(
        model="Freescale i.MX8MQ Phanbell",
        compatible=("google,imx8mq-phanbell", "fsl,imx8mq"),
        memory_kib=987_000,
        glibc="2.31",
        glibcxx="3.4.28",
        python="3.10.4",
        apex=1,
    ),
    "x86-64": Board(
        model="", compatible=(), arch="x86_64", features="fpu sse4_1 avx2", cores=8, memory_kib=16_000_000
    ),
}


def write_board(root: Path, board: Board) -> PythonEnvironment:
    """Lay a board out below a folder; the Python that its agent has."""
    _write(root / "proc/self/exe", _elf(board.arch))
    _write(root / "proc/sys/kernel/osrelease", "6.6.31+rpt-rpi-v8\n")
    _write(root / "proc/sys/kernel/random/boot_id", "0b9d6f0e-6f0e-4b43-a9a3-6b1d8e1f5a11\n")
    _write(root / "proc/meminfo", f"MemTotal:       {board.memory_kib} kB\nMemFree:  1000 kB\n")
    _write(root / "proc/cpuinfo", _cpuinfo(board))
    if board.model:
        _write(root / "proc/device-tree/model", board.model + "\0")
        _write(root / "proc/device-tree/compatible", "\0".join(board.compatible) + "\0")
    folder = root / "usr/lib" / _TRIPLET.get(board.arch, "none")
    _write(folder / "libc.so.6", _library("GLIBC_", ["2.2.5", "2.17", board.glibc, "PRIVATE"]))
    _write(folder / "libstdc++.so.6", _library("GLIBCXX_", ["3.4", board.glibcxx, "3.4.9", "DEBUG_MESSAGE"]))
    for number, (name, speed) in enumerate(board.usb, start=2):
        vendor, product = name.split(":")
        device = root / "sys/bus/usb/devices" / f"2-{number}"
        parts = {"idVendor": vendor, "idProduct": product, "speed": speed, "busnum": 2, "devnum": number}
        for part, value in parts.items():
            _write(device / part, f"{value}\n")
        _write(root / f"dev/bus/usb/002/{number:03d}", "")
    for number in range(board.apex):
        _write(root / f"dev/apex_{number}", "")
    thermal = root / "sys/class/thermal"
    _write(thermal / "cooling_device0/type", "pwm-fan\n")
    _write(thermal / "cooling_device0/cur_state", "1\n")
    _write(thermal / "cooling_device0/max_state", "4\n")
    _write(thermal / "thermal_zone0/type", "cpu-thermal\n")
    _write(thermal / "thermal_zone0/temp", "51540\n")
    packages = root / "site-packages"
    chosen = {"ai-edge-litert": "2.3.0", "numpy": "2.4.6"} if board.packages is None else board.packages
    for name, version in chosen.items():
        package = name.replace("-", "_")
        _write(packages / f"{package}-{version}.dist-info/METADATA", f"Name: {name}\nVersion: {version}\n")
        _write(packages / package / "_wrapper.so", "native")
    return PythonEnvironment(board.python, (str(packages),))


def _write(path: Path, content: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def _elf(arch: str) -> bytes:
    bits, machine = _ELF[arch]
    return b"\x7fELF" + bytes([bits, 1, 1]) + bytes(9) + struct.pack("<HH", 3, machine) + bytes(44)


def _library(prefix: str, versions: Sequence[str]) -> bytes:
    names = b"\0".join(f"{prefix}{version}".encode() for version in versions)
    return b"\x7fELF" + bytes(3 << 20) + b"\0" + names + b"\0" + f"{prefix}9.9 is not a name".encode()


def _cpuinfo(board: Board) -> str:
    key = "flags" if board.arch == "x86_64" else "Features"
    name = "model name\t: Some CPU\n" if board.arch == "x86_64" else ""
    core = "processor\t: {}\n" + name + key + "\t: " + board.features + "\n\n"
    return "".join(core.format(number) for number in range(board.cores))
