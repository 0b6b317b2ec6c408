"""A device as the server sees it: speaks the contract over a real MQTT connection, runs nothing."""

from __future__ import annotations

import dataclasses
import functools
import secrets
import socket
import threading
from collections.abc import Callable
from datetime import datetime, timezone
from types import TracebackType
from typing import Any

import msgspec
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from contract.deployment import Reason, State
from contract.messages import (
    Ack,
    DeploymentChange,
    Desired,
    DesiredModel,
    DeviceState,
    Event,
    EventKind,
    Message,
    Reported,
    ReportedModel,
    SequencedWindow,
    Telemetry,
    TelemetryWindow,
    decode_message,
    encode_message,
)
from contract.topics import QOS, RETAINED, Kind, Topics
from tests.support.server_process import wait_until

AGENT_VERSION = "0.1.0"
_STEPS = (State.FETCHING, State.STAGING, State.TESTING, State.SWITCHING, State.TRIAL)


@dataclasses.dataclass(frozen=True)
class DeviceAccess:
    """What ``POST /api/v1/devices`` gave for the broker."""

    id: str
    host: str
    port: int
    prefix: str
    password: str

    @classmethod
    def of(cls, answer: Any) -> DeviceAccess:
        mqtt_access = answer["mqtt"]
        return cls(
            id=answer["id"],
            host=mqtt_access["host"],
            port=mqtt_access["port"],
            prefix=mqtt_access["prefix"],
            password=mqtt_access["password"],
        )


