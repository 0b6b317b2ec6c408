"""A broker of the user's own: messages in as frames, answers out. Shares the agent's one MQTT door.

Guarantees: a connection of its own, apart from the agent's; lost ones are opened again with growing pauses; one
message at most is held on the way in, and the broker is told not to send one that is too large.
"""

from __future__ import annotations

import math
import queue
import random
import secrets
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from contract.errors import BrokerError, LitefleetError
from edge_agent.backoff import Backoff
from edge_agent.config import read_password
from edge_agent.inference.sources.doors import Frame
from edge_agent.inference.sources.images import decode_payload
from edge_agent.inference.sources.results import encode_result
from edge_agent.inference.sources.settings import Sink, Source, broker_address
from edge_agent.link.mqtt import Broker, Message, MqttConnection

PUBLISH_S = 5.0
_BACKOFF = Backoff(base_s=0.5, cap_s=30.0)
_KEEPALIVE_S = 30
_POLL_S = 0.002
_PACKET_HEAD_BYTES = 2048
"""Topic and properties of a message beside its payload."""


def _broker_of(settings: Source | Sink) -> Broker:
    host, port = broker_address(settings.broker)
    password = read_password(Path(settings.password_file)) if settings.password_file else ""
    client_id = f"litefleet-source-{secrets.token_hex(4)}"
    return Broker(host, port, _KEEPALIVE_S, client_id, password, username=settings.username)


class Line:
    """A connection that is kept open by a thread of its own.

    Args:
        open_connection: Makes one that is not open yet.
    """

    def __init__(self, open_connection: Callable[[], MqttConnection]) -> None:
        self._make = open_connection
        self._stop = threading.Event()
        self._connection: MqttConnection | None = None
        self.trouble = ""
        self._thread = threading.Thread(target=self._run, name="broker", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        failures = 0
        while not self._stop.is_set():
            connection = None
            try:
                connection = self._make()
                connection.open()
                self.trouble, failures, self._connection = "", 0, connection
                connection.run(self._stop.is_set)
            except LitefleetError as error:
                self.trouble = error.summary()
                failures += 1
            finally:
                self._connection = None
                if connection is not None:
                    connection.close()
            self._stop.wait(_BACKOFF.delay_s(failures, random.uniform(0.5, 1.0)))  # noqa: S311 - spreads load

    def publish(self, message: Message, timeout_s: float) -> None:
        """Publish, and wait until the broker has it.

        Raises:
            BrokerError: It has not.
        """
        connection = self._connection
        if connection is None:
            raise BrokerError(self.trouble or "the broker is not connected yet")
        delivery = connection.publish(message)
        ends = time.monotonic() + timeout_s
        while not delivery.is_published():
            if self._connection is not connection or time.monotonic() > ends:
                raise BrokerError("the broker did not take an answer")
            time.sleep(_POLL_S)

    def close(self) -> None:
        """End."""
        self._stop.set()
        self._thread.join(PUBLISH_S)


class TopicCapture:
    """Messages of a topic, from the first ``read`` on: before it nobody would take them, and the newest has to win."""

    waits = False
    patience_s = math.inf

    def __init__(self, source: Source) -> None:
        self._newest: queue.Queue[tuple[str, bytes]] = queue.Queue(1)
        self._source = source
        self._broker = _broker_of(source)
        self._line: Line | None = None

    def _connect(self) -> MqttConnection:
        return MqttConnection(
            self._broker,
            None,
            self._source.topic,
            self._receive,
            max_packet_bytes=self._source.max_payload_bytes + _PACKET_HEAD_BYTES,
        )

    def _receive(self, topic: str, payload: bytes) -> None:
        """Wait until the one before is in the slot: that is soon, and keeps what is held at one."""
        self._newest.put((topic, payload), timeout=PUBLISH_S)

    def read(self, timeout_s: float) -> Frame | None:
        """See ``Capture``."""
        if self._line is None:
            self._line = Line(self._connect)
        try:
            topic, payload = self._newest.get(timeout=timeout_s)
        except queue.Empty:
            if self._line.trouble:
                raise BrokerError(self._line.trouble) from None
            return None
        return Frame(topic, partial(decode_payload, payload, f"a message on {topic}"))

    def close(self) -> None:
        """See ``Capture``."""
        if self._line is not None:
            self._line.close()


class TopicSink:
    """Answers to a topic."""

    def __init__(self, sink: Sink) -> None:
        self._topic = sink.topic
        broker = _broker_of(sink)
        self._line = Line(lambda: MqttConnection(broker, None, "", lambda _topic, _payload: None))

    def write(self, result: dict[str, Any]) -> None:
        """See ``Sink``."""
        message = Message(self._topic, encode_result(result), qos=1, retain=False)
        self._line.publish(message, PUBLISH_S)

    def close(self) -> None:
        """See ``Sink``."""
        self._line.close()
