"""Facts of whole boards, laid out as folders."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import msgspec
import pytest

from edge_agent.inference.board import Facts, level
from edge_agent.inference.facts import find_library, library_level, read_facts, stamp_of
from edge_agent.inference.runtime_needs import suggest_wheel
from tests.support.boards import BOARDS, Board, write_board


def facts_of(root: Path, board: Board) -> Facts:
    return read_facts(root, write_board(root, board))


@pytest.mark.parametrize("name", BOARDS)
def test_a_boards_facts_are_what_the_board_says(tmp_path: Path, name: str) -> None:
    board = BOARDS[name]
    found = facts_of(tmp_path, board)
    assert (found.arch, found.bits) == (board.arch, 32 if board.arch == "armv7l" else 64)
    assert (found.board, found.compatible) == (board.model, board.compatible)
    assert (found.glibc, found.glibcxx, found.python) == (board.glibc, board.glibcxx, board.python)
    assert (found.cores, found.memory_bytes) == (board.cores, board.memory_kib * 1024)
    assert found.cpu_features == tuple(sorted(board.features.split()))
    assert (found.kernel, found.boot) == ("6.6.31+rpt-rpi-v8", "0b9d6f0e-6f0e-4b43-a9a3-6b1d8e1f5a11")
    assert [(each.kind, each.state, each.most) for each in found.cooling] == [("pwm-fan", 1, 4)]
    assert [(each.zone, each.celsius) for each in found.temperatures] == [("cpu-thermal", 51.54)]


def test_a_library_that_the_loader_learns_of_changes_the_facts(tmp_path: Path) -> None:
    python = write_board(tmp_path, BOARDS["pi-4"])
    without = read_facts(tmp_path, python)
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/ld.so.cache").write_bytes(b"libusb-1.0.so.0")
    learned = read_facts(tmp_path, python)
    assert without.libraries == ""
    assert learned == msgspec.structs.replace(without, libraries=learned.libraries) != without
    assert read_facts(tmp_path, python) == learned


def test_a_32_bit_user_land_on_a_64_bit_kernel_is_32_bit(tmp_path: Path) -> None:
    found = facts_of(tmp_path, BOARDS["pi-4-32bit"])
    assert (found.arch, found.bits, found.glibc) == ("armv7l", 32, "2.36")


def test_an_edge_tpu_on_usb_is_found_with_its_speed_and_file(tmp_path: Path) -> None:
    (device,) = facts_of(tmp_path, BOARDS["pi-4-coral"]).accelerators
    assert (device.id, device.node, device.port_mbps) == ("18d1:9302", "/dev/bus/usb/002/003", 5000)
    assert device.is_accessible


def test_an_edge_tpu_before_its_firmware_is_loaded_is_one_too(tmp_path: Path) -> None:
    (device,) = facts_of(tmp_path, BOARDS["pi-4-coral-usb2"]).accelerators
    assert (device.id, device.port_mbps) == ("1a6e:089a", 480)


def test_an_edge_tpu_without_its_device_file_is_not_accessible(tmp_path: Path) -> None:
    python = write_board(tmp_path, BOARDS["pi-4-coral"])
    (tmp_path / "dev/bus/usb/002/003").unlink()
    (device,) = read_facts(tmp_path, python).accelerators
    assert not device.is_accessible


def test_an_edge_tpu_on_pcie_is_found(tmp_path: Path) -> None:
    (device,) = facts_of(tmp_path, BOARDS["coral-dev-board"]).accelerators
    assert (device.id, device.node, device.port_mbps) == ("apex_0", "/dev/apex_0", 0)


def test_installed_runtimes_come_with_the_files_they_hang_on(tmp_path: Path) -> None:
    packages = {"tflite-runtime": "2.14.0", "numpy": "1.26.4", "tensorflow": "2.21.0"}
    found = facts_of(tmp_path, dataclasses.replace(BOARDS["pi-4"], packages=packages))
    assert [(each.name, each.version) for each in found.runtimes] == [
        ("tflite-runtime", "2.14.0"),
        ("tensorflow", "2.21.0"),
    ]
    assert found.numpy == "1.26.4"
    (stamp,) = found.runtimes[0].files
    assert (Path(stamp.path).name, stamp.size_bytes, stamp.sha256) == ("_wrapper.so", 6, "")


def test_an_empty_folder_gives_empty_facts(tmp_path: Path) -> None:
    found = read_facts(tmp_path, dataclasses.replace(write_board(tmp_path / "x", Board()), paths=()))
    assert found == Facts(python="3.11.2")


def test_damaged_files_give_empty_facts(tmp_path: Path) -> None:
    python = write_board(tmp_path, BOARDS["pi-4-coral"])
    (tmp_path / "proc/self/exe").write_bytes(b"#!/bin/sh and some more text")
    (tmp_path / "proc/meminfo").write_bytes(b"\xff\xfe")
    (tmp_path / "proc/cpuinfo").write_bytes(b"nothing")
    (tmp_path / "sys/bus/usb/devices/2-3/speed").write_text("fast\n")
    (tmp_path / "proc/device-tree/model").unlink()
    (tmp_path / "proc/device-tree/model").mkdir()
    found = read_facts(tmp_path, python)
    assert (found.arch, found.bits, found.memory_bytes, found.cores, found.board) == ("", 0, 0, 0, "")
    assert found.accelerators[0].port_mbps == 0


def test_an_unknown_processor_is_named_by_its_number(tmp_path: Path) -> None:
    python = write_board(tmp_path, Board(arch="riscv64"))
    assert read_facts(tmp_path, python).arch == "riscv64"
    exe = tmp_path / "proc/self/exe"
    exe.write_bytes(exe.read_bytes()[:18] + b"\x08\x00")
    assert read_facts(tmp_path, python).arch == "machine 8"


def test_a_library_is_found_by_name_or_path(tmp_path: Path) -> None:
    write_board(tmp_path, BOARDS["pi-4"])
    library = tmp_path / "usr/lib/aarch64-linux-gnu/libc.so.6"
    assert find_library("libc.so.6", tmp_path) == library
    assert find_library("/usr/lib/aarch64-linux-gnu/libc.so.6", tmp_path) == library
    assert find_library("/usr/lib/libc.so.6", tmp_path) is None
    assert find_library("libedgetpu.so.1", tmp_path) is None


def test_a_version_name_across_two_blocks_is_read(tmp_path: Path) -> None:
    library = tmp_path / "libx.so"
    library.write_bytes(bytes((1 << 20) - 4) + b"GLIBC_2.41\0")
    assert library_level(library, b"GLIBC_") == "2.41"
    assert library_level(tmp_path / "none.so", b"GLIBC_") == ""


def test_this_machines_libraries_have_levels() -> None:
    found = read_facts()
    assert level(found.glibc) >= (2, 17)
    assert found.runtime("ai-edge-litert") is not None
    assert found.runtime("tflite-runtime") is None


def test_a_stamp_changes_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "libx.so"
    assert stamp_of(path).size_bytes == 0
    path.write_bytes(b"one")
    first = stamp_of(path)
    path.write_bytes(b"two")
    assert first.sha256 != stamp_of(path).sha256
    with path.open("wb") as file:
        file.truncate(9 << 20)
    assert stamp_of(path).sha256 == ""


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("2.36", (2, 36)), ("2.14.0rc1", (2, 14, 0)), ("2.x", (2,)), ("", ()), ("1.26.4+local", (1, 26, 4))],
)
def test_versions_compare_as_numbers(text: str, numbers: tuple[int, ...]) -> None:
    assert level(text) == numbers


@pytest.mark.parametrize(
    ("name", "wheel"),
    [
        ("pi-4", "ai-edge-litert>=2.1.3"),
        ("pi-5", "ai-edge-litert>=2.1.3"),
        ("pi-4-32bit", "tflite-runtime==2.14.0"),
        ("jetson-nano", "tflite-runtime==2.14.0"),
        ("coral-dev-board", "ai-edge-litert==2.1.0"),
        ("x86-64", "ai-edge-litert>=2.1.3"),
    ],
)
def test_the_wheel_that_a_board_can_load_is_named(tmp_path: Path, name: str, wheel: str) -> None:
    assert wheel in suggest_wheel(facts_of(tmp_path, BOARDS[name]))


def test_a_board_that_no_wheel_fits_is_told_so() -> None:
    assert "no published runtime fits armv7l" in suggest_wheel(Facts(arch="armv7l", python="3.13.5"))
    assert "this processor" in suggest_wheel(Facts(python="3.11.2"))
