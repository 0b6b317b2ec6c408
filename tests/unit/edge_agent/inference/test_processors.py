from __future__ import annotations

import os
from pathlib import Path

import pytest

from edge_agent.inference.processors import usable_processors

ALL = len(os.sched_getaffinity(0))


def a_root(folder: Path, groups: str, files: dict[str, str]) -> Path:
    """A root folder with what the kernel tells of control groups."""
    (folder / "proc/self").mkdir(parents=True)
    (folder / "proc/self/cgroup").write_text(groups)
    for name, text in files.items():
        path = folder / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def test_without_control_groups_it_is_the_affinity_mask(tmp_path: Path) -> None:
    assert usable_processors(tmp_path) == ALL


@pytest.mark.skipif(ALL < 2, reason="one processor cannot be limited further")
@pytest.mark.parametrize(
    ("groups", "files"),
    [
        ("0::/system.slice/agent.service\n", {"system.slice/agent.service/cpu.max": "150000 100000\n"}),
        ("0::/system.slice/agent.service\n", {"system.slice/cpu.max": "50000 100000\n"}),
        ("0::/\n", {"cpu.max": "100000 100000\n"}),
        ("0::/../other\n", {"cpu.max": "100000 100000\n"}),
        (
            "5:cpu,cpuacct:/box\n4:memory:/box\n",
            {"cpu/box/cpu.cfs_quota_us": "100000\n", "cpu/box/cpu.cfs_period_us": "100000\n"},
        ),
    ],
    ids=["service", "slice", "container", "outside", "version 1"],
)
def test_a_control_group_limits_it(tmp_path: Path, groups: str, files: dict[str, str]) -> None:
    assert usable_processors(a_root(tmp_path, groups, files)) == 1


@pytest.mark.parametrize(
    "text", ["max 100000\n", "", "nonsense\n", "100000 0\n", "-1 100000\n", "9900000 100000\n"]
)
def test_no_limit_and_what_cannot_be_read_limit_nothing(tmp_path: Path, text: str) -> None:
    root = a_root(tmp_path, "0::/box\nnonsense\n", {"box/cpu.max": text})
    assert usable_processors(root) == ALL


def test_version_1_says_no_limit_with_minus_one(tmp_path: Path) -> None:
    files = {"cpu/box/cpu.cfs_quota_us": "-1\n", "cpu/box/cpu.cfs_period_us": "100000\n"}
    assert usable_processors(a_root(tmp_path, "5:cpu:/box\n", files)) == ALL


def test_affinity_limits_it() -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert usable_processors() == 1
    finally:
        os.sched_setaffinity(0, before)
