"""How much memory can be had on this board now: of the machine, and of every control group that this process is in.

Guarantees: what cannot be read does not limit. Reads files of proc(5) and of control groups version 2
(https://docs.kernel.org/admin-guide/cgroup-v2.html, memory interface files); changes nothing.
"""

from __future__ import annotations

import os
from pathlib import Path

_PLENTY = 1 << 62
_MIB = 1 << 20


def room_bytes(root: Path = Path("/")) -> int:
    """Bytes that a new process can have.

    Args:
        root: Where ``proc`` and ``sys`` are.
    """
    return min(_available_bytes(root), _group_room_bytes(root))


def held_bytes(pid: int, root: Path = Path("/")) -> int:
    """Bytes that a process holds alone, and gives back when it ends; 0 when it has ended."""
    return 1024 * _field(root / f"proc/{pid}/smaps_rollup", "Private_Dirty:")


def mib(size: int) -> str:
    """A size for people."""
    return f"{size / _MIB:.0f} MiB"


def _available_bytes(root: Path) -> int:
    return 1024 * _field(root / "proc/meminfo", "MemAvailable:") or _PLENTY


def _group_room_bytes(root: Path) -> int:
    """The least room of this process's group and all above it."""
    least = _PLENTY
    top = root / "sys/fs/cgroup"
    lines = [line for line in _text(root / "proc/self/cgroup").splitlines() if line.startswith("0::")]
    if not lines:
        return least
    group = Path(os.path.normpath(f"{top}/{lines[0][3:].strip()}"))
    while group == top or top in group.parents:
        limit = _text(group / "memory.max").strip()
        used = _text(group / "memory.current").strip()
        if limit.isdigit() and used.isdigit():
            # File pages that nobody used lately go first when memory runs short.
            spare = _field(group / "memory.stat", "inactive_file")
            least = min(least, max(0, int(limit) - int(used) + spare))
        group = group.parent
    return least


def _field(path: Path, name: str) -> int:
    for line in _text(path).splitlines():
        words = line.split()
        if len(words) > 1 and words[0] == name and words[1].isdigit():
            return int(words[1])
    return 0


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
