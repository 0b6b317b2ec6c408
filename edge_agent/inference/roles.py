"""A worker process together with what it is there for. Changed by the roster only, under its lock."""

from __future__ import annotations

import dataclasses
import enum
import queue
from dataclasses import dataclass, field
from pathlib import Path

from edge_agent.inference import control
from edge_agent.inference.process import Ending, WorkerProcess
from edge_agent.inference.workers import WorkerHandle, WorkerSpec


class Role(enum.Enum):
    """What a worker is there for."""

    CANDIDATE = "candidate"
    ACTIVE = "active"
    DRAINING = "draining"
    RESTARTING = "restarting"
    DISCARDED = "discarded"


@dataclass(eq=False)
class Worker:
    """One worker process that has not been reaped.

    Attributes:
        key: Unique in the roster.
        spec: What it serves.
        process: How to reach it.
        socket_path: Where applications reach it.
        role: What it is there for.
        inbox: What it said while it was a candidate, and how it ended.
        handle: Once it is ready.
        active_since: Monotonic, seconds; None before.
        asked_at: Since when it owes a window; None when it owes none.
        kill_at: When it is killed unless it ended; None for never.
        last_words: Why it failed, in its own words or ours.
    """

    key: int
    spec: WorkerSpec
    process: WorkerProcess
    socket_path: Path
    role: Role
    inbox: queue.SimpleQueue[control.FromWorker | Ending] = field(default_factory=queue.SimpleQueue)
    handle: WorkerHandle | None = None
    active_since: float | None = None
    asked_at: float | None = None
    kill_at: float | None = None
    last_words: str = ""

    def become_ready(self, ready: control.Ready) -> WorkerHandle:
        """Take over what a worker says of itself."""
        self.handle = WorkerHandle(
            key=self.key,
            spec=dataclasses.replace(self.spec, threads=ready.threads, tuning=None),
            variant=ready.variant,
            digest=ready.digest,
            delegate=ready.delegate,
            runtime=ready.runtime,
            runtime_version=ready.runtime_version,
            pid=self.process.pid,
            run_seconds=ready.run_seconds,
        )
        return self.handle

    def silent_since(self) -> float | None:
        """Since when an active worker owes an answer; None when it owes none, or was given up already."""
        return self.asked_at if self.role is Role.ACTIVE and not self.last_words else None
