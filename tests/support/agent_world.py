"""A device in memory and on a small disk: real slots and journal, doubles for every door, and kills at any of them.

``World`` lives on through kills, as a board does: its disk stays, its workers do not.
"""

from __future__ import annotations

import hashlib
import queue
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec

from contract.compat import Capabilities
from contract.deployment import ENDS, State
from contract.errors import LitefleetError, RuntimeLoadError, StorageError
from contract.messages import (
    WIRE_VERSION,
    DelegateReport,
    DeploymentChange,
    Desired,
    DesiredModel,
    Event,
    Reported,
)
from edge_agent.inference.workers import WorkerHandle, WorkerSpec
from edge_agent.update.actions import Actions
from edge_agent.update.doors import Origin
from edge_agent.update.fetch_protocol import Fetched, FetchJob
from edge_agent.update.journal import Journal
from edge_agent.update.models import Models
from edge_agent.update.runner import Runner
from edge_agent.update.slots import check_slot, read_slot_table
from edge_agent.update.trial import Observation
from tests.support.builders import a_manifest, an_artifact, some_capabilities

PROFILE = "generic-x86-64"
RAM_DISK = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - a folder of our own is made in it
"""Where tests keep the hundreds of small files that they sync; None: the usual place."""


class Killed(BaseException):
    """The power went off."""


class Power:
    """Goes off when ``calls_left`` calls of doors were made; never while it is None."""

    def __init__(self) -> None:
        self.calls_left: int | None = None
        self.calls = 0

    def draw(self) -> None:
        """Every call of a door begins with this."""
        self.calls += 1
        if self.calls_left is not None:
            self.calls_left -= 1
            if self.calls_left < 0:
                raise Killed


