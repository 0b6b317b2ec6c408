"""The device's presence at the broker: birth, last will, reconnecting, and what waits to be told.

Guarantees: the session number grows with every connect, across restarts, and stands in birth and will; a lost
connection is opened again with jittered back-off; ``reported`` is told anew after each connect; changes and events
are told in order until the broker confirms them, the newest WAITING_MAX of them. Sending never blocks or fails.

Threads: a thread of its own drives the connection and calls ``receive``; everything else may be called from any thread.
"""

from __future__ import annotations

import collections
import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Protocol

from contract.bench import Bench
from contract.deployment import Reason
from contract.errors import BrokerError, LitefleetError, MessageError, StorageError
from contract.identifiers import DeviceId
from contract.messages import (
    MESSAGE_OF,
    WIRE_VERSION,
    DeploymentChange,
    DeviceInfo,
    DeviceState,
    Event,
    EventKind,
    Reported,
    Telemetry,
    decode_message,
    encode_message,
)
from contract.messages import Message as Content
from contract.scalars import TEXT_MAX_CHARS
from contract.topics import QOS, RETAINED, Kind, Topics
from edge_agent.backoff import Backoff
from edge_agent.files import read_bounded, write_durably
from edge_agent.link.mqtt import Delivery, Message

WAITING_MAX = 256
STEADY_S = 30.0
"""A connection that lasted this long was a good one: the next back-off starts small."""
BACKOFF = Backoff(base_s=1.0, cap_s=60.0)
_COUNTER_MAX_BYTES = 32

logger = logging.getLogger(__name__)


class Connection(Protocol):
    """One connection; see ``edge_agent.link.mqtt``."""

    def open(self) -> None:
        """Connect; BrokerError."""

    def run(self, should_stop: Callable[[], bool]) -> None:
        """Send and receive; BrokerError when it is lost."""

    def publish(self, message: Message) -> Delivery:
        """Send soon; BrokerError."""

    def close(self, farewell: Message | None = None) -> None:
        """End it."""


Dial = Callable[[Message, Callable[[str, bytes], None]], Connection]
"""Makes a connection, not opened yet, from its will and from who receives its messages."""


@dataclass(frozen=True)
class Identity:
    """Who speaks: topics, device id, this start of the agent, and its version."""

    topics: Topics
    device: DeviceId
    boot: str
    agent_version: str


@dataclass(frozen=True)
class Hooks:
    """What a session asks and tells the rest of the agent; called on the session's thread.

    Attributes:
        info: What the device is, looked up at each connect.
        receive: Told every message that could be read.
        on_connected: Called after each connect.
    """

    info: Callable[[], DeviceInfo]
    receive: Callable[[Content], None]
    on_connected: Callable[[], None]


@dataclass(eq=False)
class _Parcel:
    message: Message
    delivery: Delivery | None = None


