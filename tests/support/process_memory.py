"""How much memory a process has, as the kernel tells it (proc(5), smaps_rollup)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Memory:
    """All in KiB.

    Attributes:
        pss: Its own, and its part of what it shares: two measurements compare only when the same others share.
        rss: Its own, and all of what it shares.
        written: Its own and written (Private_Dirty): what nobody else's coming or going changes.
    """

    pss: int
    rss: int
    written: int


def memory_of(pid: int | str = "self") -> Memory:
    """The memory of a process now."""
    fields: dict[str, int] = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()[1:]:
        name, _, value = line.partition(":")
        fields[name] = int(value.split()[0])
    return Memory(fields["Pss"], fields["Rss"], fields["Private_Dirty"])
