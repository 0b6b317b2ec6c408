from __future__ import annotations

import itertools

import pytest

from contract.bench import Bench, BenchAck
from contract.errors import StorageError
from edge_agent.bench.shipment import LOOK_S, RESEND_MAX_S, RESEND_S, REST_S, BenchShipment
from tests.support.contract_builders import AT, a_bench_result


class Benches:
    """Waiting benches in memory."""

    def __init__(self, *ids: str) -> None:
        self.ids = list(ids)
        self.looks = 0
        self.is_broken = False

    def oldest(self) -> Bench | None:
        self.looks += 1
        if self.is_broken:
            raise StorageError("the disk fails")
        return Bench(v=1, id=self.ids[0], at=AT, result=a_bench_result()) if self.ids else None

    def remove(self, bench_id: str) -> None:
        if bench_id in self.ids:
            self.ids.remove(bench_id)


class Line:
    """A connection that can be down."""

    def __init__(self) -> None:
        self.is_up = True
        self.sent: list[str] = []

    def send(self, bench: Bench) -> bool:
        if self.is_up:
            self.sent.append(bench.id)
        return self.is_up


def ack(bench_id: str) -> BenchAck:
    return BenchAck(v=1, id=bench_id)


def test_an_empty_folder_sends_nothing_and_is_looked_at_now_and_then() -> None:
    benches, line = Benches(), Line()
    shipment = BenchShipment(benches, line.send)
    for tenth in range(50):
        shipment.tick(tenth / 10)
    assert (line.sent, benches.looks) == ([], 3)


def test_a_bench_that_comes_later_is_found() -> None:
    benches, line = Benches(), Line()
    shipment = BenchShipment(benches, line.send)
    shipment.tick(0.0)
    benches.ids.append("a")
    shipment.tick(LOOK_S)
    assert line.sent == ["a"]


def test_one_is_on_its_way_at_a_time_and_the_acknowledgement_sends_the_next() -> None:
    benches, line = Benches("a", "b"), Line()
    shipment = BenchShipment(benches, line.send)
    shipment.tick(0.0)
    shipment.tick(LOOK_S)
    assert line.sent == ["a"]
    shipment.acknowledged(ack("a"), 3.0)
    assert (line.sent, benches.ids) == (["a", "b"], ["b"])
    shipment.acknowledged(ack("b"), 4.0)
    shipment.tick(1000.0)
    assert (line.sent, benches.ids) == (["a", "b"], [])


def test_without_acknowledgement_it_is_sent_again_with_growing_pauses() -> None:
    benches, line = Benches("a"), Line()
    shipment = BenchShipment(benches, line.send)
    at_s: list[float] = []
    for second in range(20_000):
        before = len(line.sent)
        shipment.tick(float(second))
        at_s += [float(second)] * (len(line.sent) - before)
    pauses = [later - earlier for earlier, later in itertools.pairwise(at_s)]
    assert pauses[:4] == [RESEND_S, 2 * RESEND_S, 4 * RESEND_S, 8 * RESEND_S]
    assert max(pauses) == RESEND_MAX_S
    assert benches.ids == ["a"]


def test_after_a_reconnect_it_is_sent_at_once() -> None:
    benches, line = Benches("a"), Line()
    shipment = BenchShipment(benches, line.send)
    shipment.tick(0.0)
    shipment.reconnected(1.0)
    assert line.sent == ["a", "a"]


def test_what_could_not_be_sent_waits_for_the_connection() -> None:
    benches, line = Benches("a"), Line()
    line.is_up = False
    shipment = BenchShipment(benches, line.send)
    shipment.tick(0.0)
    line.is_up = True
    shipment.tick(LOOK_S)
    assert line.sent == ["a"]


def test_an_acknowledgement_of_another_bench_removes_that_and_sends_nothing() -> None:
    benches, line = Benches("a", "b"), Line()
    shipment = BenchShipment(benches, line.send)
    shipment.tick(0.0)
    shipment.acknowledged(ack("b"), 1.0)
    shipment.acknowledged(ack("stranger"), 1.0)
    assert (line.sent, benches.ids) == (["a"], ["a"])


def test_a_disk_that_fails_is_left_alone_for_a_while() -> None:
    benches, line = Benches("a"), Line()
    shipment = BenchShipment(benches, line.send)
    benches.is_broken = True
    with pytest.raises(StorageError):
        shipment.tick(0.0)
    benches.is_broken = False
    shipment.tick(REST_S - 0.1)
    assert line.sent == []
    shipment.tick(REST_S)
    assert line.sent == ["a"]
