"""The server as a device sees it over MQTT: says what is desired, remembers what it is told, acknowledges telemetry."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from contract.deployment import State
from contract.identifiers import DeviceId
from contract.messages import (
    MESSAGE_OF,
    WIRE_VERSION,
    Ack,
    Control,
    DeploymentChange,
    Desired,
    DesiredModel,
    DeviceInfo,
    DeviceState,
    Event,
    Message,
    Reported,
    ReportedModel,
    Telemetry,
    TelemetryWindow,
    decode_message,
    encode_message,
)
from contract.topics import QOS, RETAINED, Kind, Topics
from tests.support.agent_broker import SERVER_PASSWORD, SERVER_USER

WAIT_S = 30.0
_Any = TypeVar("_Any", bound=Message)


class AgentServer:
    """A context manager; reconnects by itself.

    Args:
        port: Of the broker.
        prefix: Topic prefix.
        device: The one device it looks after.
    """

    def __init__(self, port: int, prefix: str, device: str) -> None:
        self._port = port
        self._topics = Topics(prefix)
        self._device = DeviceId(device)
        self.revision = 0
        self._changed = threading.Condition()
        self._heard: list[Message] = []
        self.windows: dict[tuple[str, int], TelemetryWindow] = {}
        self.acknowledges = True
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id=SERVER_USER, clean_session=False)
        self._client.username_pw_set(SERVER_USER, SERVER_PASSWORD)
        self._client.on_connect = self._on_connect
        self._client.on_message = self._on_message
        self._client.reconnect_delay_set(1, 1)

    def __enter__(self) -> AgentServer:
        self._client.connect("127.0.0.1", self._port)
        self._client.loop_start()
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _on_connect(self, client: paho.Client, *_: Any) -> None:
        client.subscribe(self._topics.server_filter(), qos=1)

    def _on_message(self, _client: Any, _data: Any, message: paho.MQTTMessage) -> None:
        kind = MESSAGE_OF[self._topics.parse(message.topic).kind]
        content = decode_message(kind, bytes(message.payload))
        if isinstance(content, Telemetry):
            self._take(content)
        with self._changed:
            self._heard.append(content)
            self._changed.notify_all()

    def _take(self, telemetry: Telemetry) -> None:
        if not self.acknowledges:
            return
        self.windows |= {(telemetry.boot, entry.seq): entry.window for entry in telemetry.windows}
        self.send(Kind.ACK, Ack(v=WIRE_VERSION, boot=telemetry.boot, seq=telemetry.windows[-1].seq))

    def send(self, kind: Kind, message: Message) -> None:
        """Send something down."""
        topic = self._topics.build(kind, self._device)
        self._client.publish(topic, encode_message(message), QOS[kind], kind in RETAINED)

    def send_raw(self, kind: Kind, payload: bytes) -> None:
        """Send bytes down that are perhaps no message."""
        self._client.publish(self._topics.build(kind, self._device), payload, 1, kind in RETAINED)

    def control(self, control: Control) -> None:
        """Change how the device talks."""
        self.send(Kind.CONTROL, control)

    def desire(self, models: Mapping[str, DesiredModel]) -> int:
        """Publish the next desired document; its revision."""
        self.revision += 1
        self.send(Kind.DESIRED, Desired(v=WIRE_VERSION, revision=self.revision, models=dict(models)))
        return self.revision

    def deploy(self, version: str, deployment: str, *, model: str = "digits", trial_s: float = 0.0) -> int:
        """Desire one version of one model."""
        return self.desire({model: DesiredModel(version=version, deployment=deployment, trial_s=trial_s)})

    def heard(self, kind: type[_Any]) -> list[_Any]:
        """Every message of a kind so far, in order."""
        with self._changed:
            return [message for message in self._heard if isinstance(message, kind)]

    def wait_for(self, kind: type[_Any], matches: Callable[[_Any], bool], timeout_s: float = WAIT_S) -> _Any:
        """Wait for a message, past ones count; the first that matches."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while True:
                for message in self._heard:
                    if isinstance(message, kind) and matches(message):
                        return message
                left_s = deadline - time.monotonic()
                assert left_s > 0, f"no such {kind.__name__}; heard {self._heard[-20:]}"
                self._changed.wait(left_s)

    def wait_change(self, deployment: str, after: State, timeout_s: float = WAIT_S) -> DeploymentChange:
        """Wait until a deployment entered a state."""
        return self.wait_for(
            DeploymentChange, lambda c: c.deployment == deployment and c.after is after, timeout_s
        )

    def wait_end(self, deployment: str, timeout_s: float = WAIT_S) -> DeploymentChange:
        """Wait until a deployment ended."""
        return self.wait_for(
            DeploymentChange,
            lambda c: c.deployment == deployment and c.after in {State.SUCCEEDED, State.FAILED},
            timeout_s,
        )

    def wait_birth(self, after_session: int = 0) -> DeviceState:
        """Wait until the device is online in a newer session than a given one."""
        return self.wait_for(DeviceState, lambda s: s.online and s.session > after_session)

    def wait_reported(self, matches: Callable[[ReportedModel], bool], model: str = "digits") -> Reported:
        """Wait until a model is reported in some way."""
        return self.wait_for(Reported, lambda r: model in r.models and matches(r.models[model]))

    def states(self, deployment: str) -> list[State]:
        """States a deployment was heard to enter, in order; progress within one does not count."""
        changes = [change for change in self.heard(DeploymentChange) if change.deployment == deployment]
        return [change.after for change in changes if change.after is not change.before]

    def last_reported(self) -> Reported:
        """The newest report."""
        return self.heard(Reported)[-1]

    def last_state(self) -> DeviceState:
        """The newest birth or death."""
        return self.heard(DeviceState)[-1]

    def last_info(self) -> DeviceInfo:
        """The newest info."""
        return self.heard(DeviceInfo)[-1]

    def events(self) -> list[Event]:
        """Every event so far."""
        return self.heard(Event)
