"""Whatever a client sends, or stops sending, the worker goes on and the others get their answers."""

from __future__ import annotations

import array
import contextlib
import fcntl
import mmap
import os
import random
import select
import signal
import socket
import struct
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from contract.errors import DeadlineError, OverloadError
from edge_agent import connect
from edge_agent.inference import protocol
from edge_agent.inference.clients import MAX_CLIENTS
from edge_agent.inference.pool import Crash, Pool, WorkerHandle
from edge_agent.inference.protocol import Failure, Request, Welcome
from tests.support.inference_slots import (
    a_pool,
    a_slot,
    images_of,
    is_running,
    serve,
    short_folder,
    wait_until,
)

SEALED = fcntl.F_SEAL_SHRINK


class Victim(NamedTuple):
    run_dir: Path
    pool: Pool
    handle: WorkerHandle
    crashes: list[Crash]


class Raw:
    """A client that says whatever it likes."""

    def __init__(self, run_dir: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(10)
        self.socket.connect(str(run_dir / "digits.sock"))
        greeting = protocol.parse_welcome(self.receive())
        assert isinstance(greeting, Welcome)
        self.welcome = greeting

    def receive(self) -> bytes:
        return self.socket.recv(protocol.FRAME_MAX_BYTES)

    def attach(self, *descriptors: int, frame: bytes = protocol.encode_attach()) -> bytes:
        rights = array.array("i", descriptors)
        self.socket.sendmsg([frame], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
        return self.receive()

    def is_closed(self) -> bool:
        try:
            return not self.receive()
        except ConnectionResetError:
            return True


@contextlib.contextmanager
def a_memfd(size: int, seals: int = SEALED) -> Iterator[int]:
    descriptor = os.memfd_create("hostile", os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(descriptor, size)
        if seals:
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
        yield descriptor
    finally:
        os.close(descriptor)


@pytest.fixture(scope="module")
def victim() -> Iterator[Victim]:
    """One worker for all the tests of this file: what does not kill it must not weaken it either."""
    with short_folder() as folder, a_pool(folder) as (pool, crashes):
        yield Victim(folder, pool, serve(pool), crashes)


@pytest.fixture
def served(victim: Victim) -> Iterator[Callable[[], Raw]]:
    """Connects hostile clients; at the end the same worker must still answer an honest one."""
    raws: list[Raw] = []

    def connect_raw() -> Raw:
        raws.append(Raw(victim.run_dir))
        return raws[-1]

    def open_in_worker() -> int:
        return sum(1 for _ in Path(f"/proc/{victim.handle.pid}/fd").iterdir())

    with connect(victim.run_dir).model("digits") as honest:
        assert honest.infer(images_of(2)[0]).label == "2"
        before = open_in_worker()
        yield connect_raw
        assert honest.infer(images_of(3)[0]).label == "3"
        for raw in raws:
            raw.socket.close()
        wait_until(lambda: open_in_worker() == before, "the worker closing everything")
    assert victim.crashes == []
    assert is_running(victim.handle.pid)


Served = Callable[[], Raw]


def refusal(answer: bytes) -> Failure:
    failure = protocol.parse_attached(answer)
    assert isinstance(failure, Failure)
    return failure


@pytest.mark.parametrize(
    "frame",
    [
        b"\0",
        b"T",
        protocol.encode_request(Request(1)),
        b"A" + b"\0" * 100,
        os.urandom(64),
        b"A" * 60_000,
    ],
    ids=["zero", "cut", "request before memory", "long attach", "noise", "longer than any frame"],
)
def test_a_first_frame_that_is_no_attach_ends_the_connection(served: Served, frame: bytes) -> None:
    raw = served()

    raw.socket.send(frame)

    assert refusal(raw.receive()).code == "message"
    assert raw.is_closed()


@pytest.mark.parametrize(
    "frame",
    [b"\0", b"T", protocol.encode_attach(), b"T" * 63, b"T" * 60_000, os.urandom(20)],
    ids=["zero", "cut", "second attach", "long", "longer than any frame", "noise"],
)
def test_a_later_frame_that_is_no_request_ends_the_connection(served: Served, frame: bytes) -> None:
    raw = served()
    with a_memfd(raw.welcome.tensor_bytes) as descriptor:
        assert protocol.parse_attached(raw.attach(descriptor)) is None

    raw.socket.send(frame)

    failure = protocol.parse_answer(raw.receive())
    assert isinstance(failure, Failure)
    assert failure.code == "message"
    assert raw.is_closed()


def test_an_empty_frame_is_the_end(served: Served) -> None:
    raw = served()

    raw.socket.send(b"")

    assert raw.is_closed()


def test_memory_that_could_shrink_is_refused(served: Served) -> None:
    raw = served()

    with a_memfd(raw.welcome.tensor_bytes, seals=0) as descriptor:
        assert "not sealed" in refusal(raw.attach(descriptor)).message
    assert raw.is_closed()


def test_memory_that_was_taken_cannot_shrink_any_more(served: Served) -> None:
    raw = served()
    with a_memfd(raw.welcome.tensor_bytes) as descriptor:
        assert protocol.parse_attached(raw.attach(descriptor)) is None

        with pytest.raises(PermissionError):
            os.ftruncate(descriptor, 0)
        raw.socket.send(protocol.encode_request(Request(1)))
        assert isinstance(protocol.parse_answer(raw.receive()), protocol.Result)


@pytest.mark.parametrize("size", [0, 1, 1 << 31, 1 << 40])
def test_memory_that_is_too_small_or_too_large_is_refused(served: Served, size: int) -> None:
    raw = served()

    with a_memfd(size) as descriptor:
        assert "are possible" in refusal(raw.attach(descriptor)).message
    assert raw.is_closed()


def test_memory_that_may_not_be_written_is_refused(served: Served) -> None:
    raw = served()

    with a_memfd(raw.welcome.tensor_bytes, seals=SEALED | fcntl.F_SEAL_WRITE) as descriptor:
        assert "not usable as shared memory" in refusal(raw.attach(descriptor)).message


def test_a_descriptor_that_is_no_memory_is_refused(served: Served) -> None:
    reading, writing = os.pipe()
    with tempfile.TemporaryFile() as file, contextlib.ExitStack() as stack:
        stack.callback(os.close, reading)
        stack.callback(os.close, writing)
        file.truncate(1 << 20)
        folder = os.open("/", os.O_RDONLY)
        stack.callback(os.close, folder)
        for descriptor in (reading, file.fileno(), folder):
            assert refusal(served().attach(descriptor)).code == "input"


@pytest.mark.parametrize("count", [0, 2, 50])
def test_another_number_of_descriptors_than_one_is_refused(served: Served, count: int) -> None:
    raw = served()

    with a_memfd(raw.welcome.tensor_bytes) as descriptor:
        if count:
            answer = raw.attach(*[descriptor] * count)
        else:
            raw.socket.send(protocol.encode_attach())
            answer = raw.receive()
    # The kernel hands the worker the first one only, and says that there were more.
    assert refusal(answer).code == "message"
    assert raw.is_closed()


def test_descriptors_beside_an_empty_frame_are_closed(served: Served) -> None:
    raw = served()
    with a_memfd(raw.welcome.tensor_bytes) as descriptor, contextlib.suppress(ConnectionError):
        assert raw.attach(descriptor, frame=b"") == b""


def test_descriptors_beside_a_request_are_closed(served: Served) -> None:
    raw = served()
    with a_memfd(raw.welcome.tensor_bytes) as descriptor:
        assert protocol.parse_attached(raw.attach(descriptor)) is None
        answer = raw.attach(descriptor, frame=protocol.encode_request(Request(1)))
    assert isinstance(protocol.parse_answer(answer), protocol.Result)


@pytest.mark.parametrize(
    ("request_", "fault"),
    [
        (Request(1, 8, 8, 2), "channels"),
        (Request(1, 8, 8, 3), "room"),
        (Request(1, 0xFFFFFFFF, 0xFFFFFFFF, 3), "each side"),
        (Request(1, 1, 0, 1), "each side"),
    ],
)
def test_an_image_outside_its_memory_is_refused(served: Served, request_: Request, fault: str) -> None:
    raw = served()
    with a_memfd(raw.welcome.tensor_bytes + 100) as descriptor:
        assert protocol.parse_attached(raw.attach(descriptor)) is None

    raw.socket.send(protocol.encode_request(request_))

    failure = protocol.parse_answer(raw.receive())
    assert isinstance(failure, Failure)
    assert (failure.code, failure.sequence) == ("input", 1)
    assert fault in failure.message


def test_a_client_that_writes_while_it_is_served_spoils_only_its_own_answer(served: Served) -> None:
    raw = served()
    rng = random.Random(1)
    with a_memfd(raw.welcome.tensor_bytes) as descriptor:
        memory = mmap.mmap(descriptor, raw.welcome.tensor_bytes)
        assert protocol.parse_attached(raw.attach(descriptor)) is None
    for number in range(1, 200):
        raw.socket.send(protocol.encode_request(Request(number)))
        memory[:] = rng.randbytes(len(memory))
        answer = protocol.parse_answer(raw.receive())
        assert answer.sequence == number
    memory.close()


def test_a_client_that_asks_and_never_reads_is_dropped(served: Served) -> None:
    raw = served()
    with a_memfd(raw.welcome.tensor_bytes) as descriptor:
        assert protocol.parse_attached(raw.attach(descriptor)) is None

    def ask_on() -> None:
        for number in range(1, 1_000_000):
            raw.socket.send(protocol.encode_request(Request(number)))

    with pytest.raises(ConnectionError):
        ask_on()


def test_a_client_that_leaves_at_any_moment_is_forgotten(served: Served) -> None:
    for moment in range(6):
        raw = served()
        with a_memfd(raw.welcome.tensor_bytes) as descriptor:
            if moment >= 1:
                rights = array.array("i", [descriptor])
                raw.socket.sendmsg(
                    [protocol.encode_attach()], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)]
                )
            if moment >= 2:
                raw.receive()
            if moment >= 3:
                raw.socket.send(protocol.encode_request(Request(1)))
            if moment >= 4:
                select.select([raw.socket], [], [], 10)  # the answer is there, and stays unread
        raw.socket.close()


def test_more_clients_than_a_worker_takes_are_told_and_may_come_when_one_leaves(
    served: Served, victim: Victim
) -> None:
    raws = [served() for _ in range(MAX_CLIENTS - 1)]  # the honest one is there already

    victim.pool.take_windows()
    with pytest.raises(OverloadError, match=f"{MAX_CLIENTS} clients") as caught:
        connect(victim.run_dir).model("digits", wait_s=0.1)
    assert "share one" in caught.value.remedy
    assert sum(window.refused for window in victim.pool.take_windows()) >= 1, "who is refused is counted"
    assert sum(window.refused for window in victim.pool.take_windows()) == 0, "and told once"

    raws[0].socket.close()
    with connect(victim.run_dir).model("digits", wait_s=10) as model:
        assert model.infer(images_of(5)[0]).label == "5"


def test_more_clients_than_wait_in_line_are_let_in_one_after_the_other(victim: Victim) -> None:
    os.kill(victim.handle.pid, signal.SIGSTOP)
    queue = [socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(MAX_CLIENTS + 1)]
    for waiting in queue:
        waiting.connect(str(victim.run_dir / "digits.sock"))

    with pytest.raises(DeadlineError):
        connect(victim.run_dir).model("digits")

    for waiting in queue:
        waiting.close()
    os.kill(victim.handle.pid, signal.SIGCONT)
    with connect(victim.run_dir).model("digits", wait_s=10) as model:
        assert model.infer(images_of(5)[0]).label == "5"


def test_an_image_for_a_model_that_takes_none_is_refused(run_dir: Path, tmp_path: Path) -> None:
    with a_pool(run_dir) as (pool, _):
        serve(pool, slot=a_slot(tmp_path / "slot", preprocessing=None))
        raw = Raw(run_dir)
        with a_memfd(raw.welcome.tensor_bytes + 64) as descriptor:
            assert protocol.parse_attached(raw.attach(descriptor)) is None
        raw.socket.send(protocol.encode_request(Request(1, 8, 8, 1)))

        failure = protocol.parse_answer(raw.receive())

        raw.socket.close()
    assert isinstance(failure, Failure)
    assert "takes tensors, not images" in failure.message


def test_noise_never_stops_the_worker(served: Served) -> None:
    rng = random.Random(20260729)
    for _ in range(150):
        raw = served()
        with a_memfd(raw.welcome.tensor_bytes) as descriptor, contextlib.suppress(ConnectionError):
            if rng.random() < 0.7:
                raw.attach(descriptor)
            for _ in range(rng.randrange(4)):
                kind = rng.choice(b"WAaTIRF\0\xff")
                fields = [rng.choice([0, 1, 8, 9000, 0xFFFFFFFF]) for _ in range(4)]
                frame = struct.pack("<BxxxIIII", kind, *fields)[: rng.choice([1, 4, 20, 20, 20])]
                raw.socket.send(frame + rng.randbytes(rng.choice([0, 0, 0, 1, 5000])))
        raw.socket.close()
