from __future__ import annotations

from pathlib import Path

import msgspec

from contract.deployment import Reason, State
from edge_agent.config import AgentConfig, DeviceSection, ServerSection
from edge_agent.files import StateLock
from edge_agent.status import read_status, show_status
from edge_agent.update.journal import Journal
from edge_agent.update.machine import RECORD_FORMAT, Record
from edge_agent.update.slot_table import SlotContent
from edge_agent.update.slots import SLOTS_FILE, Slots


def a_config(folder: Path) -> AgentConfig:
    return AgentConfig(
        device=DeviceSection(id="pi-1", profile="raspberry-pi-4", state_dir=folder),
        server=ServerSection(url="http://127.0.0.1:1"),
    )


def a_device(folder: Path) -> Slots:
    """One good version in slot a, a newer one on trial in b, and a deployment that fails."""
    slots = Slots(folder / "models" / "digits")
    good = SlotContent(version="1.0.0", variant="int8", digest="a" * 64, good=True)
    slots.record_staged("a", good)
    slots.record_staged("b", SlotContent(version="1.1.0", variant="int8", digest="b" * 64))
    slots.switch("b")
    record = Record(
        format=RECORD_FORMAT,
        deployment="d2",
        model="digits",
        version="1.1.0",
        trial_s=0.0,
        state=State.ROLLING_BACK,
        reason=Reason.TRIAL,
        detail="its worker died",
    )
    Journal(folder / "models", folder).write(record)
    return slots


def test_a_device_that_never_ran_has_nothing(tmp_path: Path) -> None:
    status = read_status(a_config(tmp_path / "nowhere"))
    assert (status.agent_pid, status.revision, status.models) == (None, 0, ())
    assert show_status(status) == (
        "device pi-1 (profile raspberry-pi-4), agent not running, desired revision 0"
    )


def test_the_active_version_its_fallback_and_its_deployment_are_shown(tmp_path: Path) -> None:
    a_device(tmp_path)
    with StateLock(tmp_path):
        status = read_status(a_config(tmp_path))
    first, second = show_status(status).splitlines()
    assert f"agent running as process {status.agent_pid}" in first
    assert second == (
        "  digits: 1.1.0 (int8), not kept yet, fallback 1.0.0,"
        " deployment d2 rolling-back (trial: its worker died)"
    )
    assert msgspec.json.decode(msgspec.json.encode(status), type=type(status)) == status


def test_a_model_of_which_nothing_is_known_and_one_with_damaged_files_are_shown(tmp_path: Path) -> None:
    (tmp_path / "models" / "birds").mkdir(parents=True)
    a_device(tmp_path)
    (tmp_path / "models" / "digits" / SLOTS_FILE).write_bytes(b"{")
    lines = show_status(read_status(a_config(tmp_path))).splitlines()
    assert lines[1] == "  birds: nothing"
    assert lines[2].startswith("  digits: ")
    assert "is damaged" in lines[2]
    assert (tmp_path / "models" / "digits" / SLOTS_FILE).exists(), "looking changes nothing"
