"""How many processors this process and its children may use: what the kernel schedules them on, and control groups.

Guarantees: reads only; a file that is missing or cannot be understood limits nothing. All paths start at ``root``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_READ_MAX_BYTES = 64 * 1024
_GROUPS = "sys/fs/cgroup"


def usable_processors(root: Path = Path("/")) -> int:
    """Processors of the affinity mask, fewer where a control group gives less time than they have; at least 1."""
    count = len(os.sched_getaffinity(0))
    for limit in _limits(root):
        count = min(count, int(limit))
    return max(1, count)


def _limits(root: Path) -> Iterator[float]:
    """Processors that each group above this process allows (cgroups(7), /proc/[pid]/cgroup).

    A container sees its own group as the root of the tree, so the tree's root is looked at too.
    """
    for line in _read(root / "proc/self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        is_second = number == "0" and not controllers
        if not is_second and "cpu" not in controllers.split(","):
            continue
        base = root / _GROUPS if is_second else root / _GROUPS / "cpu"
        group = PurePosixPath(path.lstrip("/"))
        if ".." in group.parts:  # outside of this namespace
            group = PurePosixPath()
        for part in (group, *group.parents):
            limit = _limit_of_v2(base / part) if is_second else _limit_of_v1(base / part)
            if limit:
                yield limit


def _limit_of_v2(folder: Path) -> float:
    """``cpu.max``: microseconds, or ``max``, of every period (kernel, cgroup-v2, "CPU Interface Files")."""
    words = _read(folder / "cpu.max").split()
    return _share(*words) if len(words) == 2 else 0.0


def _limit_of_v1(folder: Path) -> float:
    """The same in two files; -1 for no limit (kernel, scheduler/sched-bwc)."""
    return _share(
        _read(folder / "cpu.cfs_quota_us").strip() or "-1", _read(folder / "cpu.cfs_period_us").strip()
    )


def _share(quota: str, period: str) -> float:
    """Processors' worth of time; 0 for no limit, at least 1."""
    if not quota.isdigit() or not period.isdigit() or int(period) == 0:
        return 0.0
    return max(1.0, int(quota) / int(period))


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_READ_MAX_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""
