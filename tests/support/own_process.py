"""What a process holds open, and a process that holds nothing of other tests."""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def in_own_process(do: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a function in a fresh Python and give what it gives or raises; both must be picklable.

    For tests that count: a process that ran other tests may at any time close what these left to the garbage
    collector or to a thread.
    """
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as executor:
        return executor.submit(do, *args, **kwargs).result()


def opened(pid: int | str = "self") -> list[str]:
    """What each open descriptor of a process leads to (proc(5)); of this one without what is garbage."""
    if pid == "self":
        gc.collect()
    found: list[str] = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile, as that of the folder itself
            found.append(str(link.readlink()))
    return found
