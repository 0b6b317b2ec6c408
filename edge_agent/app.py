"""The agent's main process: the only place where its parts meet.

Guarantees: one agent per state folder; every model that can answer does so before the first connection is tried; the
process ends within ten seconds of SIGTERM or SIGINT, whatever its parts are doing. It imports no numpy and no runtime.

Threads: this module's ``Agent.run`` is the main thread: it owns the outbox, the sources and the gateway's process. The
session's thread drives MQTT and leaves what it receives in the mailbox. One thread looks at the sensors. The runner's
thread owns models, slots and deployments. The pool has one thread that listens to the workers. They meet in
``Mailbox``, ``Health``, ``HeatGuard``, ``HeatWatch``, ``Runner.submit`` and ``Session.send_*``, which are thread-safe
and never wait for another thread's work.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import time
from collections.abc import Callable, Iterator

from contract.bench import BenchAck
from contract.errors import StorageError
from contract.identifiers import parse_device_id
from contract.messages import (
    Ack,
    Control,
    Desired,
    EventKind,
    Message,
    TelemetryWindow,
)
from contract.profile import Profile
from edge_agent.bench.shipment import BenchShipment
from edge_agent.bench.waiting import WaitingBenches
from edge_agent.board_engine import BoardEngine
from edge_agent.capabilities import agent_version, this_arch
from edge_agent.config import AgentConfig, Preference, read_password
from edge_agent.crew import Crew
from edge_agent.files import StateLock, make_folder
from edge_agent.gateway_process import GatewayProcess
from edge_agent.heat.board import sensors_of
from edge_agent.heat.guard import HeatGuard
from edge_agent.heat.reporter import HeatReporter
from edge_agent.heat.watch import HeatWatch
from edge_agent.inference.pool import Crash, Pool
from edge_agent.link.mqtt import Broker, MqttConnection
from edge_agent.link.mqtt import Message as MqttMessage
from edge_agent.link.session import Hooks, Identity, Session, SessionCounter
from edge_agent.mailbox import Mailbox
from edge_agent.overload import OverloadWatch
from edge_agent.pipeline_process import PipelineProcess
from edge_agent.service.notify import Notifier
from edge_agent.signals import ending_signals
from edge_agent.source_processes import SourceProcesses
from edge_agent.telemetry.events import Events
from edge_agent.telemetry.fallbacks import FallbackWatch
from edge_agent.telemetry.health import Health, describe_crash
from edge_agent.telemetry.outbox import Outbox
from edge_agent.telemetry.shipment import Shipment
from edge_agent.telemetry.windows import IdleMerger
from edge_agent.thread_tuning import ThreadTuning
from edge_agent.update.actions import Actions
from edge_agent.update.doors import Origin
from edge_agent.update.fetcher import FetchProcess
from edge_agent.update.journal import Journal
from edge_agent.update.models import Models
from edge_agent.update.runner import Runner
from firmware_profiles import load_profile

_TICK_S = 1.0
_UNSAVED_MAX = 1000
"""Most windows held in memory while the disk cannot be written."""
_POOL_END_S = 4.0
_THREAD_END_S = 2.0

logger = logging.getLogger(__name__)


def run_agent(
    config: AgentConfig,
    *,
    on_ready: Callable[[], None],
    set_log_level: Callable[[str], None],
    manager: Notifier,
) -> None:
    """Run until SIGTERM or SIGINT.

    Args:
        config: Everything the agent is told.
        on_ready: Called once, when every model that can answer does.
        set_log_level: Called when the server asks for another level.
        manager: Told that the agent is ready, alive, ending.

    Raises:
        ConfigError: Something it is told cannot be.
        StorageError: The state folder cannot be used.
    """
    make_folder(config.device.state_dir)
    with StateLock(config.device.state_dir):
        agent = Agent(config, set_log_level, manager)
        with ending_signals(agent.stop):
            agent.run(on_ready)


class Agent:
    """Everything of one run of the agent, built and wired; nothing runs before ``run``.

    Args:
        config: Everything it is told.
        set_log_level: Called when the server asks for another level.
        manager: Told that the agent is ready, alive, ending.

    Raises:
        ConfigError: Something it is told cannot be.
        StorageError: The state or run folder cannot be used.
    """

    def __init__(self, config: AgentConfig, set_log_level: Callable[[str], None], manager: Notifier) -> None:
        self._set_log_level = set_log_level
        self._manager = manager
        self._mailbox = Mailbox()
        self._is_stopping = self._is_up = self._has_connected = False
        self._bug: BaseException | None = None
        profile = load_profile(config.device.profile)
        state_dir, boot = config.device.state_dir, secrets.token_hex(8)
        this_arch()
        self._board = BoardEngine(
            profile, config.delegates, state_dir, has_weight_cache=config.workers.weight_cache
        )
        self._session = self._make_session(config, boot)
        self._events = Events(self._session.send_event)
        self._sources = SourceProcesses(config.sources, config.device.run_dir)
        self._gateway = GatewayProcess(config.gateway, config.device.run_dir)
        combined = config.combined()
        self._pipelines = PipelineProcess(combined, config.device.run_dir)
        with contextlib.ExitStack() as undo:
            self._pool = Pool(
                config.device.run_dir,
                self._on_crash,
                reserved=combined.names,
                may_fork=config.workers.fork_server,
                on_restarted=lambda: self._runner.refresh(),  # noqa: PLW0108 - there is none yet
            )
            undo.callback(self._pool.close)
            self._outbox = Outbox(state_dir / "outbox.sqlite", boot, config.telemetry.outbox_max_windows)
            undo.pop_all()
        self._health = Health(self._pool.take_windows)
        self._heat = HeatGuard(config.heat, profile)
        self._heat_watch = HeatWatch(
            sensors_of(config.heat, profile.thermal).read,
            config.heat.interval_s,
            on_reading=self._mailbox.wake,
            on_end=self._on_bug,
        )
        self._idle = IdleMerger()
        self._fallbacks = FallbackWatch()
        self._overload = OverloadWatch()
        self._trouble = ""
        self._unsaved: list[TelemetryWindow] = []
        self._shipment = Shipment(self._outbox, self._session.send_telemetry)
        self._benches = BenchShipment(WaitingBenches(state_dir), self._session.send_bench)
        self._window_s = config.telemetry.window_s
        self._next_window_s = 0.0
        self._reporter = HeatReporter(self._session, self._heat.report)
        self._runner = self._make_runner(config, profile)

    def _make_session(self, config: AgentConfig, boot: str) -> Session:
        device = parse_device_id(config.device.id)
        topics = config.topics()
        broker = Broker(
            host=config.mqtt.host,
            port=config.mqtt.port,
            keepalive_s=config.mqtt.keepalive_s,
            client_id=device,
            password=read_password(config.mqtt.password_file),
        )

        def dial(will: MqttMessage, receive: Callable[[str, bytes], None]) -> MqttConnection:
            return MqttConnection(broker, will, topics.device_filter(device), receive)

        return Session(
            dial,
            Identity(topics, device, boot, agent_version()),
            SessionCounter(config.device.state_dir / "session"),
            Hooks(info=self._board.info, receive=self._mailbox.put, on_connected=self._on_connected),
        )

    def _make_runner(self, config: AgentConfig, profile: Profile) -> Runner:
        state_dir = config.device.state_dir
        crew = Crew(
            self._pool,
            ThreadTuning(
                config.workers, profile.threads, state_dir, self._board.facts, self._heat.threads_cap
            ),
            config.update.start_timeout_s,
            config.update.self_test_timeout_s,
            self._board.engine,
            config.update.swap,
            saves=self._heat.is_saving,
            on_gap=self._events.tell_gap,
        )
        models = Models(state_dir / "models", Journal(state_dir / "models", state_dir), crew)
        origin = Origin(
            server_url=config.server.url,
            root=config.server.root,
            trust_dir=state_dir / "trust",
            profile=profile.id,
            capabilities=self._board.capabilities,
            prefers_accuracy=config.update.variant is Preference.ACCURATE,
            wants_cheaper=config.heat.cheaper_variant,
        )
        actions = Actions(
            origin,
            FetchProcess(state_dir),
            crew,
            self._health,
            models.slots,
            fetch_deadline_s=config.update.fetch_deadline_s,
        )
        return Runner(models, actions, self._reporter, on_up=self._on_up, on_end=self._on_bug)

    # From other threads and the signal handler.

    def stop(self) -> None:
        """Ask it to end. Any thread, and signal handlers."""
        self._is_stopping = True
        self._mailbox.wake()

    def _on_up(self) -> None:
        self._is_up = True
        self._mailbox.wake()

    def _on_bug(self, error: BaseException) -> None:
        self._bug = error
        self.stop()

    def _on_connected(self) -> None:
        self._has_connected = True
        self._mailbox.wake()

    def _on_crash(self, crash: Crash) -> None:
        self._health.note_crash(crash)
        detail = f"{describe_crash(crash)}; restart {crash.restarts}"
        if crash.rests_s:
            detail += f" in {crash.rests_s:g} s, until then requests that cannot wait fail at once"
        self._events.tell(EventKind.WORKER_CRASHED, detail, model=crash.model, version=crash.version)
        self._runner.refresh()

    # The main thread.

    def run(self, on_ready: Callable[[], None]) -> None:
        """Run until ``stop``.

        Args:
            on_ready: Called once, when every model that can answer does.

        Raises:
            LitefleetError: What is on disk cannot be used.
        """
        try:
            if not self._board.look(lambda: self._is_stopping):
                return
            for lost in self._board.news():
                self._events.tell(EventKind.DELEGATE_FELL_BACK, lost)
            self._heat_watch.start()
            self._runner.start()
            self._next_window_s = time.monotonic() + self._window_s
            is_ready = False
            while not self._is_stopping:
                if self._is_up and not is_ready:
                    is_ready = True
                    self._session.start()
                    self._manager.ready(self._state_words())
                    on_ready()
                self._turn(is_ready=is_ready)
        finally:
            self._end()
        if self._bug is not None:
            raise self._bug

    def _turn(self, *, is_ready: bool) -> None:
        due_s = min(self._manager.period_s or _TICK_S, _TICK_S, self._next_window_s - time.monotonic())
        for message in self._mailbox.take(due_s):
            self._deal_with(message)
        now_s = time.monotonic()
        self._heed_heat(now_s)
        has_connected, self._has_connected = self._has_connected, False
        with self._storage_may_fail():
            if has_connected:
                self._shipment.reconnected(now_s)
            if now_s >= self._next_window_s:
                self._next_window_s = now_s + self._window_s
                self._gather(self._idle.take(self._heard()))
            self._shipment.tick(now_s)
        with self._storage_may_fail():
            if has_connected:
                self._benches.reconnected(now_s)
            self._benches.tick(now_s)
        if is_ready:
            self._sources.tick(now_s)
            for model, words in self._sources.news(now_s):
                self._events.tell(EventKind.SOURCE_OVERLOADED, words, model=model)
            for child in (self._gateway, self._pipelines):
                child.tick(now_s)
                for model, words in child.news(now_s):
                    self._events.tell(EventKind.OVERLOADED, words, model=model)
            self._manager.alive(now_s, self._state_words())

    def _heed_heat(self, now_s: float) -> None:
        """Take what the sensors say, and do what it asks for."""
        reading = self._heat_watch.take()
        if reading is None or not self._heat.take(reading, now_s):
            return
        self._health.set_throttled(is_throttled=self._heat.is_held_back)
        self._sources.set_rate(self._heat.rate_share)
        words = self._heat.news()
        if words:
            self._events.tell(EventKind.THROTTLED, words)
        self._reporter.tell_again()
        self._runner.refresh()

    def _state_words(self) -> str:
        """For ``systemctl status``."""
        return "answering, " + ("connected" if self._session.is_connected else "not connected")

    def _deal_with(self, message: Message) -> None:
        if isinstance(message, Desired):
            self._runner.submit(message)
        elif isinstance(message, Ack):
            with self._storage_may_fail():
                self._shipment.acknowledged(message, time.monotonic())
        elif isinstance(message, BenchAck):
            with self._storage_may_fail():
                self._benches.acknowledged(message, time.monotonic())
        elif isinstance(message, Control):
            if message.telemetry_interval_s is not None:
                self._window_s = message.telemetry_interval_s
                self._next_window_s = time.monotonic() + self._window_s
            if message.log_level is not None:
                self._set_log_level(message.log_level)

    def _heard(self) -> list[TelemetryWindow]:
        """What workers did since the last time; an operator is told of another delegate, and of what was refused."""
        windows = self._health.drain()
        for window, words in self._fallbacks.take(windows):
            self._events.tell(EventKind.DELEGATE_FELL_BACK, words, model=window.model, version=window.version)
        for model, words in self._overload.take(self._health.refused(), time.monotonic()):
            self._events.tell(EventKind.OVERLOADED, words, model=model)
        return windows

    def _gather(self, windows: list[TelemetryWindow]) -> None:
        self._unsaved = [*self._unsaved, *windows][-_UNSAVED_MAX:]
        dropped = self._outbox.add(self._unsaved)
        self._unsaved = []
        if dropped:
            self._events.tell(EventKind.TELEMETRY_DROPPED, f"{dropped} windows, the oldest ones")

    def _end(self) -> None:
        """End every part, in the order in which they need each other."""
        self._manager.stopping()
        self._sources.stop()
        self._gateway.stop()
        self._pipelines.stop()
        self._heat_watch.stop()
        self._runner.stop()
        with self._storage_may_fail():
            self._gather([*self._idle.take(self._health.drain()), *self._idle.flush()])
        self._pool.close(_POOL_END_S)
        if not self._runner.join(_THREAD_END_S):
            logger.warning(
                "the update runner does not end; what it was doing is done again at the next start"
            )
        self._session.stop()
        self._session.join(_THREAD_END_S)
        self._outbox.close()
        self._sources.join()
        self._gateway.join()
        self._pipelines.join()

    @contextlib.contextmanager
    def _storage_may_fail(self) -> Iterator[None]:
        """A disk that fails costs telemetry, never the agent; it is logged when it changes, not every second."""
        try:
            yield
        except StorageError as error:
            if error.summary() != self._trouble:
                self._trouble = error.summary()
                logger.warning("telemetry waits: %s", self._trouble)
        else:
            self._trouble = ""
