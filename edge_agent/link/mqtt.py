"""One MQTT connection, from its opening to its end. The agent's only importer of paho.

Guarantees: what paho raises or returns as a failure is a BrokerError; an exception in a callback ends nothing but is
logged; TCP_NODELAY is set, so that a message does not wait for the acknowledgement of the one before (measured: 88 ms
instead of 1.1 ms a round trip on loopback); nothing is tried again here, a lost connection is thrown away.

Threads: ``open``, ``run`` and ``close`` belong to one thread, on which all callbacks are made. ``publish`` may be
called from any thread: with a write callback registered, paho only queues there and wakes that one thread.
"""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from contract.errors import BrokerError

OPEN_TIMEOUT_S = 5.0
CLOSE_TIMEOUT_S = 2.0
MAX_INFLIGHT = 100
MAX_QUEUED = 1000
"""paho's own queue; far above what the session hands over while connected."""
_LOOP_S = 0.5
_CLOSE_LOOP_S = 0.1

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Broker:
    """Where and as whom to connect: host, port, keep-alive in seconds, client id, password, user name.

    Without a user name it is the client id; an empty one connects as nobody.
    """

    host: str
    port: int
    keepalive_s: int
    client_id: str
    password: str
    username: str | None = None


@dataclass(frozen=True)
class Message:
    """Something to publish."""

    topic: str
    payload: bytes
    qos: int
    retain: bool


class Delivery(Protocol):
    """A published message's way to the broker."""

    def is_published(self) -> bool:
        """Whether the broker has it (QoS 1: its PUBACK came)."""


class MqttConnection:
    """A clean session.

    Args:
        broker: Where to connect.
        will: What the broker publishes when this connection dies; None for nothing.
        subscription: Topic filter; empty for none.
        receive: Called with topic and payload of every message.
        open_timeout_s: Longest time until the broker has accepted, seconds.
        max_packet_bytes: Largest packet that the broker may send, which takes MQTT 5; None for any, with MQTT 3.1.1.
    """

    def __init__(
        self,
        broker: Broker,
        will: Message | None,
        subscription: str,
        receive: Callable[[str, bytes], None],
        *,
        open_timeout_s: float = OPEN_TIMEOUT_S,
        max_packet_bytes: int | None = None,
    ) -> None:
        self._broker = broker
        self._subscription = subscription
        self._receive = receive
        self._open_timeout_s = open_timeout_s
        self._refusal = ""
        self._is_subscribed = False
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=broker.client_id,
            clean_session=True if max_packet_bytes is None else None,
            protocol=MQTTProtocolVersion.MQTTv311 if max_packet_bytes is None else MQTTProtocolVersion.MQTTv5,
            reconnect_on_failure=False,
        )
        username = broker.client_id if broker.username is None else broker.username
        if username:
            self._client.username_pw_set(username, broker.password)
        if will is not None:
            self._client.will_set(will.topic, will.payload, will.qos, will.retain)
        self._properties: Properties | None = None
        if max_packet_bytes is not None:
            self._properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho has no types there
            self._properties.MaximumPacketSize = max_packet_bytes
        self._client.max_inflight_messages_set(MAX_INFLIGHT)
        self._client.max_queued_messages_set(MAX_QUEUED)
        self._client.connect_timeout = open_timeout_s
        self._client.on_socket_open = _set_nodelay
        self._client.on_socket_register_write = _ignore
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = self._on_message

    def open(self) -> None:
        """Connect and subscribe.

        Raises:
            BrokerError: The broker cannot be reached, refuses, or does not answer in time.
        """
        broker = self._broker
        try:
            self._client.connect(broker.host, broker.port, broker.keepalive_s, properties=self._properties)
        except (OSError, ValueError) as error:
            raise BrokerError(f"broker {broker.host}:{broker.port} cannot be reached: {error}") from error
        deadline = time.monotonic() + self._open_timeout_s
        while not self._is_subscribed:
            self._loop()
            if self._refusal:
                raise BrokerError(f"broker {broker.host}:{broker.port} refuses: {self._refusal}")
            if time.monotonic() > deadline:
                raise BrokerError(f"broker {broker.host}:{broker.port} does not answer")

    def run(self, should_stop: Callable[[], bool]) -> None:
        """Send and receive until it is to stop.

        Raises:
            BrokerError: The connection is lost.
        """
        while not should_stop():
            self._loop()

    def _loop(self) -> None:
        code = self._client.loop(_LOOP_S)
        if code is not MQTTErrorCode.MQTT_ERR_SUCCESS and not self._refusal:
            raise BrokerError(f"connection to the broker is lost: {paho.error_string(code)}")

    def publish(self, message: Message) -> Delivery:
        """Send soon. Any thread.

        Raises:
            BrokerError: Too much is waiting already.
        """
        info = self._client.publish(message.topic, message.payload, message.qos, message.retain)
        if info.rc is MQTTErrorCode.MQTT_ERR_QUEUE_SIZE:
            raise BrokerError("the broker takes messages too slowly")
        return _Delivery(info)

    def close(self, farewell: Message | None = None) -> None:
        """Say goodbye, so that the broker does not publish the will, and free everything. The last call.

        Args:
            farewell: Sent before, when the connection is still there.
        """
        client = self._client
        if farewell is not None and client.is_connected():
            info = client.publish(farewell.topic, farewell.payload, farewell.qos, farewell.retain)
            deadline = time.monotonic() + CLOSE_TIMEOUT_S
            while not _is_published(info) and time.monotonic() < deadline:
                if client.loop(_CLOSE_LOOP_S) is not MQTTErrorCode.MQTT_ERR_SUCCESS:
                    break
            client.disconnect()
            client.loop(_CLOSE_LOOP_S)
        # paho closes its sockets when it is collected; without these references that is now.
        client.on_connect = client.on_subscribe = client.on_message = None
        del self._client

    def _on_connect(self, client: paho.Client, _data: Any, _flags: Any, code: Any, _properties: Any) -> None:
        if code.is_failure:
            self._refusal = str(code)
        elif self._subscription:
            client.subscribe(self._subscription, qos=1)
        else:
            self._is_subscribed = True

    def _on_subscribe(self, _client: Any, _data: Any, _mid: int, codes: list[Any], _properties: Any) -> None:
        if any(code.is_failure for code in codes):
            self._refusal = f"subscription to {self._subscription}"
        self._is_subscribed = True

    def _on_message(self, _client: Any, _data: Any, message: paho.MQTTMessage) -> None:
        try:
            self._receive(message.topic, bytes(message.payload))
        except Exception:
            logger.exception("a message on %s could not be dealt with", message.topic)


class _Delivery:
    def __init__(self, info: paho.MQTTMessageInfo) -> None:
        self._info = info

    def is_published(self) -> bool:
        return _is_published(self._info)


def _is_published(info: paho.MQTTMessageInfo) -> bool:
    return info.rc is MQTTErrorCode.MQTT_ERR_SUCCESS and info.is_published()


def _set_nodelay(_client: Any, _data: Any, sock: Any) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _ignore(_client: Any, _data: Any, _sock: Any) -> None:
    """Stands for an event loop that will write; ``run`` is it."""