class SessionCounter:
    """The session number, kept on disk.

    Args:
        path: Its file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._last = 0

    def next(self) -> int:
        """One more than ever before; on a disk that fails, one more than in this start of the agent."""
        try:
            text = (read_bounded(self._path, _COUNTER_MAX_BYTES) or b"0").strip()
            self._last = max(self._last, int(text) if text.isdigit() else 0)
            write_durably(self._path, b"%d\n" % (self._last + 1))
        except StorageError as error:
            logger.warning("the session number is not kept: %s", error.summary())
        self._last += 1
        return self._last


class Session:
    """Keeps the device connected.

    Args:
        dial: Makes connections.
        identity: Who speaks.
        counter: Session numbers.
        hooks: Into the rest of the agent.
        backoff: How long to wait between connects.
    """

    def __init__(
        self,
        dial: Dial,
        identity: Identity,
        counter: SessionCounter,
        hooks: Hooks,
        *,
        backoff: Backoff = BACKOFF,
    ) -> None:
        self._dial = dial
        self._identity = identity
        self._counter = counter
        self._hooks = hooks
        self._backoff = backoff
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._waiting: collections.deque[_Parcel] = collections.deque()
        self._reported: Message | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mqtt-session", daemon=True)

    def start(self) -> None:
        """Begin to connect."""
        self._thread.start()

    def stop(self) -> None:
        """Say goodbye and end; see ``join``."""
        self._stop.set()

    def join(self, timeout_s: float) -> bool:
        """Wait for the end; whether it has come."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection now, as far as is known."""
        return self._connection is not None

    # What is told.

    def send_reported(self, reported: Reported) -> None:
        """Tell what the device has; the newest is told again after each connect."""
        message = self._message(Kind.REPORTED, reported)
        with self._lock:
            if message is None or message == self._reported:
                return
            self._reported = message
            self._publish(message)

    def send_change(self, change: DeploymentChange) -> None:
        """Tell a state change."""
        self._post(self._message(Kind.DEPLOYMENT, change, change.deployment))

    def send_event(self, event: Event) -> None:
        """Tell an event."""
        self._post(self._message(Kind.EVENT, event))

    def send_telemetry(self, telemetry: Telemetry) -> bool:
        """Tell windows if there is a connection; whether there was. Only the server's ack says that they arrived."""
        return self._offer(self._message(Kind.TELEMETRY, telemetry))

    def send_bench(self, bench: Bench) -> bool:
        """Tell a bench if there is a connection; whether there was. Only the server's ack says that it arrived."""
        return self._offer(self._message(Kind.BENCH, bench))

    def _offer(self, message: Message | None) -> bool:
        with self._lock:
            return message is not None and self._publish(message) is not None

    def _post(self, message: Message | None) -> None:
        if message is None:
            return
        with self._lock:
            self._forget_delivered()
            if len(self._waiting) >= WAITING_MAX:
                logger.warning("%s is not told: too much is waiting", self._waiting.popleft().message.topic)
            self._waiting.append(_Parcel(message, self._publish(message)))

    def _forget_delivered(self) -> None:
        undelivered = (parcel for parcel in self._waiting if not _is_delivered(parcel))
        self._waiting = collections.deque(undelivered)

    def _publish(self, message: Message) -> Delivery | None:
        """Hand over to the connection; the lock is held."""
        if self._connection is None:
            return None
        try:
            return self._connection.publish(message)
        except BrokerError as error:
            logger.warning("%s waits: %s", message.topic, error)
            return None

    def _message(self, kind: Kind, content: Content, *fields: str) -> Message | None:
        try:
            payload = encode_message(content)
        except MessageError as error:
            logger.warning("%s cannot be told: %s", kind.value, error.summary())
            return None
        topic = self._identity.topics.build(kind, self._identity.device, *fields)
        return Message(topic, payload, QOS[kind], kind in RETAINED)

    def _state(self, session: int, *, online: bool) -> Message:
        state = DeviceState(
            v=WIRE_VERSION,
            online=online,
            boot=self._identity.boot,
            session=session,
            agent_version=self._identity.agent_version,
            sent_at=datetime.now(timezone.utc),
        )
        message = self._message(Kind.STATE, state)
        assert message is not None  # noqa: S101 - made of checked parts only
        return message

    # The thread.

    def _run(self) -> None:
        failures = 0
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                self._hold_one_connection()
            except BrokerError as error:
                logger.warning("%s", error)
            except Exception:
                logger.exception("the connection ended because of a bug; it is opened again")
            failures = 1 if time.monotonic() - began >= STEADY_S else failures + 1
            # Jitter spreads a fleet that lost its broker; nothing depends on it being unpredictable.
            self._stop.wait(self._backoff.delay_s(failures, random.random()))  # noqa: S311

    def _hold_one_connection(self) -> None:
        number = self._counter.next()
        connection = self._dial(self._state(number, online=False), self._on_message)
        try:
            connection.open()
            self._greet(connection, number)
            connection.run(self._stop.is_set)
        finally:
            with self._lock:
                self._connection = None
                for parcel in self._waiting:
                    if not _is_delivered(parcel):
                        parcel.delivery = None
            connection.close(self._state(number, online=False) if self._stop.is_set() else None)

    def _greet(self, connection: Connection, number: int) -> None:
        info = self._message(Kind.INFO, self._hooks.info())
        with self._lock:
            connection.publish(self._state(number, online=True))
            if info is not None:
                connection.publish(info)
            if self._reported is not None:
                connection.publish(self._reported)
            self._forget_delivered()
            self._connection = connection
            for parcel in self._waiting:
                parcel.delivery = self._publish(parcel.message)
        logger.info("connected, session %d", number)
        self._hooks.on_connected()

    def _on_message(self, topic: str, payload: bytes) -> None:
        try:
            parsed = self._identity.topics.parse(topic)
            kind = MESSAGE_OF.get(parsed.kind)
            if kind is None or parsed.device != self._identity.device:
                raise MessageError(f"topic {topic!r} is not for this device")
            content = decode_message(kind, payload)
        except LitefleetError as error:
            logger.warning("refused: %s", error.summary())
            self.send_event(
                Event(
                    v=WIRE_VERSION,
                    kind=EventKind.REFUSED,
                    at=datetime.now(timezone.utc),
                    reason=Reason.MESSAGE,
                    detail=error.summary()[:TEXT_MAX_CHARS],
                )
            )
            return
        self._hooks.receive(content)


def _is_delivered(parcel: _Parcel) -> bool:
    return parcel.delivery is not None and parcel.delivery.is_published()
