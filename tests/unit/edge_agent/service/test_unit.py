"""The unit's text, and what systemd itself says of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path, PurePath

import msgspec
import pytest

from contract.errors import ConfigError
from edge_agent.service.unit import UnitPlan, plan_unit
from tests.support.tools import require

PLAN = UnitPlan(
    program=PurePath("/opt/litefleet/bin/litefleet-agent"),
    config=PurePath("/etc/litefleet/agent.toml"),
    state_dir=PurePath("/var/lib/litefleet"),
    run_dir=PurePath("/run/litefleet"),
    user="litefleet",
)
EXPOSURE_MAX = 17
"""Of 100, as ``--threshold`` takes it: 0 is the tightest; the unit has 16, one without a sandbox 96."""


def changed(**changes: object) -> UnitPlan:
    return UnitPlan(**{**{name: getattr(PLAN, name) for name in PLAN.__dataclass_fields__}, **changes})


def test_standard_folders_are_made_by_systemd_and_others_are_opened() -> None:
    lines = plan_unit(PLAN).splitlines()
    assert "StateDirectory=litefleet" in lines
    assert "RuntimeDirectory=litefleet" in lines
    assert "ProtectHome=yes" in lines
    lines = plan_unit(changed(state_dir=PurePath("/home/pi/litefleet/state"))).splitlines()
    assert "ReadWritePaths=/home/pi/litefleet/state" in lines
    assert "ProtectHome=read-only" in lines


def test_groups_and_delegates_that_make_code_change_the_unit() -> None:
    lines = plan_unit(PLAN).splitlines()
    assert "MemoryDenyWriteExecute=yes" in lines
    assert not any(line.startswith("SupplementaryGroups") for line in lines)
    lines = plan_unit(changed(groups=("video", "apex"), has_external_delegates=True)).splitlines()
    assert "MemoryDenyWriteExecute=no" in lines
    assert "SupplementaryGroups=video apex" in lines


@pytest.mark.parametrize(
    ("path", "fault"),
    [
        ("agent.toml", "must be absolute"),
        ("/etc/../agent.toml", "without '..'"),
        ("/etc/lite fleet/agent.toml", "' ' cannot stand in it"),
        ("/etc/%i/agent.toml", "'%' cannot stand in it"),
        ("/etc/a\nUser=root/agent.toml", "cannot stand in it"),
    ],
)
def test_a_path_that_systemd_would_read_otherwise_is_refused(path: str, fault: str) -> None:
    with pytest.raises(ConfigError) as caught:
        plan_unit(changed(config=PurePath(path)))
    assert fault in caught.value.diagnostics()


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit with a program that exists here and a user that every Debian has."""
    path = tmp_path / "litefleet-agent.service"
    path.write_text(plan_unit(changed(program=PurePath(sys.executable), user="daemon")))
    return path


def analyze(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [require("systemd-analyze"), *words], capture_output=True, text=True, timeout=30, check=False
    )


def test_systemd_understands_every_line_of_the_unit(unit: Path) -> None:
    done = analyze("verify", "--man=no", "--recursive-errors=no", unit)
    assert (done.returncode, done.stderr) == (0, "")
    unit.write_text(unit.read_text().replace("ProtectClock=", "ProtectClok="))
    assert "ProtectClok" in analyze("verify", "--man=no", "--recursive-errors=no", unit).stderr


def test_systemds_score_of_the_sandbox_does_not_get_worse(unit: Path) -> None:
    command = ("security", "--offline=true", "--no-pager", f"--threshold={EXPOSURE_MAX}")
    done = analyze(*command, unit)
    assert done.returncode == 0, done.stdout
    rows = msgspec.json.decode(analyze(*command, "--json=short", unit).stdout)
    assert len(rows) > 50
    unit.write_text(unit.read_text().replace("ProtectSystem=strict", "").replace("NoNewPrivileges=yes", ""))
    assert analyze(*command, unit).returncode != 0
