"""What memory a process has, and what stands in it, as the kernel tells it (proc(5), smaps_rollup, maps and mem)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
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


def packages_in(pid: int, names: Iterable[str]) -> set[str]:
    """Which of these packages a Python process has imported, whenever that was.

    A package's code bears the name of its file, which stands in memory as long as the module does. So the process is
    seen as it is, and needs not be started in any other way than ever.
    """
    files = {name: f"/{name}/__init__.py".encode() for name in names}
    return {name for block in _written(pid) for name, file in files.items() if file in block}


def _written(pid: int) -> Iterator[bytes]:
    """The memory that a process may write to, and that is no file's."""
    with (
        Path(f"/proc/{pid}/maps").open(encoding="utf-8") as maps,
        Path(f"/proc/{pid}/mem").open("rb") as memory,
    ):
        for line in maps:
            addresses, rights, _, _, inode, *_ = line.split()
            if rights.startswith("rw") and inode == "0":
                begin, end = (int(address, 16) for address in addresses.split("-"))
                with contextlib.suppress(OSError):  # the kernel's own pages, or given back meanwhile
                    memory.seek(begin)
                    yield memory.read(end - begin)
