"""One connection against a real broker."""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from contract.errors import BrokerError
from edge_agent.link import mqtt
from edge_agent.link.mqtt import Broker, Message, MqttConnection
from tests.support.agent_bench import DEVICE, PASSWORD, PREFIX, wait_until
from tests.support.agent_broker import SERVER_PASSWORD, SERVER_USER, AgentBroker
from tests.support.tools import free_port

WILL = Message(f"{PREFIX}/{DEVICE}/up/state", b"gone", 1, retain=True)
DOWN = f"{PREFIX}/{DEVICE}/dn/#"


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[AgentBroker]:
    with AgentBroker(tmp_path, PREFIX, {DEVICE: PASSWORD, "other": "x"}) as running:
        yield running


def address(port: int, password: str = PASSWORD) -> Broker:
    return Broker(host="127.0.0.1", port=port, keepalive_s=5, client_id=DEVICE, password=password)


def connect(
    port: int, receive: Callable[[str, bytes], None] = lambda _topic, _payload: None, password: str = PASSWORD
) -> MqttConnection:
    return MqttConnection(address(port, password), WILL, DOWN, receive)


def test_messages_go_both_ways_without_waiting_for_each_other(broker: AgentBroker) -> None:
    received: queue.SimpleQueue[tuple[str, bytes]] = queue.SimpleQueue()
    connection = connect(broker.port, lambda topic, payload: received.put((topic, payload)))
    connection.open()
    sock = connection._client.socket()
    assert isinstance(sock, socket.socket)
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
    stop = threading.Event()
    thread = threading.Thread(target=connection.run, args=(stop.is_set,))
    thread.start()
    deliveries = [
        connection.publish(Message(f"{PREFIX}/{DEVICE}/up/event", b"%d" % index, 1, retain=False))
        for index in range(50)
    ]
    wait_until(lambda: all(delivery.is_published() for delivery in deliveries), "the broker confirms all")
    server = connect_server(broker)
    server.publish(Message(f"{PREFIX}/{DEVICE}/dn/desired", b"do", 1, retain=True))
    server.close(Message(f"{PREFIX}/_server/state", b"bye", 1, retain=False))
    assert received.get(timeout=10) == (f"{PREFIX}/{DEVICE}/dn/desired", b"do")
    stop.set()
    thread.join(10)
    connection.close()


def connect_server(broker: AgentBroker) -> MqttConnection:
    there = Broker("127.0.0.1", broker.port, 5, SERVER_USER, SERVER_PASSWORD)
    will = Message(f"{PREFIX}/_server/state", b"gone", 1, retain=False)
    server = MqttConnection(there, will, f"{PREFIX}/+/up/#", lambda _topic, _payload: None)
    server.open()
    return server


def test_a_callback_with_a_bug_ends_nothing(broker: AgentBroker) -> None:
    called: list[bytes] = []

    def receive(_topic: str, payload: bytes) -> None:
        called.append(payload)
        raise ZeroDivisionError

    connection = connect(broker.port, receive)
    connection.open()
    server = connect_server(broker)
    for payload in (b"1", b"2"):
        server.publish(Message(f"{PREFIX}/{DEVICE}/dn/control", payload, 1, retain=False))
    server.close(Message(f"{PREFIX}/_server/state", b"bye", 1, retain=False))
    connection.run(lambda: len(called) == 2)
    assert called == [b"1", b"2"]
    connection.close()


def test_a_broker_that_is_not_there_is_a_broker_error() -> None:
    connection = connect(free_port())
    with pytest.raises(BrokerError, match="cannot be reached"):
        connection.open()
    connection.close()


def test_a_wrong_password_is_a_broker_error_that_says_so(broker: AgentBroker) -> None:
    connection = connect(broker.port, password="wrong")
    with pytest.raises(BrokerError, match="refuses: Not authorized"):
        connection.open()
    connection.close()


def test_a_port_that_takes_connections_and_says_nothing_is_a_broker_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        connection = MqttConnection(
            address(silent.getsockname()[1]), WILL, DOWN, lambda _topic, _payload: None, open_timeout_s=0.5
        )
        with pytest.raises(BrokerError, match="does not answer"):
            connection.open()
        connection.close()


def test_a_broker_that_dies_is_a_lost_connection(broker: AgentBroker) -> None:
    connection = connect(broker.port)
    connection.open()
    broker.kill()
    with pytest.raises(BrokerError, match="lost"):
        connection.run(lambda: False)
    late = connection.publish(Message(f"{PREFIX}/{DEVICE}/up/event", b"late", 1, retain=False))
    assert not late.is_published()
    connection.close(WILL)


def test_more_than_the_queue_takes_is_a_broker_error(broker: AgentBroker) -> None:
    connection = connect(broker.port)
    connection.open()
    event = Message(f"{PREFIX}/{DEVICE}/up/event", b"x", 1, retain=False)
    for _ in range(mqtt.MAX_QUEUED):  # nobody drives the connection meanwhile
        connection.publish(event)
    with pytest.raises(BrokerError, match="too slowly"):
        connection.publish(event)
    connection.close()
