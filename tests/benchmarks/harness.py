"""What every benchmark shares: the row it reports, how two things are timed fairly, and where results are stored.

Guarantees: a row says its goal and whether it was met, how many samples stand behind it, and which versions ran.
Does not judge: a missed goal is shown and stored, it never fails the run, because machines differ.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import statistics
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
RESULTS = HERE.parent.parent / "build" / "bench"
LATENCY = Path("/dev/cpu_dma_latency")
INSTALLED_AREAS = {"agent"}
"""Areas that compare processes from their start, or their memory."""
_COMPILED = (
    "ai_edge_litert",
    "click",
    "contract",
    "cryptography",
    "edge_agent",
    "h11",
    "msgspec",
    "numpy",
    "paho",
    "PIL",
    "securesystemslib",
    "tomli_w",
    "tuf",
    "urllib3",
)
"""What an agent may import; what is not installed is passed over."""
_BYTECODE = ("PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX")


@dataclass(frozen=True)
class Goal:
    """What a value should be: at most or at least a limit, in the row's unit."""

    limit: float
    is_upper: bool

    def is_met(self, value: float) -> bool:
        """Whether a value reaches the goal; the limit itself does."""
        return value <= self.limit if self.is_upper else value >= self.limit

    def __str__(self) -> str:
        return f"{'<=' if self.is_upper else '>='} {self.limit:g}"


def at_most(limit: float) -> Goal:
    """A goal for a value where less is better."""
    return Goal(limit, is_upper=True)


def at_least(limit: float) -> Goal:
    """A goal for a value where more is better."""
    return Goal(limit, is_upper=False)


@dataclass(frozen=True)
class Row:
    """One measured value.

    Attributes:
        name: What was measured, unique in its area.
        value: In ``unit``.
        unit: For example ``ms``, ``MiB``, ``ratio``, ``points``.
        samples: How many measurements stand behind the value.
        goal: What it should be; None where there is only something to watch.
        baseline: What it is compared with, in ``unit``, from the same run; None where there is nothing.
        versions: Distribution or program to version.
    """

    name: str
    value: float
    unit: str
    samples: int
    goal: Goal | None = None
    baseline: float | None = None
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def is_met(self) -> bool | None:
        """Whether the goal was reached; None where there is none."""
        return None if self.goal is None else self.goal.is_met(self.value)

    def as_json(self) -> dict[str, object]:
        """The row as it is stored."""
        return {
            **dataclasses.asdict(self),
            "goal": None if self.goal is None else str(self.goal),
            "met": self.is_met,
            "versions": self.versions | machine(),
        }


def machine() -> dict[str, str]:
    """What the numbers were measured on."""
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "kernel": platform.release(),
        "cores": str(os.cpu_count()),
    }


def versions_of(*distributions: str) -> dict[str, str]:
    """Versions of installed distributions."""
    return {name: importlib.metadata.version(name) for name in distributions}


def time_alternating(
    first: Callable[[], object], second: Callable[[], object], *, blocks: int
) -> tuple[list[float], list[float]]:
    """Time two things in turns, so that a busy moment of the machine hits both.

    Args:
        first: One block of the one; about the same work on every call.
        second: One block of the other.
        blocks: How often each is run; the order swaps after every pair.

    Returns:
        Seconds of every block, of the first and of the second.
    """
    seconds: tuple[list[float], list[float]] = ([], [])
    for block in range(blocks):
        for index in (0, 1) if block % 2 == 0 else (1, 0):
            started = time.perf_counter()
            (first, second)[index]()
            seconds[index].append(time.perf_counter() - started)
    return seconds


def block_medians(
    first: Callable[[], object],
    second: Callable[[], object],
    *,
    blocks: int,
    requests: int,
    pause_s: float = 0.0,
) -> tuple[list[float], list[float]]:
    """Time single calls of two things, in blocks that take turns; what comes first swaps after every pair.

    Args:
        first: The one.
        second: The other.
        blocks: Of each.
        requests: Timed calls of a block; one more, untimed, begins it.
        pause_s: Rest before each timed call.

    Returns:
        Median seconds of a call in every block, of the first and of the second.
    """
    medians: tuple[list[float], list[float]] = ([], [])
    for block in range(blocks):
        for index in (0, 1) if block % 2 == 0 else (1, 0):
            medians[index].append(_block_median((first, second)[index], requests, pause_s))
    return medians