class DeviceDouble:
    """A device that does as it is told, or fails as the test says.

    Attributes:
        failing: Version to the reason with which its deployments fail.
        holding: Versions whose deployments stay in ``fetching`` until ``let_go``.
        is_silent: Whether state changes are lost on their way; ``reported`` still arrives.
        received: Topic and payload of everything that came.
        desired: Every desired document that came, in order.
        acks: Every acknowledgement of telemetry that came.
    """

    def __init__(self, access: DeviceAccess, *, client_id: str | None = None) -> None:
        self.access = access
        self.topics = Topics(access.prefix)
        self.boot = secrets.token_hex(4)
        self.session = 0
        self.failing: dict[str, Reason] = {}
        self.holding: set[str] = set()
        self.is_silent = False
        self.received: list[tuple[str, bytes]] = []
        self.desired: list[Desired] = []
        self.acks: list[Ack] = []
        self.models: dict[str, ReportedModel] = {}
        self.revision = 0
        self.refusals: list[str] = []
        self.is_connected = threading.Event()
        self._held: list[Callable[[], None]] = []
        self._steps: dict[str, int] = {}
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id=client_id or access.id, clean_session=True
        )
        self._client.username_pw_set(access.id, access.password)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_pre_connect = self._on_pre_connect
        self._client.on_socket_open = _set_nodelay
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = lambda *_: self.is_connected.clear()
        self._client.on_message = self._on_message

    def __enter__(self) -> DeviceDouble:
        self.start()
        wait_until(self.is_connected.is_set, what=f"{self.access.id} connects")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Connect, and again whenever the connection is lost."""
        self._client.connect_async(self.access.host, self.access.port, keepalive=30)
        self._client.loop_start()

    def stop(self) -> None:
        """Say goodbye."""
        if self.is_connected.is_set():
            self._send(Kind.STATE, self._state(online=False)).wait_for_publish(5)
        self._client.disconnect()
        self._client.loop_stop()

    def die(self) -> None:
        """Lose the connection without a word, and do not come back."""
        self._client.on_pre_connect = None
        connection = self._client.socket()
        self._client._thread_terminate = True
        assert isinstance(connection, socket.socket)
        connection.shutdown(socket.SHUT_RDWR)
        self._client.loop_stop()

    def subscribe(self, topic: str) -> None:
        self._client.subscribe(topic, qos=1)

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        self._client.publish(topic, payload, qos=1, retain=retain)

    def send_state(self, *, online: bool, session: int) -> None:
        """A birth or will of any session."""
        self._send(Kind.STATE, msgspec.structs.replace(self._state(online=online), session=session))

    def send_telemetry(self, *windows: SequencedWindow) -> None:
        self._send(Kind.TELEMETRY, Telemetry(v=1, boot=self.boot, windows=windows))

    def send_event(self, detail: str) -> None:
        event = Event(v=1, kind=EventKind.WORKER_CRASHED, at=_now(), model="digits", detail=detail)
        self._send(Kind.EVENT, event)

    def send_reported(self) -> None:
        self._send(Kind.REPORTED, Reported(v=1, revision=self.revision, models=self.models))

    def let_go(self) -> None:
        """Let held deployments go on."""
        self.holding.clear()
        held, self._held = self._held, []
        for go_on in held:
            go_on()

    def version_of(self, model: str) -> str:
        return self.models[model].version if model in self.models else ""

    def _on_pre_connect(self, client: mqtt.Client, _data: object) -> None:
        self.session += 1
        topic = self.topics.build(Kind.STATE, self.access.id)  # type: ignore[arg-type]
        client.will_set(topic, encode_message(self._state(online=False)), qos=1, retain=True)

    def _on_connect(self, client: mqtt.Client, _data: object, _flags: object, code: Any, *_: object) -> None:
        if code.is_failure:
            self.refusals.append(str(code))
            return
        client.subscribe(self.topics.device_filter(self.access.id), qos=1)  # type: ignore[arg-type]
        self._send(Kind.STATE, self._state(online=True))
        self.send_reported()
        self.is_connected.set()

    def _on_message(self, _client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        payload = bytes(message.payload)
        self.received.append((message.topic, payload))
        try:
            kind = self.topics.parse(message.topic).kind
        except ValueError:
            return
        if kind is Kind.DESIRED:
            document = decode_message(Desired, payload)
            self.desired.append(document)
            self._take_over(document)
        elif kind is Kind.ACK:
            self.acks.append(decode_message(Ack, payload))

    def _take_over(self, document: Desired) -> None:
        if document.revision <= self.revision:
            return
        self.revision = document.revision
        for model in set(self.models) - set(document.models):
            del self.models[model]
        self.send_reported()
        for model, wanted in document.models.items():
            known = self.models.get(model, ReportedModel())
            if wanted.deployment != known.deployment:
                self._begin(model, wanted)

    def _begin(self, model: str, wanted: DesiredModel) -> None:
        if self.version_of(model) == wanted.version:
            self._enter(model, wanted, State.SUCCEEDED)
            return
        self._enter(model, wanted, State.FETCHING)
        if wanted.version in self.holding:
            self._held.append(functools.partial(self._go_on, model, wanted))
        else:
            self._go_on(model, wanted)

    def _go_on(self, model: str, wanted: DesiredModel) -> None:
        reason = self.failing.get(wanted.version)
        for state in _STEPS[1:3] if reason else _STEPS[1:]:
            self._enter(model, wanted, state)
        if reason is None:
            self._enter(model, wanted, State.SUCCEEDED)
        else:
            self._enter(model, wanted, State.ROLLING_BACK, reason)
            self._enter(model, wanted, State.FAILED, reason)

    def _enter(self, model: str, wanted: DesiredModel, state: State, reason: Reason | None = None) -> None:
        before = self.models.get(model, ReportedModel())
        step = self._steps[wanted.deployment] = self._steps.get(wanted.deployment, -1) + 1
        is_new = state in {State.TRIAL, State.SUCCEEDED}
        self.models[model] = ReportedModel(
            version=wanted.version if is_new else before.version,
            variant="float32",
            deployment=wanted.deployment,
            state=state,
            reason=reason if state is State.FAILED else None,
        )
        change = DeploymentChange(
            v=1,
            deployment=wanted.deployment,
            model=model,
            version=wanted.version,
            step=step,
            before=before.state,
            after=state,
            bytes_done=1000 * step,
            seconds=0.1 * step,
            at=_now(),
            reason=reason,
        )
        if not self.is_silent:
            self._send(Kind.DEPLOYMENT, change, wanted.deployment)
        self.send_reported()

    def _state(self, *, online: bool) -> DeviceState:
        return DeviceState(
            v=1,
            online=online,
            boot=self.boot,
            session=self.session,
            agent_version=AGENT_VERSION,
            sent_at=_now(),
        )

    def _send(self, kind: Kind, message: Message, *fields: str) -> mqtt.MQTTMessageInfo:
        topic = self.topics.build(kind, self.access.id, *fields)  # type: ignore[arg-type]
        return self._client.publish(topic, encode_message(message), qos=QOS[kind], retain=kind in RETAINED)


def a_window(seq: int, **changes: Any) -> SequencedWindow:
    """A telemetry window of ten requests that took 2 ms each."""
    from contract.histogram import LatencyRecorder

    recorder = LatencyRecorder()
    for _ in range(10):
        recorder.record(0.002)
    window = TelemetryWindow(
        model="digits",
        version="1.0.0",
        variant="float32",
        start=datetime(2026, 11, 21, 12, seq // 60, seq % 60, tzinfo=timezone.utc),
        duration_s=1.0,
        requests=10,
        errors=0,
        latency=recorder.snapshot(),
        rss_bytes=50_000_000 + seq,
    )
    return SequencedWindow(seq=seq, window=msgspec.structs.replace(window, **changes))


def _set_nodelay(_client: object, _data: object, sock: Any) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _now() -> datetime:
    return datetime.now(timezone.utc)
