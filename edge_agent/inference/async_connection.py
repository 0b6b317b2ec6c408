"""An asyncio application's end of one connection to a worker.

Guarantees: never blocks the event loop and starts no thread; no wait outlasts its time; foreign socket errors come
out as ``WorkerGoneError``, or as an error that says why asking again is not right. A conversation that was cut in the
middle, by a deadline or by cancelling, makes the connection unusable: its answer belongs to nobody. Belongs to one
event loop, and to one task at a time.
"""

from __future__ import annotations

import array
import asyncio
import math
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from contract.errors import DeadlineError, LitefleetError
from edge_agent.inference import protocol
from edge_agent.inference.asking import rehearse, unreachable, worker_of
from edge_agent.inference.dialogue import Dialogue, WorkerGoneError
from edge_agent.inference.expecting import Expectation
from edge_agent.inference.feed import Feed
from edge_agent.inference.patience import Patience


class Waiter(Protocol):
    """Who waits for a frame; a future of asyncio is one."""

    def done(self) -> bool:
        """Whether it was told, or waits no longer."""

    def set_result(self, frame: bytes, /) -> None:
        """The frame is there."""

    def set_exception(self, error: LitefleetError, /) -> None:
        """It will not come: the worker is gone, or the time is over."""


class AsyncConnection:
    """One connection; ``open_connection`` makes it.

    Attributes:
        dialogue: What is said on it.
        worker: Which worker the model's name led to.
        on_loss: Called when the worker closes the connection while nobody asks.
    """

    dialogue: Dialogue
    _patience: Patience

    def __init__(self, name: str, worker: str, connected: socket.socket) -> None:
        self.worker = worker
        self.on_loss: Callable[[AsyncConnection], None] | None = None
        self._name = name
        self._socket = connected
        self._loop = asyncio.get_running_loop()
        self._frame = memoryview(bytearray(protocol.FRAME_MAX_BYTES))
        self._waiter: Waiter | None = None
        self._timer: asyncio.TimerHandle
        self._began = self._came = 0.0
        self._expectation = Expectation()
        self._is_mid_talk = False
        self._loss = ""
        self._loop.add_reader(connected, self._take_frame)

    @property
    def is_usable(self) -> bool:
        """Whether another request may be sent on it."""
        return not self._loss and not self._is_mid_talk and not self.dialogue.is_waiting

    async def attach(self, image_bytes: int, ends: float) -> None:
        """Share memory for the tensors and an image of so many bytes; once per connection.

        Args:
            image_bytes: Room for an image.
            ends: Time of the event loop until which to wait.

        Raises:
            WorkerGoneError: The worker is gone.
            DeadlineError: No answer in time.
            AgentUnavailableError: The worker refuses the memory, or there is none.
        """
        frame, descriptor = self.dialogue.offer(image_bytes)
        try:
            self._send(frame, [descriptor])
        finally:
            os.close(descriptor)
        self.dialogue.conclude_offer(await self.receive(ends))

    def begin(self, greeting: bytes) -> None:
        """Take the worker's first frame; raises as ``Dialogue``."""
        self.dialogue = Dialogue(greeting)
        self._patience = Patience(len(os.sched_getaffinity(0)), self.dialogue.welcome.threads)

    async def ask(self, feed: Feed, ends: float, *, is_alone: bool) -> protocol.Result | protocol.Failure:
        """Send a request and wait for its answer.

        Args:
            feed: The request.
            ends: Time of the event loop until which to wait.
            is_alone: Whether no other request is under way, so that the event loop has time to stay awake for it.

        Raises:
            WorkerGoneError: The worker is gone.
            DeadlineError: No answer in time.
        """
        self.send(self.dialogue.request(feed))
        waiter: asyncio.Future[bytes] = self._loop.create_future()
        self.await_answer(waiter, ends, self._rehearse, is_alone=is_alone)
        try:
            frame = await waiter
        finally:
            self._stop_waiting()
        self.conclude()
        return self.dialogue.understand(frame)

    def send(self, frame: bytes) -> None:
        """Send a request; ``await_answer`` follows at once.

        Args:
            frame: The request; what it asks with lies in the shared memory.

        Raises:
            WorkerGoneError: The worker is gone.
        """
        if self._loss:
            raise WorkerGoneError(self._loss)
        self._began = self._loop.time()
        self._send(frame, [])

    def await_answer(
        self, waiter: Waiter, ends: float, rehearse: Callable[[], None], *, is_alone: bool
    ) -> None:
        """Have somebody told when the answer to what was sent is there, or will not come.

        Args:
            waiter: Who is told; calls ``conclude`` after an answer, ``give_up`` after an error.
            ends: Time of the event loop until which to wait.
            rehearse: Called shortly before the answer is expected, to do with the last one what will be done with it.
            is_alone: As for ``ask``.
        """
        self._wait(waiter, ends)
        asleep_s = self._expectation.asleep_s() if is_alone else None
        if asleep_s is not None:
            self._linger(waiter, asleep_s, rehearse)

    def conclude(self) -> None:
        """Learn that the answer to what was started has come."""
        self._expectation.note(self._came - self._began)
        self._stop_waiting()
        self._is_mid_talk = False

    def give_up(self) -> None:
        """End what was started, and the connection."""
        self._stop_waiting()
        self.close()

    async def receive(self, ends: float) -> bytes:
        """Wait for the worker's next frame.

        Args:
            ends: Time of the event loop until which to wait.

        Raises:
            WorkerGoneError: The worker is gone.
            DeadlineError: No frame in time.
        """
        if self._loss:
            raise WorkerGoneError(self._loss)
        waiter: asyncio.Future[bytes] = self._loop.create_future()
        self._wait(waiter, ends)
        try:
            frame = await waiter
        finally:
            self._stop_waiting()
        self._is_mid_talk = False
        return frame

    def _wait(self, waiter: Waiter, ends: float) -> None:
        self._is_mid_talk = True
        self._waiter = waiter
        self._timer = self._loop.call_at(ends, self._expire, waiter)

    def _stop_waiting(self) -> None:
        self._waiter = None
        self._timer.cancel()

    def close(self) -> None:
        """Let the worker go; the memory is unmapped when the last view of it is gone."""
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket)
            self._socket.close()
            self._loss = self._loss or "the connection is closed"

    def _send(self, frame: bytes, descriptors: list[int]) -> None:
        """Send at once: a frame is small, and no other is on its way, so there is room for it."""
        self._is_mid_talk = True
        try:
            if descriptors:
                rights = array.array("i", descriptors)
                self._socket.sendmsg([frame], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
            else:
                self._socket.send(frame)
        except OSError as error:
            raise WorkerGoneError(f"the worker of {self._name} is gone: {error}") from error

    def _linger(self, waiter: Waiter, asleep_s: float, rehearse: Callable[[], None]) -> None:
        """Have the event loop awake, and what it will do in its caches, when the answer comes."""
        awake_s = self._expectation.awake_s()
        if asleep_s:
            # An event loop sleeps by whole milliseconds, and rounds up.
            nap_s = math.floor(asleep_s * 1e3) / 1e3
            self._loop.call_later(nap_s, self._wake_up, waiter, asleep_s - nap_s + awake_s, rehearse)
        elif self._patience.try_awake():
            self._stay_awake(waiter, self._loop.time() + awake_s)

    def _wake_up(self, waiter: Waiter, awake_s: float, rehearse: Callable[[], None]) -> None:
        if not waiter.done():
            rehearse()
            if self._patience.try_awake():
                self._stay_awake(waiter, self._loop.time() + awake_s)

    def _stay_awake(self, waiter: Waiter, ends: float) -> None:
        """Keep the event loop from sleeping; whatever else there is goes on meanwhile."""
        if waiter.done() or self._loop.time() >= ends:
            self._patience.note(has_come=waiter.done())
        else:
            self._loop.call_soon(self._stay_awake, waiter, ends)

    def _rehearse(self) -> None:
        rehearse(self.dialogue)

    def _take_frame(self) -> None:
        try:
            size = self._socket.recv_into(self._frame)
        except BlockingIOError:
            return
        except OSError as error:
            self._lose(f"the worker of {self._name} is gone: {error}")
            return
        if not size:
            self._lose(f"the worker of {self._name} has closed the connection")
        elif self._waiter is None:
            self._lose(f"the worker of {self._name} said something that nobody asked")
        elif not self._waiter.done():
            self._came = self._loop.time()
            self._waiter.set_result(bytes(self._frame[:size]))

    def _lose(self, why: str) -> None:
        self._loss = why
        self.close()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(WorkerGoneError(why))
        elif self.on_loss is not None:
            self.on_loss(self)

    def _expire(self, waiter: Waiter) -> None:
        if not waiter.done():
            waiter.set_exception(DeadlineError(f"{self._name} gave no answer in time"))


async def open_connection(path: Path, ends: float) -> AsyncConnection:
    """Connect, and wait for the greeting.

    Args:
        path: The model's socket in the run folder.
        ends: Time of the event loop until which to wait.

    Raises:
        WorkerGoneError: Nobody listens there, or the worker takes no more clients.
        DeadlineError: No greeting in time.
        AccessError: This user may not connect.
        ConfigError: The path is too long for a socket.
    """
    worker = worker_of(path)
    connected = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        connected.setblocking(False)
        connected.connect(os.fspath(path))
    except BlockingIOError as error:
        connected.close()
        raise WorkerGoneError(f"too many wait at {path} already") from error
    except OSError as error:
        connected.close()
        raise unreachable(path, error) from error
    connection = AsyncConnection(path.stem, worker, connected)
    try:
        connection.begin(await connection.receive(ends))
    except BaseException:
        connection.close()
        raise
    return connection
