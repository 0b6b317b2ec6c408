"""The firmware's tool: a real program that answers, fails, hangs or talks without end."""

from __future__ import annotations

import time
from pathlib import Path

from edge_agent.heat.board import sensors_of
from edge_agent.heat.firmware import FAILURES_MAX, FirmwareTool
from edge_agent.heat.reading import Flag
from edge_agent.heat.settings import HeatSettings
from tests.support.heat_board import HeatBoard


def tool(folder: Path, script: str) -> Path:
    path = folder / "vcgencmd"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def test_flags_come_from_the_tool_where_sysfs_has_none(tmp_path: Path) -> None:
    path = tool(tmp_path, '[ "$1" = get_throttled ] && echo throttled=0x50004')
    sensors = sensors_of(HeatSettings(sysfs=tmp_path / "sys", vcgencmd=path), None)
    assert sensors.read().flags == (Flag.THROTTLED,)
    HeatBoard(tmp_path / "sys").set_firmware(0x1)
    assert sensors.read().flags == (Flag.UNDER_VOLTAGE,)


def test_a_tool_that_hangs_is_killed_and_answers_nothing(tmp_path: Path) -> None:
    began = time.monotonic()
    hanging = FirmwareTool(tool(tmp_path, "exec sleep 60"), timeout_s=0.2)
    assert hanging.ask("get_throttled") == ""
    assert time.monotonic() - began < 5.0


def test_a_tool_that_talks_without_end_is_cut_off(tmp_path: Path) -> None:
    assert FirmwareTool(tool(tmp_path, "exec yes throttled=0x4")).ask("get_throttled") == ""


def test_a_tool_that_fails_again_and_again_rests(tmp_path: Path) -> None:
    counted = tmp_path / "counted"
    failing = FirmwareTool(tool(tmp_path, f"echo x >> {counted}; echo throttled=0x4; exit 1"))
    for _ in range(FAILURES_MAX + 3):
        assert failing.ask("get_throttled") == ""
    assert len(counted.read_text().split()) == FAILURES_MAX


def test_what_is_no_program_answers_nothing(tmp_path: Path) -> None:
    (tmp_path / "vcgencmd").write_bytes(b"\x7fELF nonsense")
    (tmp_path / "vcgencmd").chmod(0o755)
    assert FirmwareTool(tmp_path / "vcgencmd").ask("get_throttled") == ""
    assert FirmwareTool(tmp_path / "none").ask("get_throttled") == ""
