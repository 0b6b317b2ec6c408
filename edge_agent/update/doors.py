"""What the update runner needs of the rest of the agent, as protocols; ``app.py`` fills them with the real parts.

PURE. Rules:

1. A part that can fail says so with the errors of ``contract.errors`` alone.
2. Everything here may be called from the runner's thread.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from contract.compat import Capabilities
from contract.messages import DeploymentChange, Event, Reported
from edge_agent.inference.workers import WorkerHandle
from edge_agent.update.fetch_protocol import Fetched, FetchJob
from edge_agent.update.trial import Observation


class Workers(Protocol):
    """Starts, tests and ends the processes that own interpreters."""

    def start(self, model: str, version: str, slot_dir: Path) -> WorkerHandle:
        """Start a candidate and wait until it is ready.

        Raises:
            DeviceError: It could not load the model, or died.
            RejectedError: The slot is damaged.
        """

    def admit(self, model: str, version: str, slot_dir: Path) -> None:
        """Make sure that a candidate fits into memory; ends the active worker first where the configuration says so.

        Raises:
            DeviceError: It does not fit; nothing has changed.
            RejectedError: The slot is damaged.
        """

    def self_test(self, worker: WorkerHandle) -> str:
        """Let a candidate answer the golden inputs; what came out, for people.

        Raises:
            DeviceError: The answers are not the expected ones, or it died.
            RejectedError: The golden inputs are damaged.
        """

    def activate(self, worker: WorkerHandle) -> None:
        """Let new requests go to it; the one before answers what it has and ends.

        Raises:
            DeviceError: It died.
        """

    def discard(self, worker: WorkerHandle) -> None:
        """End a candidate."""

    def withdraw(self, model: str) -> None:
        """Serve a model no more, and end its active worker if it has one."""

    def active(self, model: str) -> WorkerHandle | None:
        """The one that requests go to, also while it is being restarted; None when there is none."""

    def may_regain(self, worker: WorkerHandle) -> bool:
        """Whether a worker runs on its fall-back only because another process held its delegate when it started."""

    def is_out_of_step(self, worker: WorkerHandle) -> bool:
        """Whether heat or power ask for another number of threads, or another variant, than a worker runs with.

        Raises:
            DeviceError: Its slot cannot be read.
            RejectedError: Its slot is damaged.
        """

    def start_in_step(self, worker: WorkerHandle) -> WorkerHandle:
        """Start a candidate that is to replace a worker which is out of step, and wait until it is ready.

        Raises:
            DeviceError: It could not load the model, died, or does not fit into memory beside the other.
            RejectedError: The slot is damaged.
        """


class Fetcher(Protocol):
    """Fetches a release into a slot."""

    def fetch(
        self, job: FetchJob, on_progress: Callable[[int, int], None], should_stop: Callable[[], bool]
    ) -> Fetched | None:
        """Run one job; None when it was stopped.

        Raises:
            TransientError: Try again.
            RejectedError: The release is wrong.
            DeviceError: The slot cannot be written.
        """


class Observer(Protocol):
    """Knows how versions fare."""

    def forget(self, model: str) -> None:
        """Count from zero, whatever version of the model."""

    def seen(self, model: str, version: str) -> Observation:
        """What was seen of a version since ``forget``, or since the agent started, up to this moment."""


class Reporter(Protocol):
    """Tells the server; never blocks and never fails, offline or not."""

    def send_reported(self, reported: Reported) -> None:
        """What the device has; the newest replaces older ones not sent yet."""

    def send_change(self, change: DeploymentChange) -> None:
        """One state change."""

    def send_event(self, event: Event) -> None:
        """Something an operator may want to know at once."""


@dataclass(frozen=True)
class Origin:
    """Where releases come from and for whom.

    Attributes:
        server_url: Base URL.
        root: Pinned TUF root.
        trust_dir: Where TUF metadata is kept.
        profile: Id of the board's profile.
        capabilities: Looks at the board; disk and memory change.
        prefers_accuracy: Whether the variant that lost least accuracy is wanted and not the first.
        wants_cheaper: Whether variants for times of heat or little power are fetched too.
    """

    server_url: str
    root: Path
    trust_dir: Path
    profile: str
    capabilities: Callable[[], Capabilities]
    prefers_accuracy: bool = False
    wants_cheaper: bool = False
