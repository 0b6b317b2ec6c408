from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path

import pytest

from contract.deployment import State
from contract.errors import BrokerError
from contract.identifiers import DeviceId
from contract.messages import (
    WIRE_VERSION,
    Ack,
    DeploymentChange,
    Desired,
    DeviceInfo,
    DeviceState,
    Event,
    EventKind,
    Message,
    Reported,
    SequencedWindow,
    Telemetry,
    decode_message,
    encode_message,
)
from contract.topics import Topics
from edge_agent.backoff import Backoff
from edge_agent.link.mqtt import Message as MqttMessage
from edge_agent.link.session import WAITING_MAX, Hooks, Identity, Session, SessionCounter
from tests.support.agent_windows import NOON, a_window
from tests.support.builders import some_capabilities

UP = "litefleet/v1/pi-1/up/"
DOWN = "litefleet/v1/pi-1/dn/"


class Delivered:
    """A message's way."""

    def __init__(self) -> None:
        self.done = False

    def is_published(self) -> bool:
        return self.done


class Line:
    """A connection that the test opens, breaks and looks into."""

    def __init__(self, will: MqttMessage, receive: Callable[[str, bytes], None]) -> None:
        self.will = will
        self.receive = receive
        self.sent: list[tuple[MqttMessage, Delivered]] = []
        self.farewell: MqttMessage | None = None
        self.is_full = False
        self.closed: queue.SimpleQueue[None] = queue.SimpleQueue()
        self.running: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._news: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self.refusal = ""

    def open(self) -> None:
        if self.refusal:
            raise BrokerError(self.refusal)

    def run(self, should_stop: Callable[[], bool]) -> None:
        self.running.put(None)
        while not should_stop():
            try:
                news = self._news.get(timeout=0.01)
            except queue.Empty:
                continue
            if news is None:
                raise BrokerError("lost")
            raise ZeroDivisionError(news)

    def publish(self, message: MqttMessage) -> Delivered:
        if self.is_full:
            raise BrokerError("full")
        self.sent.append((message, Delivered()))
        return self.sent[-1][1]

    def close(self, farewell: MqttMessage | None = None) -> None:
        self.farewell = farewell
        self.closed.put(None)

    # For the test.

    def lose(self) -> None:
        self._news.put(None)
        self.closed.get(timeout=10)

    def bug(self) -> None:
        self._news.put("a bug")
        self.closed.get(timeout=10)

    def topics(self) -> list[str]:
        return [message.topic.removeprefix(UP) for message, _ in self.sent]

    def deliver(self) -> None:
        for _, delivery in self.sent:
            delivery.done = True


class Bench:
    """A session with doubles on both sides."""

    def __init__(self, folder: Path) -> None:
        self.lines: queue.SimpleQueue[Line] = queue.SimpleQueue()
        self.received: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self.connects = 0
        self.refusals: list[str] = []
        self.session = Session(
            self._dial,
            Identity(Topics(), DeviceId("pi-1"), "boot1", "0.1.0"),
            SessionCounter(folder / "session"),
            Hooks(
                info=lambda: DeviceInfo(v=WIRE_VERSION, board="b", capabilities=some_capabilities()),
                receive=self.received.put,
                on_connected=self._count,
            ),
            backoff=Backoff(base_s=0.001, cap_s=0.001),
        )

    def _dial(self, will: MqttMessage, receive: Callable[[str, bytes], None]) -> Line:
        line = Line(will, receive)
        line.refusal = self.refusals.pop() if self.refusals else ""
        self.lines.put(line)
        return line

    def _count(self) -> None:
        self.connects += 1

    def line(self) -> Line:
        """The next connection, once it runs."""
        line = self.lines.get(timeout=10)
        line.running.get(timeout=10)
        return line


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.session.stop()
    assert bench.session.join(10)


def state_of(message: MqttMessage) -> DeviceState:
    return decode_message(DeviceState, message.payload)


def reported(revision: int) -> Reported:
    return Reported(v=WIRE_VERSION, revision=revision, models={})


def a_change(step: int) -> DeploymentChange:
    return DeploymentChange(
        v=WIRE_VERSION,
        deployment="d1",
        model="digits",
        version="1.0.0",
        step=step,
        before=None,
        after=State.ASSIGNED,
        bytes_done=0,
        seconds=0.0,
        at=NOON,
    )


def an_event(detail: str = "x") -> Event:
    return Event(v=WIRE_VERSION, kind=EventKind.REFUSED, at=datetime.now(timezone.utc), detail=detail)


def test_a_device_is_born_says_what_it_is_and_leaves_a_will(bench: Bench) -> None:
    bench.session.start()
    line = bench.line()
    assert line.topics() == ["state", "info"]
    birth, will = state_of(line.sent[0][0]), state_of(line.will)
    assert (birth.online, birth.session, birth.boot) == (True, 1, "boot1")
    assert (will.online, will.session, will.boot) == (False, 1, "boot1")
    assert line.will.topic == line.sent[0][0].topic == UP + "state"
    assert all(message.retain and message.qos == 1 for message in (line.will, line.sent[0][0]))
    assert bench.connects == 1
    assert bench.session.is_connected


def test_the_session_grows_with_every_connect_and_across_restarts(bench: Bench, tmp_path: Path) -> None:
    bench.session.start()
    bench.line().lose()
    line = bench.line()
    assert state_of(line.will).session == state_of(line.sent[0][0]).session == 2
    assert SessionCounter(tmp_path / "session").next() == 3


