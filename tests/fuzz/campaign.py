"""Keeps a worker running over many cases."""

from __future__ import annotations

import contextlib
import selectors
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

LINE_S = 60.0
"""A worker that says nothing for so long hangs in native code, where no signal reaches it."""
_OURS_ALONE = frozenset(("coverage", "inspect", "project"))  # no native code that could be slow


@dataclass
class Found:
    """What a campaign came to.

    Attributes:
        outcomes: Target to how each of its cases ended.
        faults: Case, target and what went wrong.
        crashes: How many workers native code ended.
        peak_bytes: The most memory that a worker had.
    """

    outcomes: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    faults: list[str] = field(default_factory=list)
    crashes: int = 0
    peak_bytes: int = 0


def run_campaign(seed: int, first: int, end: int, tell: Callable[[str], object]) -> Found:
    """Run cases; those after a native crash go to a new worker."""
    found = Found()
    position = first
    while position < end:
        position = _run_worker(seed, position, end, found)
        if position < end:
            tell(f"case {position - 1}: native code ended the worker")
    return found


def _run_worker(seed: int, first: int, end: int, found: Found) -> int:
    """Gives the number of the next case."""
    command = [sys.executable, "-m", "tests.fuzz.worker", str(seed), str(first), str(end)]
    number, target = first - 1, ""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as worker:
        try:
            for line in _lines(worker):
                if line.startswith("> "):
                    _, which, target = line.split()
                    number = int(which)
                    found.peak_bytes = max(found.peak_bytes, _resident_bytes(worker.pid))
                    continue
                outcome, _, text = line.partition(" ")
                found.outcomes[target].append(outcome)
                if outcome == "fault" or (outcome == "slow" and target in _OURS_ALONE):
                    found.faults.append(f"case {number} {target}: {outcome} {text}")
                target = ""
        finally:
            worker.kill()
    if target:
        found.outcomes[target].append("crash")
        found.crashes += 1
        if target in _OURS_ALONE:
            found.faults.append(f"case {number} {target}: ended with {worker.returncode}")
    elif number < end - 1:
        raise RuntimeError(f"the worker ended after case {number} with {worker.returncode}")
    return number + 1


def _lines(worker: subprocess.Popen[str]) -> Iterator[str]:
    assert worker.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(worker.stdout, selectors.EVENT_READ)
        rest = ""
        while selector.select(LINE_S):
            block = worker.stdout.buffer.read1(65_536).decode()  # type: ignore[attr-defined]  # a text stream over a buffer
            if not block:
                return
            *lines, rest = (rest + block).split("\n")
            yield from lines


def _resident_bytes(pid: int) -> int:
    with contextlib.suppress(OSError):
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
        return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)
    return 0
