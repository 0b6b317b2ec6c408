"""An asyncio application's end of one connection to a worker.

Guarantees: never blocks the event loop and starts no thread; no wait outlasts its time; foreign socket errors come
out as ``WorkerGoneError``, or as an error that says why asking again is not right. A conversation that was cut in the
middle, by a deadline or by cancelling, makes the connection unusable: its answer belongs to nobody. Belongs to one
event loop, and to one task at a time.
"""

from __future__ import annotations

import array
import asyncio
import os
import socket
from collections.abc import Callable
from pathlib import Path

from contract.errors import DeadlineError
from edge_agent.inference import protocol
from edge_agent.inference.asking import unreachable, worker_of
from edge_agent.inference.dialogue import Dialogue, WorkerGoneError
from edge_agent.inference.feed import Feed


class AsyncConnection:
    """One connection; ``open_connection`` makes it.

    Attributes:
        dialogue: What is said on it.
        worker: Which worker the model's name led to.
        on_loss: Called when the worker closes the connection while nobody asks.
    """

    dialogue: Dialogue

    def __init__(self, name: str, worker: str, connected: socket.socket) -> None:
        self.worker = worker
        self.on_loss: Callable[[AsyncConnection], None] | None = None
        self._name = name
        self._socket = connected
        self._loop = asyncio.get_running_loop()
        self._frame = memoryview(bytearray(protocol.FRAME_MAX_BYTES))
        self._waiter: asyncio.Future[bytes] | None = None
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

    async def ask(self, feed: Feed, ends: float) -> protocol.Result | protocol.Failure:
        """Send a request and wait for its answer.

        Raises:
            WorkerGoneError: The worker is gone.
            DeadlineError: No answer in time.
        """
        self._send(self.dialogue.request(feed), [])
        return self.dialogue.understand(await self.receive(ends))

    async def receive(self, ends: float) -> bytes:
        """Wait for the worker's next frame.

        Raises:
            WorkerGoneError: The worker is gone.
            DeadlineError: No frame in time.
        """
        self._is_mid_talk = True
        if self._loss:
            raise WorkerGoneError(self._loss)
        waiter: asyncio.Future[bytes] = self._loop.create_future()
        self._waiter = waiter
        timer = self._loop.call_at(ends, self._expire, waiter)
        try:
            frame = await waiter
        finally:
            timer.cancel()
            self._waiter = None
        self._is_mid_talk = False
        return frame

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
            self._waiter.set_result(bytes(self._frame[:size]))

    def _lose(self, why: str) -> None:
        self._loss = why
        self.close()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(WorkerGoneError(why))
        elif self.on_loss is not None:
            self.on_loss(self)

    def _expire(self, waiter: asyncio.Future[bytes]) -> None:
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
        connection.dialogue = Dialogue(await connection.receive(ends))
    except BaseException:
        connection.close()
        raise
    return connection
