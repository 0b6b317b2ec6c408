from __future__ import annotations

from contract.messages import WIRE_VERSION, Ack, SequencedWindow, Telemetry
from edge_agent.telemetry.shipment import RESEND_S, Shipment
from tests.support.agent_windows import a_window


class Batches:
    """An outbox in memory, two windows a batch."""

    def __init__(self, *seqs: int, boot: str = "b1") -> None:
        self.boot = boot
        self.seqs = list(seqs)

    def next_batch(self) -> Telemetry | None:
        if not self.seqs:
            return None
        windows = tuple(SequencedWindow(seq=seq, window=a_window(1)) for seq in self.seqs[:2])
        return Telemetry(v=WIRE_VERSION, boot=self.boot, windows=windows)

    def acknowledge(self, boot: str, seq: int) -> int:
        before = len(self.seqs)
        if boot == self.boot:
            self.seqs = [kept for kept in self.seqs if kept > seq]
        return before - len(self.seqs)


class Line:
    """A connection that can be down."""

    def __init__(self) -> None:
        self.is_up = True
        self.sent: list[list[int]] = []

    def send(self, telemetry: Telemetry) -> bool:
        if self.is_up:
            self.sent.append([entry.seq for entry in telemetry.windows])
        return self.is_up


def ack(seq: int, boot: str = "b1") -> Ack:
    return Ack(v=WIRE_VERSION, boot=boot, seq=seq)


def test_an_empty_outbox_sends_nothing() -> None:
    line = Line()
    Shipment(Batches(), line.send).tick(0.0)
    assert line.sent == []


def test_one_batch_is_on_its_way_at_a_time() -> None:
    outbox, line = Batches(1, 2, 3), Line()
    shipment = Shipment(outbox, line.send)
    shipment.tick(0.0)
    shipment.tick(1.0)
    assert line.sent == [[1, 2]]
    shipment.acknowledged(ack(2), 1.0)
    assert line.sent == [[1, 2], [3]]
    shipment.acknowledged(ack(3), 2.0)
    shipment.tick(3.0)
    assert line.sent == [[1, 2], [3]]
    assert outbox.seqs == []


def test_an_acknowledgement_of_a_part_lets_the_rest_go_on_waiting() -> None:
    outbox, line = Batches(1, 2), Line()
    shipment = Shipment(outbox, line.send)
    shipment.tick(0.0)
    shipment.acknowledged(ack(1), 1.0)
    shipment.acknowledged(ack(9, boot="other"), 1.0)
    assert (line.sent, outbox.seqs) == ([[1, 2]], [2])


def test_what_is_not_acknowledged_is_sent_again_after_a_while() -> None:
    line = Line()
    shipment = Shipment(Batches(1, 2), line.send)
    shipment.tick(0.0)
    shipment.tick(RESEND_S - 0.1)
    assert line.sent == [[1, 2]]
    shipment.tick(RESEND_S)
    assert line.sent == [[1, 2], [1, 2]]


def test_after_a_reconnect_it_is_sent_again_at_once() -> None:
    line = Line()
    shipment = Shipment(Batches(1, 2), line.send)
    shipment.tick(0.0)
    shipment.reconnected(1.0)
    assert line.sent == [[1, 2], [1, 2]]


def test_without_a_connection_nothing_is_on_its_way_and_everything_stays() -> None:
    outbox, line = Batches(1, 2), Line()
    line.is_up = False
    shipment = Shipment(outbox, line.send)
    shipment.tick(0.0)
    line.is_up = True
    shipment.tick(1.0)
    assert (line.sent, outbox.seqs) == ([[1, 2]], [1, 2])


def test_an_acknowledgement_of_nothing_on_its_way_only_frees() -> None:
    outbox, line = Batches(1, 2, 3), Line()
    Shipment(outbox, line.send).acknowledged(ack(2), 0.0)
    assert (line.sent, outbox.seqs) == ([], [3])
