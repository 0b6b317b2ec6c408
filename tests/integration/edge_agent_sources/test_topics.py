"""Images from a topic and answers to one, over a real mosquitto of the user's own."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image

from contract.errors import BrokerError, InputError
from edge_agent.inference.sources.broker import TopicCapture, TopicSink
from edge_agent.inference.sources.outlet import Outlet
from edge_agent.inference.sources.settings import Sink, Source
from edge_agent.link.mqtt import Broker, Message, MqttConnection
from tests.support.agent_broker import SERVER_PASSWORD, SERVER_USER, AgentBroker
from tests.support.inference_slots import images_of, wait_until

PREFIX = "cameras"


class Peer:
    """The user's other side: publishes, and hears what is published under the prefix."""

    def __init__(self, port: int) -> None:
        self.heard: list[tuple[str, bytes]] = []
        self._stop = threading.Event()
        broker = Broker("127.0.0.1", port, 30, "peer", SERVER_PASSWORD, username=SERVER_USER)
        self.connection = MqttConnection(
            broker, None, f"{PREFIX}/#", lambda *message: self.heard.append(message)
        )
        self.connection.open()
        self._thread = threading.Thread(target=self.connection.run, args=(self._stop.is_set,))
        self._thread.start()

    def publish(self, topic: str, payload: bytes) -> None:
        self.connection.publish(Message(topic, payload, 1, retain=False))

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self.connection.close()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[AgentBroker]:
    with AgentBroker(tmp_path / "broker", PREFIX, {}) as running:
        yield running


@pytest.fixture
def peer(broker: AgentBroker) -> Iterator[Peer]:
    peer = Peer(broker.port)
    yield peer
    peer.close()


@pytest.fixture
def secret(tmp_path: Path) -> str:
    path = tmp_path / "secret"
    path.write_text(SERVER_PASSWORD + "\n")
    path.chmod(0o600)
    return str(path)


def a_source(port: int, secret: str) -> Source:
    return Source(
        model="digits",
        kind="mqtt",
        broker=f"127.0.0.1:{port}",
        topic=f"{PREFIX}/in/+",
        username=SERVER_USER,
        password_file=secret,
        max_payload_bytes=4096,
    )


def until_connected(capture: TopicCapture) -> None:
    assert capture.read(0.01) is None
    wait_until(lambda: capture._line is not None and capture._line._connection is not None, "a connection")


def test_what_came_before_anybody_read_is_not_taken_for_the_newest(
    broker: AgentBroker, peer: Peer, secret: str
) -> None:
    capture = TopicCapture(a_source(broker.port, secret))
    arrays = [io.BytesIO() for _ in range(6)]
    for number, array in enumerate(arrays):
        np.save(array, np.full((1, 1), number, np.float32))
    try:
        for array in arrays[:5]:
            peer.publish(f"{PREFIX}/in/door", array.getvalue())
        wait_until(lambda: len(peer.heard) == 5, "the broker having passed them on")
        until_connected(capture)
        peer.publish(f"{PREFIX}/in/door", arrays[5].getvalue())
        frame = capture.read(10)
    finally:
        capture.close()

    assert frame is not None
    assert np.asarray(frame.load()).tolist() == [[5.0]]


def test_a_capture_that_nobody_reads_ends(broker: AgentBroker, secret: str) -> None:
    TopicCapture(a_source(broker.port, secret)).close()


def test_images_and_arrays_come_in_and_what_is_too_large_does_not(
    broker: AgentBroker, peer: Peer, secret: str
) -> None:
    image = images_of(4)[0]
    png, npy = io.BytesIO(), io.BytesIO()
    Image.fromarray(image).save(png, "PNG")
    np.save(npy, np.arange(6, dtype=np.float32).reshape(2, 3))
    capture = TopicCapture(a_source(broker.port, secret))
    try:
        until_connected(capture)
        for payload in (png.getvalue(), b"x" * 20_000, npy.getvalue(), b"\x93NUMPY rubbish"):
            peer.publish(f"{PREFIX}/in/door", payload)
        frames = [capture.read(10) for _ in range(3)]
        assert capture.read(0.2) is None
    finally:
        capture.close()

    first, second, third = (frame for frame in frames if frame is not None)
    assert first.name == f"{PREFIX}/in/door"
    assert np.array_equal(np.asarray(first.load()), image)
    assert np.asarray(second.load()).shape == (2, 3)
    with pytest.raises(InputError, match=r"cannot be read as a \.npy array"):
        third.load()


def test_answers_outlast_a_broker_that_is_away_and_the_oldest_give_way(
    broker: AgentBroker, peer: Peer, secret: str
) -> None:
    settings = Sink(
        kind="mqtt",
        broker=f"127.0.0.1:{broker.port}",
        topic=f"{PREFIX}/out",
        username=SERVER_USER,
        password_file=secret,
        queue=3,
    )
    outlet = Outlet(settings, TopicSink(settings))
    try:
        outlet.put({"number": 0})
        wait_until(lambda: (f"{PREFIX}/out", b'{"number":0}') in peer.heard, "the first answer")
        broker.stop_answering()
        for number in range(1, 10):
            outlet.put({"number": number})
        wait_until(lambda: outlet.dropped >= 5, "dropped ones")
        broker.answer_again()
        wait_until(lambda: any(b'"number":9' in payload for _, payload in peer.heard), "the last answer")
    finally:
        outlet.close()
    numbers = {json.loads(payload)["number"] for topic, payload in peer.heard if topic.endswith("/out")}
    assert len(numbers & {7, 8, 9}) >= 1
    assert len(numbers) + outlet.dropped >= 10


def test_a_broker_that_is_not_there_or_refuses_is_told(broker: AgentBroker, secret: str) -> None:
    nobody = msgspec.structs.replace(a_source(broker.port, secret), username="nobody")
    capture = TopicCapture(nobody)
    try:
        with pytest.raises(BrokerError, match="refuses"):
            wait_until(lambda: capture.read(0.01) is not None, "a refusal")
    finally:
        capture.close()
    broker.kill()
    settings = Sink(kind="mqtt", broker=f"127.0.0.1:{broker.port}", topic="t")
    sink = TopicSink(settings)
    try:
        wait_until(lambda: "cannot be reached" in sink._line.trouble, "no broker")
        with pytest.raises(BrokerError, match="cannot be reached"):
            sink.write({})
    finally:
        sink.close()
