from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from contract.errors import StorageError
from contract.messages import Desired, Message
from contract.topics import Kind
from server.rollout.outbound import DesiredSender, RolloutDriver
from server.storage.repository import Storage
from tests.support.server_process import wait_until
from tests.support.server_storage import NOON, a_storage


class Post:
    """What was sent."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, int]] = []

    def send(self, kind: Kind, device: str, message: Message) -> None:
        assert kind is Kind.DESIRED
        assert isinstance(message, Desired)
        self.sent.append((device, message.revision))


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    with a_storage(tmp_path, "a", "b") as made:
        yield made


def test_the_document_is_sent_as_it_is_committed_now(storage: Storage) -> None:
    post = Post()
    sender = DesiredSender(storage, post)
    sender.send("a")
    with storage.write() as rows:
        rows.devices.set_desired("a", Desired(v=1, revision=3, models={}), at=NOON)
    sender.send("a")
    sender.send("a")
    sender.send("nobody")
    assert post.sent == [("a", 0), ("a", 3), ("a", 3)]


def test_a_device_that_asks_again_and_again_is_answered_once(storage: Storage) -> None:
    post = Post()
    sender = DesiredSender(storage, post)
    for _ in range(3):
        sender.resend("a")
    sender.resend("nobody")
    assert post.sent == [("a", 0)]
    with storage.write() as rows:
        rows.devices.set_desired("a", Desired(v=1, revision=1, models={}), at=NOON)
    sender.resend("a")
    assert post.sent == [("a", 0), ("a", 1)]


def test_all_documents_are_sent(storage: Storage) -> None:
    post = Post()
    DesiredSender(storage, post).send_all()
    assert sorted(post.sent) == [("a", 0), ("b", 0)]


class Calls:
    """Counts what the driver does; refuses as often as told."""

    def __init__(self, *, refusals: int = 0) -> None:
        self.advances = 0
        self.sends = 0
        self.refusals = refusals
        self.crashed = threading.Event()

    def advance(self) -> None:
        self.advances += 1

    def send_all(self) -> None:
        if self.refusals > 0:
            self.refusals -= 1
            raise StorageError("disk full")
        self.sends += 1


def test_the_driver_sends_everything_after_a_connect_and_goes_on_after_a_failure() -> None:
    calls = Calls(refusals=1)
    driver = RolloutDriver(calls.advance, calls.send_all, calls.crashed.set)
    driver.start()
    driver.note_connect()
    wait_until(lambda: calls.refusals == 0, what="the failure")
    driver.wake()
    wait_until(lambda: calls.sends == 1, what="the documents after the failure")
    advances = calls.advances
    driver.wake()
    wait_until(lambda: calls.advances > advances, what="the next look")
    driver.stop()
    assert calls.sends == 1
    assert not calls.crashed.is_set()


def test_a_bug_in_the_driver_is_not_silent(caplog: pytest.LogCaptureFixture) -> None:
    calls = Calls()

    def trip() -> None:
        raise ZeroDivisionError

    driver = RolloutDriver(trip, calls.send_all, calls.crashed.set)
    driver.start()
    driver.wake()
    assert calls.crashed.wait(10)
    driver.stop()
    assert "thread rollouts crashed" in caplog.text


def test_ending_a_driver_that_never_began_is_nothing() -> None:
    calls = Calls()
    RolloutDriver(calls.advance, calls.send_all, calls.crashed.set).stop()
    assert calls.advances == 0