def _block_median(call: Callable[[], object], requests: int, pause_s: float = 0.0) -> float:
    call()
    times: list[float] = []
    for _ in range(requests):
        if pause_s:
            time.sleep(pause_s)
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def block_medians_on_one_processor(
    asking: Callable[[], object], alone: Callable[[], object], pid: int, *, blocks: int, requests: int
) -> tuple[list[float], list[float]]:
    """``block_medians`` of work that another process does, and of the same work in this one, on the same processor.

    Processors of a shared machine differ by a tenth and more at any moment, and the system keeps the other process on
    one and this thread on another. So both are held: where the other process works in a block, this one does in the
    block beside it. After every second pair they change places.

    Args:
        asking: Has the other process work, and waits.
        alone: The same here.
        pid: The other process.
        blocks: Of each.
        requests: See ``block_medians``.

    Returns:
        Median seconds of a call in every block, of ``asking`` and of ``alone``.
    """
    before = os.sched_getaffinity(0)
    if len(before) < 2:  # then it is the same one anyway
        return block_medians(asking, alone, blocks=blocks, requests=requests)
    places = sorted(before)[:2]
    medians: tuple[list[float], list[float]] = ([], [])
    try:
        for block in range(blocks):
            working, waiting = places if (block // 2) % 2 == 0 else reversed(places)
            _hold(pid, {working})
            for index in (0, 1) if block % 2 == 0 else (1, 0):
                os.sched_setaffinity(0, {(waiting, working)[index]})
                medians[index].append(_block_median((asking, alone)[index], requests))
    finally:
        os.sched_setaffinity(0, before)
        _hold(pid, before)
    return medians


def _hold(pid: int, processors: set[int]) -> None:
    """Let all threads of a process run on some processors alone."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), processors)


def median_difference(minuends: Sequence[float], subtrahends: Sequence[float]) -> float:
    """Median of the differences of neighbouring blocks."""
    return statistics.median(a - b for a, b in zip(minuends, subtrahends, strict=True))


def median_ratio(numerators: Sequence[float], denominators: Sequence[float]) -> float:
    """Median of the ratios of neighbouring blocks."""
    return statistics.median(a / b for a, b in zip(numerators, denominators, strict=True))


def areas() -> list[str]:
    """Every area that has benchmarks: the folders beside this file."""
    return sorted(path.name for path in HERE.iterdir() if path.is_dir() and any(path.glob("*.py")))


def run_area(area: str) -> list[Row]:
    """Call ``rows()`` of every module of an area, in the order of their names; each ends with what the host took.

    The last row says whether the processors were kept awake.
    """
    rows: list[Row] = []
    with as_installed() if area in INSTALLED_AREAS else contextlib.nullcontext(), kept_awake() as is_awake:
        for path in sorted((HERE / area).glob("*.py")):
            if not path.name.startswith("_"):
                before = processor_ticks()
                rows += importlib.import_module(f"tests.benchmarks.{area}.{path.stem}").rows()
                share = stolen_share(before, processor_ticks())
                rows.append(Row(f"{path.stem}: processor time the host took away", 100 * share, "%", 1))
    return [*rows, Row("processors kept awake", float(is_awake), "", 1)]


@contextlib.contextmanager
def kept_awake(path: Path = LATENCY) -> Iterator[bool]:
    """Let no processor sleep where the system allows that; whether it does.

    The kernel's own way, and what cyclictest of rt-tests does before it measures (Linux, admin-guide/pm/cpuidle, PM
    QoS): 32 bits of microseconds that waking up may take, for as long as the file is open. A virtual machine's
    processor that sleeps comes back when the host has time for it: 30 to 50 % of the time wanted while versions changed
    under load, and 3 % without sleep. ``LITEFLEET_ASLEEP=1`` measures with it.
    """
    try:
        descriptor = -1 if os.environ.get("LITEFLEET_ASLEEP") == "1" else os.open(path, os.O_WRONLY)
    except OSError:
        descriptor = -1
    if descriptor < 0:
        yield False
        return
    try:
        os.write(descriptor, struct.pack("i", 0))
        yield True
    finally:
        os.close(descriptor)


def processor_ticks(path: Path = Path("/proc/stat")) -> list[int]:
    """Time of all processors by what it went to, in ticks since the start (proc(5), /proc/stat, first line)."""
    return [int(word) for word in path.read_text(encoding="ascii").splitlines()[0].split()[1:9]]


def stolen_share(before: Sequence[int], after: Sequence[int]) -> float:
    """Part of the time wanted that a virtual machine did not get, 0 to 1; idle time is not wanted.

    Args:
        before: Of ``processor_ticks``.
        after: The same, later.
    """
    user, nice, system, _, _, irq, softirq, stolen = (
        end - start for start, end in zip(before, after, strict=True)
    )
    return stolen / max(1, user + nice + system + irq + softirq + stolen)


@contextlib.contextmanager
def as_installed() -> Iterator[None]:
    """Let processes that are started find their bytecode, as they do where pip installed it.

    Without it each one compiles numpy from source: half a start is that then, and what compiling leaves in memory hides
    4 MiB of what a worker takes beyond a bare script, and adds 6 MiB to the main process.
    """
    before = {name: os.environ.get(name) for name in _BYTECODE}
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = str(RESULTS / "bytecode")
    specs = (importlib.util.find_spec(name) for name in _COMPILED)
    folders = [folder for spec in specs if spec for folder in spec.submodule_search_locations or ()]
    try:
        subprocess.run(
            [sys.executable, "-m", "compileall", "-q", "-x", "/tests/", *folders], check=True, timeout=600
        )
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def store_rows(area: str, rows: Sequence[Row], folder: Path = RESULTS) -> Path:
    """Write ``<area>.json``, a list of rows, and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{area}.json"
    path.write_text(json.dumps([row.as_json() for row in rows], indent=2) + "\n", encoding="utf-8")
    return path
