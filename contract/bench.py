"""What a bench found out: how fast one installed model runs on one board, and whether that measure counts.

PURE. Rules:

1. Only what was seen travels: every timed run, what each process took, what the board said of its heat. What follows
   from it (quantiles, validity) is computed here, on both sides alike, so that no message can contradict itself.
2. p50 is the median of the processes' medians: one process that was placed badly does not move it. p95 and p99 are of
   all timed runs together, by nearest rank: one process has too few for a tail.
3. A bench counts only when every process ran on the delegate it asked for, and the board was never throttled. That
   requests were answered meanwhile, and that a board does not tell whether it throttles, is said and rules out nothing.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from typing import Annotated

import msgspec

from contract.delegation import DelegateReport
from contract.message import Message
from contract.scalars import Count, DigestStr, ModelStr, Name, OpaqueStr, Seconds, Text, Utc, VersionStr

PROCESSES = 3
WARM_UP_RUNS = 10
TIMED_RUNS = 50
RUNS_MAX = 500
PROCESSES_MAX = 16

_Milliseconds = Annotated[float, msgspec.Meta(gt=0, le=86_400_000)]
_Celsius = Annotated[float, msgspec.Meta(ge=-273.15, le=1000)]


class BenchHeat(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the board said of its heat and power at one moment and since the one before.

    Attributes:
        is_throttled: Whether it was slowed down; None when it does not tell.
        celsius: Highest temperature that was seen; None when there is no sensor.
        cause: What slows it down, for people; empty when nothing does.
    """

    is_throttled: bool | None = None
    celsius: _Celsius | None = None
    cause: Text = ""


class BenchProcess(msgspec.Struct, frozen=True, kw_only=True):
    """One process of a bench.

    Attributes:
        latencies_ms: Every timed run in order: from the inputs to the decoded answer, as telemetry counts it.
        pss_bytes: Proportional memory (PSS) of the process after its runs.
        start_s: From its start until its model was loaded and warm.
        delegate: Asked for and got.
    """

    latencies_ms: Annotated[tuple[_Milliseconds, ...], msgspec.Meta(min_length=1, max_length=RUNS_MAX)]
    pss_bytes: Count
    start_s: Seconds
    delegate: DelegateReport


class BenchResult(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One bench of one model.

    Attributes:
        model: Model name.
        version: Its active version.
        variant: Variant that ran.
        digest: sha256 of its model file.
        profile: The board's profile.
        board: What the board calls itself.
        runtime: Distribution that ran it.
        runtime_version: Its version; empty when it does not say.
        threads: Of the interpreter.
        cores: Of the board.
        warm_up_runs: Runs of each process before the timed ones.
        processes: One after the other.
        heat: Before the first process, and after each.
        requests_meanwhile: What applications asked of this device meanwhile; None when that could not be found out.
    """

    model: ModelStr
    version: VersionStr
    variant: ModelStr
    digest: DigestStr
    profile: ModelStr
    board: Text
    runtime: Name
    runtime_version: Annotated[str, msgspec.Meta(max_length=64)] = ""
    threads: Count
    cores: Count
    warm_up_runs: Count
    processes: Annotated[tuple[BenchProcess, ...], msgspec.Meta(min_length=1, max_length=PROCESSES_MAX)]
    heat: Annotated[tuple[BenchHeat, ...], msgspec.Meta(max_length=PROCESSES_MAX + 1)] = ()
    requests_meanwhile: Count | None = None


class Bench(Message, frozen=True, kw_only=True):
    """What a bench found out: ``up/bench``; sent again until a ``BenchAck`` of its id comes.

    Attributes:
        id: Of this bench; the server keeps each once.
        at: When it began.
        result: What was seen.
    """

    v: int
    id: OpaqueStr
    at: Utc
    result: BenchResult


class BenchAck(Message, frozen=True, kw_only=True):
    """A bench is in the server's database: ``dn/bench-ack``.

    Attributes:
        id: Of the bench.
    """

    v: int
    id: OpaqueStr


class BenchFault(str, enum.Enum):
    """Why a bench does not count."""

    DELEGATE_FELL_BACK = "delegate-fell-back"
    THROTTLED = "throttled"


class BenchSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What follows from a bench.

    Attributes:
        is_valid: Whether it counts.
        faults: Why not.
        reason: The same in words; empty when it counts.
        p50_ms: Median of the processes' medians.
        p95_ms: Of all timed runs.
        p99_ms: Of all timed runs.
        mean_ms: Of all timed runs.
        spread_ratio: Slowest process's median over the fastest's; 1 is perfectly steady.
        pss_bytes: Median over the processes.
        start_s: Median over the processes.
        runs: Timed runs of all processes.
        is_throttling_known: Whether the board tells when it throttles.
        delegate: Asked for and got; of a process that fell back, where one did.
    """

    is_valid: bool
    faults: tuple[BenchFault, ...]
    reason: str
    p50_ms: float
    p95_ms: float
    p99_ms: float
    mean_ms: float
    spread_ratio: float
    pss_bytes: int
    start_s: float
    runs: int
    is_throttling_known: bool
    delegate: DelegateReport


def summarise(result: BenchResult) -> BenchSummary:
    """Everything that follows from a bench."""
    medians = [median(process.latencies_ms) for process in result.processes]
    every = sorted(run for process in result.processes for run in process.latencies_ms)
    reasons = _reasons(result)
    reports = [process.delegate for process in result.processes]
    return BenchSummary(
        is_valid=not reasons,
        faults=tuple(reasons),
        reason="; ".join(reasons.values()),
        p50_ms=median(medians),
        p95_ms=nearest_rank(every, 0.95),
        p99_ms=nearest_rank(every, 0.99),
        mean_ms=math.fsum(every) / len(every),
        spread_ratio=max(medians) / min(medians),
        pss_bytes=round(median([process.pss_bytes for process in result.processes])),
        start_s=median([process.start_s for process in result.processes]),
        runs=len(every),
        is_throttling_known=any(moment.is_throttled is not None for moment in result.heat),
        delegate=next((report for report in reports if report.is_fallback), reports[0]),
    )


def _reasons(result: BenchResult) -> dict[BenchFault, str]:
    found: dict[BenchFault, str] = {}
    for process in result.processes:
        report = process.delegate
        if report.is_fallback:
            found[BenchFault.DELEGATE_FELL_BACK] = (
                f"ran on {report.actual} instead of {report.requested}: {report.reason or 'no reason was given'}"
            )
    slowed = [moment for moment in result.heat if moment.is_throttled]
    if slowed:
        cause = next((moment.cause for moment in slowed if moment.cause), "the board does not say why")
        found[BenchFault.THROTTLED] = f"the board was throttled: {cause}"
    return found


def median(values: Sequence[float]) -> float:
    """Middle value; the mean of the two middle ones of an even number."""
    ordered = sorted(values)
    half, is_odd = divmod(len(ordered), 2)
    return float(ordered[half]) if is_odd else (ordered[half - 1] + ordered[half]) / 2


def nearest_rank(ordered: Sequence[float], share: float) -> float:
    """The least value that at least ``share`` (0 to 1, not 0) of all do not exceed.

    Args:
        ordered: In ascending order, not empty.
        share: Of the values.
    """
    # A share such as 0.95 of 20 is 19.000000000000004 - 1e-15 or so in binary; a billionth of a run is no run.
    return float(ordered[max(1, math.ceil(share * len(ordered) - 1e-9)) - 1])
