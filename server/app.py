"""The server as a whole: the one place where its adapters meet.

Guarantees: everything that was started is ended, in reverse order, however the start or the run ends; the crash of
any thread ends the server.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import logging
import threading
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

from contract.errors import LitefleetError, ServerUnavailableError, StorageError
from contract.topics import Kind, Topics
from server.api.application import create_application
from server.api.releases import ReleaseStores, add_missing_rows
from server.api.stored_releases import StoredReleases
from server.broker.program import BrokerProgram, choose_program
from server.broker.remnant import end_remnant
from server.broker.supervisor import BrokerSupervisor
from server.config import ServerConfig
from server.enrolment import Enrolment
from server.http import HttpServer, bind, check_port_free
from server.ingest.batcher import Batcher
from server.ingest.bridge import Bridge, BridgeSettings
from server.ingest.intake import Effects
from server.layout import FolderLock, Layout, read_broker_password
from server.rollout.outbound import DesiredSender, RolloutDriver
from server.rollout.service import RolloutService
from server.storage.artifacts import ArtifactStore
from server.storage.repository import Storage
from server.threads import start_thread
from server.trust.access import Access
from server.trust.repository import TufRepository

logger = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 10.0
HOUSEKEEPING_S = 3600.0


@dataclass(frozen=True)
class Ready:
    """Where a running server is reached.

    Attributes:
        http_url: Base URL of the HTTP API.
        mqtt_address: Host and port of the broker.
        broker: Name of the broker.
        warning: What the operator must know; empty for nothing.
    """

    http_url: str
    mqtt_address: str
    broker: str
    warning: str


class Server:
    """A server in its folder.

    Args:
        folder: What ``create_folder`` made.
        config: Its settings.
    """

    def __init__(self, folder: Path, config: ServerConfig) -> None:
        self._layout = Layout(folder.absolute())
        self._config = config
        self._ended = threading.Event()
        self._is_crashed = False
        self._cleanup = contextlib.ExitStack()

    def start(self) -> Ready:
        """Start everything.

        Raises:
            ConfigError: A setting or a secret is wrong, a port is in use, or another server runs in the folder.
            StorageError: The disk or database cannot be used.
            BrokerError: The broker did not start.
        """
        with contextlib.ExitStack() as cleanup:
            ready = self._start(cleanup)
            self._cleanup = cleanup.pop_all()
        return ready

    def request_stop(self) -> None:
        """Let ``wait`` return; may be called from a signal handler."""
        self._ended.set()

    def wait(self) -> None:
        """Wait until the end is requested, then end everything.

        Raises:
            ServerUnavailableError: A part of the server crashed.
        """
        try:
            self._ended.wait()
        finally:
            self._cleanup.close()
        if self._is_crashed:
            raise ServerUnavailableError("a part of the server crashed; its log says why")

    def _crashed(self) -> None:
        self._is_crashed = True
        self._ended.set()

    def _start(self, cleanup: contextlib.ExitStack) -> Ready:
        config, layout = self._config, self._layout
        cleanup.callback(FolderLock(layout).release)
        listener = bind(config.http.host, config.http.port, "[http] port")
        cleanup.callback(listener.close)
        end_remnant(layout.broker)
        check_port_free(config.mqtt.host, config.mqtt.port, "[mqtt] port")
        storage = Storage(layout.database)
        cleanup.callback(storage.close)
        program = choose_program(config.broker.kind, config.mqtt, layout.broker)

        access = Access(layout.secrets)
        tuf = TufRepository(layout.releases, layout.online_key)
        stores = ReleaseStores(ArtifactStore(layout.artifacts), tuf, StoredReleases(storage))
        add_missing_rows(stores, datetime.now(timezone.utc))
        password = read_broker_password(layout)
        broker = BrokerSupervisor(
            program, before_start=lambda: _note_no_connections(storage), on_crash=self._crashed
        )
        enrolment = Enrolment(storage, tuf, password, broker.admit)
        cleanup.callback(broker.stop)
        broker.start(enrolment.password_hashes())
        bridge, rollouts = self._connect(storage, password, cleanup)
        self._keep_house(storage, tuf, cleanup)

        app = create_application(importlib.metadata.version("litefleet"))
        app.state.access = access
        app.state.artifacts, app.state.tuf, app.state.releases = stores.artifacts, tuf, stores.releases
        app.state.storage, app.state.config, app.state.enrolment = storage, config, enrolment
        app.state.rollouts, app.state.version = rollouts, app.version
        app.state.broker_name, app.state.is_broker_connected = program.name, lambda: bridge.is_connected
        http = HttpServer(app, listener, self._crashed)
        cleanup.callback(http.stop)
        http.start()
        return _ready(config, program)

    def _connect(
        self, storage: Storage, password: str, cleanup: contextlib.ExitStack
    ) -> tuple[Bridge, RolloutService]:
        config = self._config
        settings = BridgeSettings(
            config.mqtt.host, config.mqtt.port, password, topics=Topics(config.mqtt.prefix)
        )

        def on_connect() -> None:
            driver.note_connect()

        def after_commit(effects: Effects) -> None:
            for (device, _), ack in effects.acks.items():
                bridge.send(Kind.ACK, device, ack)
            for (device, _), kept in effects.bench_acks.items():
                bridge.send(Kind.BENCH_ACK, device, kept)
            for device in effects.resends:
                desired.resend(device)
            if effects.wakes_rollouts:
                driver.wake()

        batcher = Batcher(storage, after_commit=after_commit, on_crash=self._crashed)
        bridge = Bridge(settings, on_message=batcher.put, on_connect=on_connect)
        desired = DesiredSender(storage, bridge)
        rollouts = RolloutService(storage, desired.send)
        driver = RolloutDriver(rollouts.advance_all, desired.send_all, self._crashed)
        # The batcher ends before the connection: what it has is committed and acknowledged, and it never waits.
        cleanup.callback(bridge.stop)
        for part in (driver, batcher):
            cleanup.callback(part.stop)
            part.start()
        bridge.start(CONNECT_TIMEOUT_S)
        return bridge, rollouts

    def _keep_house(self, storage: Storage, tuf: TufRepository, cleanup: contextlib.ExitStack) -> None:
        _keep_house_once(storage, tuf, self._config)
        stopped = threading.Event()

        def run() -> None:
            while not stopped.wait(HOUSEKEEPING_S):
                _keep_house_once(storage, tuf, self._config)

        thread = start_thread("housekeeping", run, self._crashed)
        cleanup.callback(thread.join)
        cleanup.callback(stopped.set)


def _keep_house_once(storage: Storage, tuf: TufRepository, config: ServerConfig) -> None:
    now = datetime.now(timezone.utc)
    try:
        tuf.refresh(now)
        with storage.write() as rows:
            rows.telemetry.forget_before(now - timedelta(days=config.storage.telemetry_days))
            rows.events.forget_before(now - timedelta(days=config.storage.event_days))
    except LitefleetError as error:
        logger.error("housekeeping waits: %s", error.summary())  # noqa: TRY400 - no bug, no traceback


def _note_no_connections(storage: Storage) -> None:
    try:
        with storage.write() as rows:
            rows.devices.set_all_offline()
    except StorageError as error:
        # The broker is needed all the more; devices that do not come back look online until the disk works.
        logger.error("devices are not noted as offline: %s", error.summary())  # noqa: TRY400 - no bug


def _ready(config: ServerConfig, program: BrokerProgram) -> Ready:
    return Ready(
        http_url=config.http_url(),
        mqtt_address=f"{config.mqtt.host}:{config.mqtt.port}",
        broker=program.name,
        warning=program.warning,
    )
