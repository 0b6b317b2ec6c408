"""The server's MQTT connection, and the only importer of paho in the server.

Guarantees: a message reaches ``on_message`` decoded and checked, or is counted, logged without its content and
acknowledged; it is acknowledged to the broker only when its taker says so, that is after the commit. No exception
ends the network thread: paho would go on looking connected. Reconnects by itself.
"""

from __future__ import annotations

import functools
import logging
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, TypeVar

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from contract.errors import BrokerError, MessageError
from contract.messages import MESSAGE_OF, WIRE_VERSION, Message, ServerState, decode_message, encode_message
from contract.topics import QOS, RETAINED, SERVER, Kind, Topics

logger = logging.getLogger(__name__)

KEEPALIVE_S = 30
FIRST_RETRY_S = 1
LONGEST_RETRY_S = 5
"""Short, since the broker is on this machine."""
MAX_INFLIGHT = 1000
_Callback = TypeVar("_Callback", bound=Callable[..., None])


@dataclass(frozen=True)
class BridgeSettings:
    """Where the broker is, and the server's own password there."""

    host: str
    port: int
    password: str
    topics: Topics


@dataclass(frozen=True)
class Inbound:
    """A message of a device.

    Attributes:
        kind: What it is.
        device: Whose.
        message: Decoded.
        fields: Of its topic, for example the deployment id.
        is_retained: Whether the broker kept it, so that it may be old.
        acknowledge: Tells the broker that it is taken over; any thread may call it.
    """

    kind: Kind
    device: str
    message: Message
    fields: tuple[str, ...]
    is_retained: bool
    acknowledge: Callable[[], None]


def _guarded(callback: _Callback) -> _Callback:
    @functools.wraps(callback)
    def run(*args: Any) -> None:
        try:
            callback(*args)
        except Exception:
            logger.exception("%s failed", callback.__name__)

    return run  # type: ignore[return-value]  # the same signature


class Bridge:
    """The connection.

    Args:
        settings: Where to.
        on_message: Takes each message; called in the network thread.
        on_connect: Called in the network thread after each connect.
    """

    def __init__(
        self,
        settings: BridgeSettings,
        *,
        on_message: Callable[[Inbound], None],
        on_connect: Callable[[], None],
    ) -> None:
        self.bad_messages = 0
        self._settings = settings
        self._take = on_message
        self._tell_connected = on_connect
        self._connected = threading.Event()
        self._connection = 0
        # A session that outlives the connection: the broker keeps events while the server restarts.
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id=SERVER, clean_session=False, manual_ack=True
        )
        self._client.username_pw_set(SERVER, settings.password)
        self._client.max_inflight_messages_set(MAX_INFLIGHT)
        self._client.reconnect_delay_set(FIRST_RETRY_S, LONGEST_RETRY_S)
        self._client.will_set(settings.topics.server_state(), _state(online=False), qos=1, retain=True)
        self._client.on_socket_open = self._on_socket_open
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_message = self._on_message

    def start(self, timeout_s: float) -> None:
        """Connect, and wait until it stands.

        Raises:
            BrokerError: It does not stand in time.
        """
        self._client.connect_async(self._settings.host, self._settings.port, KEEPALIVE_S)
        self._client.loop_start()
        if not self._connected.wait(timeout_s):
            self.stop()
            raise BrokerError(
                f"the broker on {self._settings.host}:{self._settings.port} does not let the server in"
            )

    def stop(self) -> None:
        """Say goodbye and disconnect."""
        self._publish(self._settings.topics.server_state(), _state(online=False), qos=1, retain=True)
        self._client.disconnect()
        self._client.loop_stop()

    @property
    def is_connected(self) -> bool:
        """Whether the connection stands."""
        return self._connected.is_set()

    def send(self, kind: Kind, device: str, message: Message) -> None:
        """Send a message to a device; while there is no connection, nothing.

        Everything that must arrive is sent again after each connect.

        Raises:
            MessageError: It is too large.
        """
        topic = self._settings.topics.build(kind, device)  # type: ignore[arg-type]  # ids in the database are checked
        self._publish(topic, encode_message(message), qos=QOS[kind], retain=kind in RETAINED)

    def _publish(self, topic: str, payload: bytes, *, qos: int, retain: bool) -> None:
        if self.is_connected:
            self._client.publish(topic, payload, qos=qos, retain=retain)

    @_guarded
    def _on_socket_open(self, client: mqtt.Client, userdata: object, sock: Any) -> None:
        del client, userdata
        # Nagle and delayed acknowledgement together cost 88 ms a message even on loopback.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @_guarded
    def _on_connect(
        self, client: mqtt.Client, userdata: object, flags: object, code: Any, *rest: object
    ) -> None:
        del userdata, flags, rest
        if code.is_failure:
            logger.error("the broker refused the server: %s", code)
            return
        self._connection += 1
        self._connected.set()
        client.subscribe(self._settings.topics.server_filter(), qos=1)
        self._publish(self._settings.topics.server_state(), _state(online=True), qos=1, retain=True)
        logger.info("connected to the broker")
        self._tell_connected()

    @_guarded
    def _on_disconnect(
        self, client: mqtt.Client, userdata: object, flags: object, code: Any, *rest: object
    ) -> None:
        del client, userdata, flags, rest
        self._connected.clear()
        if code.is_failure:
            logger.warning("lost the broker: %s", code)

    @_guarded
    def _on_message(self, client: mqtt.Client, userdata: object, message: mqtt.MQTTMessage) -> None:
        del userdata
        acknowledge = functools.partial(self._acknowledge, self._connection, message.mid, message.qos)
        try:
            topic = self._settings.topics.parse(message.topic)
            if topic.device is None or topic.kind not in MESSAGE_OF:
                raise MessageError(f"topic {message.topic!r} is not for the server")
            decoded = decode_message(MESSAGE_OF[topic.kind], bytes(message.payload))
        except MessageError as error:
            self._count_bad(message.topic, error)
            client.ack(message.mid, message.qos)
            return
        self._take(Inbound(topic.kind, topic.device, decoded, topic.fields, message.retain, acknowledge))

    def _acknowledge(self, connection: int, mid: int, qos: int) -> None:
        # On a newer connection the number means another message; the broker delivers this one again.
        if connection == self._connection and self.is_connected:
            self._client.ack(mid, qos)

    def _count_bad(self, topic: str, error: MessageError) -> None:
        self.bad_messages += 1
        # One line for the 1st, 2nd, 4th, 8th...: a broken device must not fill the disk with its log.
        if self.bad_messages & (self.bad_messages - 1) == 0:
            logger.warning(
                "message %d that cannot be used, on %r: %s",
                self.bad_messages,
                topic[:200],
                error.summary()[:500],
            )


def _state(*, online: bool) -> bytes:
    return encode_message(ServerState(v=WIRE_VERSION, online=online, sent_at=datetime.now(timezone.utc)))