class World:
    """A board.

    Args:
        folder: Its disk.

    Attributes:
        power: When it goes off.
        fails: Door and version to the error it raises, for example ``("start", "1.1.0")``.
        serving: Model to the worker that answers now.
        reported: What the server was told last.
        changes: Every change it was told.
        events: Every event it was told.
        observation: What trials see.
        during_fetch: Called while something is fetched.
        on_change: Called with every change.
        delegate: What the next worker runs on.
        threads: How many a worker may have now.
        holds_one: Whether memory holds one worker of a model at a time, so that the active one ends first.
        tried_steps: How often a worker was to be replaced because of that.
        threads_at: State of a deployment to threads of the active worker when it was told last.
        on_reported: Called after every report.
    """

    def __init__(self, folder: Path) -> None:
        self.threads = 1
        self.holds_one = False
        self.tried_steps = 0
        self.threads_at: dict[State, int] = {}
        self.delegate = DelegateReport(requested="xnnpack", actual="xnnpack")
        self.folder = folder
        self.power = Power()
        self.fails: dict[tuple[str, str], LitefleetError] = {}
        self.serving: dict[str, WorkerHandle] = {}
        self.candidates: list[WorkerHandle] = []
        self.reported: Reported | None = None
        self.changes: list[DeploymentChange] = []
        self.events: list[Event] = []
        self.observation = Observation()
        self.during_fetch: Callable[[], None] = lambda: None
        self.on_reported: Callable[[], None] = lambda: None
        self.on_change: Callable[[DeploymentChange], None] = lambda _: None
        self.fetches = 0
        self.progress_s = 60.0
        self.forgotten: list[tuple[str, str]] = []
        self._keys = 0
        self._revision = 0
        self.boot()

    @property
    def started(self) -> int:
        """How many workers were ever started; the key of the last."""
        return self._keys

    def boot(self) -> None:
        """A new process on the old disk; ``bring_up`` comes next."""
        self.serving, self.candidates = {}, []
        self.up = threading.Event()
        self.ended: queue.SimpleQueue[BaseException] = queue.SimpleQueue()
        self.models = Models(self.folder / "models", Journal(self.folder / "models", self.folder), self)
        origin = Origin(
            server_url="http://127.0.0.1:1",
            root=self.folder / "root.json",
            trust_dir=self.folder / "trust",
            profile=PROFILE,
            capabilities=self._capabilities,
        )
        actions = Actions(origin, self, self, self, self.models.slots, fetch_deadline_s=0.0)
        self.runner = Runner(
            self.models, actions, self, on_up=self.up.set, on_end=self.ended.put, progress_s=self.progress_s
        )

    def _capabilities(self) -> Capabilities:
        return some_capabilities()

    def fail(self, door: str, version: str) -> None:
        """Raise what a test wants."""
        error = self.fails.get((door, version))
        if error is not None:
            raise error

    # What the tests do with it.

    def desire(self, **models: tuple[str, str]) -> None:
        """Desire model=(version, deployment)."""
        self._revision += 1
        self.runner.submit(
            Desired(
                v=WIRE_VERSION,
                revision=self._revision,
                models={
                    name: DesiredModel(version=version, deployment=deployment)
                    for name, (version, deployment) in models.items()
                },
            )
        )

    def settle(self, turns: int = 60) -> None:
        """Turn until there is nothing to do at once."""
        for _ in range(turns):
            if self.runner.turn() > 1.0:
                return
        raise AssertionError(f"still busy after {turns} turns: {self.changes[-5:]}")

    def run(self) -> None:
        """Bring up and settle."""
        self.runner.bring_up()
        self.settle()

    def run_killed_after(self, calls: int) -> bool:
        """Bring up and settle with the power going off after so many calls; whether it did. Boots again then."""
        self.power.calls_left = calls
        try:
            self.run()
        except Killed:
            return True
        finally:
            self.power.calls_left = None
        return False

    # What the tests look at.

    def slots(self, model: str = "digits") -> Path:
        return self.folder / "models" / model

    def states(self, deployment: str) -> list[State]:
        """States told of a deployment, without repetitions."""
        told = [change.after for change in self.changes if change.deployment == deployment]
        return [state for index, state in enumerate(told) if index == 0 or told[index - 1] is not state]

    def end(self, deployment: str) -> DeploymentChange:
        """How a deployment ended."""
        ends = [c for c in self.changes if c.deployment == deployment and c.after in ENDS]
        assert ends, f"{deployment} has not ended: {self.states(deployment)}"
        return ends[-1]

    def answering(self, model: str = "digits") -> str:
        """Version that answers; empty when none does."""
        return self.serving[model].spec.version if model in self.serving else ""

    def check(self) -> None:
        """What must hold whenever the device has come to rest.

        Raises:
            AssertionError: It does not.
        """
        assert self.reported is not None
        for model, report in self.reported.models.items():
            table = read_slot_table(self.slots(model))
            assert report.version == table.running.version
            assert not table.active or table.running.good, "the active slot is not good"
            if table.active:
                assert self.serving[model].spec.slot_dir == self.slots(model) / table.active
                check_slot(
                    self.slots(model) / table.active,
                    model=model,
                    version=table.running.version,
                    profile=PROFILE,
                )
            else:
                assert model not in self.serving
        steps: dict[str, int] = {}
        for change in self.changes:
            assert change.step > steps.get(change.deployment, -1), "a step was told twice or went back"
            steps[change.deployment] = change.step

    # The doors: Workers, Fetcher, Observer, Reporter.

    def start(self, model: str, version: str, slot_dir: Path) -> WorkerHandle:
        self.power.draw()
        if self.holds_one:
            held = [*self.candidates, *self.serving.values()]
            assert model not in {worker.spec.model for worker in held}, "memory holds one worker of a model"
        self.fail("start", version)
        content = check_slot(slot_dir, model=model, version=version, profile=PROFILE)
        self._keys += 1
        handle = WorkerHandle(
            key=self._keys,
            spec=WorkerSpec(model=model, version=version, slot_dir=slot_dir, threads=self.threads),
            variant=content.variant,
            digest=content.digest,
            delegate=self.delegate,
            runtime="double",
            runtime_version="1",
            pid=self._keys,
        )
        self.candidates.append(handle)
        return handle

    def admit(self, model: str, version: str, slot_dir: Path) -> None:
        """See ``Workers``."""
        assert slot_dir.name in {"a", "b"}, model
        self.power.draw()
        self.fail("admit", version)
        if self.holds_one:
            self.serving.pop(model, None)

    def self_test(self, worker: WorkerHandle) -> str:
        self.power.draw()
        assert worker in self.candidates
        self.fail("self_test", worker.spec.version)
        return "passed"

    def activate(self, worker: WorkerHandle) -> None:
        self.power.draw()
        if worker not in self.candidates:
            raise RuntimeLoadError("it has died")
        self.fail("activate", worker.spec.version)
        self.candidates.remove(worker)
        self.serving[worker.spec.model] = worker

    def discard(self, worker: WorkerHandle) -> None:
        self.power.draw()
        if worker in self.candidates:
            self.candidates.remove(worker)

    def withdraw(self, model: str) -> None:
        self.power.draw()
        self.serving.pop(model, None)

    def active(self, model: str) -> WorkerHandle | None:
        self.power.draw()
        return self.serving.get(model)

    def may_regain(self, worker: WorkerHandle) -> bool:
        return worker.delegate.is_fallback and not self.holds_one

    def is_out_of_step(self, worker: WorkerHandle) -> bool:
        return worker.spec.threads != self.threads

    def start_in_step(self, worker: WorkerHandle) -> WorkerHandle:
        self.tried_steps += 1
        self.fail("start_in_step", worker.spec.version)
        return self.start(worker.spec.model, worker.spec.version, worker.spec.slot_dir)

    def fetch(
        self, job: FetchJob, on_progress: Callable[[int, int], None], should_stop: Callable[[], bool]
    ) -> Fetched | None:
        self.power.draw()
        self.fetches += 1
        slot = Path(job.slot_dir)
        assert read_slot_table(slot.parent).active != slot.name, "the active slot is not for fetching"
        self.during_fetch()
        if should_stop():
            return None
        content = f"model {job.version}".encode()
        golden = b"golden inputs"
        manifest = a_manifest(
            model_bytes=content,
            golden_bytes=golden,
            model=job.model,
            version=job.version,
            profile=job.profile,
        )
        for index, part in enumerate((content, golden)):
            (slot / "artifacts" / hashlib.sha256(part).hexdigest()).write_bytes(part)
            on_progress(index + 1, 2)
            self.power.draw()
        self.fail("fetch", job.version)
        (slot / "manifest.json").write_bytes(msgspec.json.encode(manifest))
        (slot / "variant").write_bytes(msgspec.json.encode({"name": manifest.variants[0].name}))
        return Fetched(
            manifest_sha256=an_artifact(content).sha256,
            variant=manifest.variants[0].name,
            bytes_total=2,
            bytes_downloaded=2,
        )

    def forget(self, model: str) -> None:
        self.power.draw()
        self.forgotten.append((model, self.answering(model)))

    def seen(self, model: str, version: str) -> Observation:
        self.power.draw()
        assert self.answering(model) == version
        return self.observation

    def send_reported(self, reported: Reported) -> None:
        self.power.draw()
        self.reported = reported
        self.on_reported()

    def send_change(self, change: DeploymentChange) -> None:
        self.power.draw()
        self.changes.append(change)
        if change.model in self.serving:
            self.threads_at[change.after] = self.serving[change.model].spec.threads
        self.on_change(change)

    def send_event(self, event: Event) -> None:
        self.power.draw()
        self.events.append(event)


def deployed(world: World, version: str = "1.0.0", deployment: str = "d1") -> World:
    """Let a version be deployed."""
    if world.reported is None:
        world.runner.bring_up()
    world.desire(digits=(version, deployment))
    world.settle()
    assert world.end(deployment).after is State.SUCCEEDED
    return world


def full_disk() -> StorageError:
    """What a disk without space says."""
    return StorageError("cannot write: No space left on device")