def test_a_session_number_that_cannot_be_kept_grows_all_the_same(tmp_path: Path) -> None:
    counter = SessionCounter(tmp_path / "nowhere" / "session")
    assert [counter.next(), counter.next()] == [1, 2]
    (tmp_path / "session").write_bytes(b"rubbish")
    assert SessionCounter(tmp_path / "session").next() == 1


def test_the_newest_report_is_told_after_each_connect(bench: Bench) -> None:
    bench.session.send_reported(reported(1))
    bench.session.send_reported(reported(2))
    bench.session.start()
    line = bench.line()
    assert line.topics() == ["state", "info", "reported"]
    assert decode_message(Reported, line.sent[2][0].payload).revision == 2
    assert line.sent[2][0].retain
    bench.session.send_reported(reported(2))
    bench.session.send_reported(reported(3))
    assert line.topics() == ["state", "info", "reported", "reported"]
    line.lose()
    assert decode_message(Reported, bench.line().sent[2][0].payload).revision == 3


def test_changes_and_events_wait_for_the_connection_and_for_their_confirmation(bench: Bench) -> None:
    bench.session.send_change(a_change(0))
    bench.session.send_event(an_event())
    bench.session.start()
    first = bench.line()
    assert first.topics() == ["state", "info", "deployment/d1", "event"]
    first.sent[2][1].done = True
    bench.session.send_change(a_change(1))
    first.lose()
    second = bench.line()
    assert second.topics() == ["state", "info", "event", "deployment/d1"]
    second.deliver()
    second.lose()
    assert bench.line().topics() == ["state", "info"]


def test_only_the_newest_changes_are_kept_while_there_is_no_connection(bench: Bench) -> None:
    for step in range(WAITING_MAX + 3):
        bench.session.send_change(a_change(step))
    bench.session.start()
    sent = bench.line().sent[2:]
    assert len(sent) == WAITING_MAX
    assert decode_message(DeploymentChange, sent[0][0].payload).step == 3


def test_telemetry_is_told_only_over_a_connection(bench: Bench) -> None:
    telemetry = Telemetry(v=WIRE_VERSION, boot="b1", windows=(SequencedWindow(seq=0, window=a_window(1)),))
    assert not bench.session.send_telemetry(telemetry)
    bench.session.start()
    line = bench.line()
    assert bench.session.send_telemetry(telemetry)
    assert line.topics()[-1] == "telemetry"
    line.is_full = True
    assert not bench.session.send_telemetry(telemetry)


def test_what_the_connection_cannot_take_now_is_sent_after_the_next_connect(bench: Bench) -> None:
    bench.session.start()
    line = bench.line()
    line.is_full = True
    bench.session.send_change(a_change(0))
    line.lose()
    assert bench.line().topics() == ["state", "info", "deployment/d1"]


def test_what_no_message_can_carry_is_logged_and_left(bench: Bench) -> None:
    bench.session.send_event(an_event("x" * 5000))
    bench.session.send_reported(reported(-1))
    bench.session.start()
    assert bench.line().topics() == ["state", "info"]


def test_a_broker_that_refuses_is_asked_again(bench: Bench) -> None:
    bench.refusals = ["not authorised"]
    bench.session.start()
    refused = bench.lines.get(timeout=10)
    refused.closed.get(timeout=10)
    second = bench.line()
    assert (refused.topics(), state_of(second.will).session) == ([], 2)


def test_a_bug_in_the_connection_costs_a_reconnect_and_no_more(bench: Bench) -> None:
    bench.session.start()
    bench.line().bug()
    assert bench.line().topics() == ["state", "info"]


def test_an_orderly_end_says_goodbye_and_a_lost_connection_does_not(bench: Bench) -> None:
    bench.session.start()
    first = bench.line()
    first.lose()
    assert first.farewell is None
    second = bench.line()
    bench.session.stop()
    second.closed.get(timeout=10)
    assert second.farewell is not None
    assert not state_of(second.farewell).online


def test_messages_for_the_device_are_received(bench: Bench) -> None:
    bench.session.start()
    line = bench.line()
    desired = Desired(v=WIRE_VERSION, revision=1, models={})
    ack = Ack(v=WIRE_VERSION, boot="b1", seq=3)
    line.receive(DOWN + "desired", encode_message(desired))
    line.receive(DOWN + "ack", encode_message(ack))
    assert [bench.received.get(timeout=1), bench.received.get(timeout=1)] == [desired, ack]


@pytest.mark.parametrize(
    ("topic", "payload"),
    [
        (DOWN + "desired", b"rubbish"),
        (DOWN + "nothing", b"{}"),
        (DOWN + "chunk/t1/0", b"raw"),
        ("litefleet/v1/pi-2/dn/ack", b"{}"),
        (DOWN + "desired", b'{"v":1,"revision":1,"models":{"../etc":{"version":"1.0.0","deployment":"d"}}}'),
    ],
)
def test_what_cannot_be_understood_is_refused_with_an_event(bench: Bench, topic: str, payload: bytes) -> None:
    bench.session.start()
    line = bench.line()
    line.receive(topic, payload)
    assert line.topics() == ["state", "info", "event"]
    event = decode_message(Event, line.sent[2][0].payload)
    assert event.kind is EventKind.REFUSED
    assert bench.received.empty()


def test_a_session_that_was_never_started_ends_at_once(tmp_path: Path) -> None:
    session = Bench(tmp_path).session
    session.stop()
    assert session.join(0.0)
