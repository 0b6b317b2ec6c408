"""What the rest of the agent knows of workers: what they are to serve, what they run, what became of them.

PURE. Rules:

1. A handle is a photograph: it stays as it was when its worker became ready, whatever happened since.
2. Names carry units; durations are monotonic.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from contract.delegation import DelegateReport
from contract.histogram import LatencyHistogram
from edge_agent.inference.engine import UNPROVED, Engine
from edge_agent.inference.threads import Tuning


@dataclass(frozen=True)
class WorkerSpec:
    """What a worker is to serve.

    Attributes:
        model: Model name.
        version: Version.
        slot_dir: Folder with ``manifest.json``, ``variant`` and ``artifacts/<sha256>``.
        threads: Threads of its interpreter, unless another number measures better.
        engine: The runtime and delegates it may use.
        tuning: What it is to measure before it is ready; None for nothing.
        threads_cap: Most threads that heat or power left it when it was started; 0 for as many as without them.
        is_cheaper: Whether it runs the slot's cheaper variant.
    """

    model: str
    version: str
    slot_dir: Path
    threads: int
    engine: Engine = UNPROVED
    tuning: Tuning | None = None
    threads_cap: int = 0
    is_cheaper: bool = False

    def __str__(self) -> str:
        return f"{self.model} {self.version}"


@dataclass(frozen=True)
class WorkerHandle:
    """A worker that became ready; it may have ended since.

    Attributes:
        key: Unique in this pool.
        spec: What it serves, with the number of threads that it runs and nothing left to measure.
        variant: Variant it runs.
        digest: sha256 of its model file.
        delegate: Asked for and got.
        runtime: Distribution that runs it.
        runtime_version: Its version.
        pid: Process id.
        run_seconds: Number of threads to the time of one run, as it was measured; None when nothing was to be.
    """

    key: int
    spec: WorkerSpec
    variant: str
    digest: str
    delegate: DelegateReport
    runtime: str
    runtime_version: str
    pid: int
    run_seconds: dict[int, float] | None = None


@dataclass(frozen=True)
class Crash:
    """An active worker that ended without having been told to.

    Attributes:
        model: Model name.
        version: Version.
        signal: Name of the signal that ended it, for example ``SIGSEGV``; empty when it exited.
        exit_code: When it exited, else None.
        restarts: Number of the restart that follows, counted since it last ran for a minute.
        detail: What it said and printed last.
        rests_s: How long requests fail at once before that restart, seconds; 0 while they are better off waiting.
    """

    model: str
    version: str
    signal: str
    exit_code: int | None
    restarts: int
    detail: str
    rests_s: float = 0.0


@dataclass(frozen=True)
class WorkerWindow:
    """What a worker did in one span of time; see ``contract.messages.TelemetryWindow``.

    Attributes:
        refused: Attempts to connect that it refused in this span, since as many clients were connected as it takes.
    """

    model: str
    version: str
    variant: str
    duration_s: float
    requests: int
    errors: int
    latency: LatencyHistogram
    rss_bytes: int
    delegate: DelegateReport | None = None
    refused: int = 0


@dataclass(frozen=True)
class PoolLimits:
    """How long the pool waits, in seconds.

    Attributes:
        window_s: ``take_windows``, for workers that are in the middle of a request.
        drain_s: How long an old worker serves those that have not noticed the switch.
        end_s: From the order to end until a worker is killed.
        ready_s: Until a restarted worker must be ready.
        gentle_s: For how long at most a candidate leaves the processor to active workers while it imports.
        hang_s: An active worker that leaves a question unanswered this long is killed.
    """

    window_s: float = 1.0
    drain_s: float = 1.0
    end_s: float = 5.0
    ready_s: float = 60.0
    gentle_s: float = 10.0
    hang_s: float = 30.0
