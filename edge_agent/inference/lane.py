"""The way of one event loop to one model: a few connections, and a bounded queue in front of them.

Guarantees: at most ``connections`` requests are with the worker and at most ``max_waiting`` wait for their turn, in
the order in which they came; one more is refused and counted. A cancelled request gives back its turn and takes its
connection with it. New requests go to the worker that is active now. Belongs to one event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from pathlib import Path

from contract.errors import DeadlineError, OverloadError
from edge_agent.inference import protocol
from edge_agent.inference.asking import (
    GREETING_S,
    MAX_DEATHS,
    Inference,
    What,
    check_rest,
    deadly,
    inference_of,
    pauses_s,
    unavailable,
    worker_of,
)
from edge_agent.inference.async_connection import AsyncConnection, open_connection
from edge_agent.inference.dialogue import WorkerGoneError

_LEAST_FREE = 2
"""Turns there have to be for one of them to be lent."""


class Lane:
    """All requests of this event loop to a model.

    Args:
        run_dir: Of the agent.
        name: Model name.
        connections: Most requests that are with the worker at a time.
        max_waiting: Most requests that wait for their turn.

    Attributes:
        refused: How many requests found the queue full.
        path: Of the model's socket.
        known: The worker that was connected to last, and what it serves.
    """

    def __init__(self, run_dir: Path, name: str, connections: int, max_waiting: int) -> None:
        self.name = name
        self.refused = 0
        self._run_dir = run_dir
        self.path = run_dir / protocol.socket_name(name)
        self._link = str(self.path)
        self._connections = connections
        self._max_waiting = max_waiting
        self._free = connections
        self._queue: deque[asyncio.Future[None]] = deque()
        self._idle: list[AsyncConnection] = []
        self.known: tuple[str, protocol.Welcome] | None = None
        self._is_closed = False

    async def infer(self, what: What, ends: float) -> Inference:
        """Ask; see ``edge_agent.inference.async_client.AsyncModel.infer``.

        Args:
            what: The request.
            ends: Time of the event loop until which to wait.
        """
        await self._enter(ends)
        return await self._go(what, ends, 0)

    async def infer_again(self, what: What, ends: float) -> Inference:
        """Ask once more what was asked on a connection of ``take``, whose worker ended; ``give_back`` is done here."""
        self._drop_idle()
        return await self._go(what, ends, 1)

    async def _go(self, what: What, ends: float, deaths: int) -> Inference:
        """Ask with a turn, and give it back."""
        try:
            for _ in range(deaths, MAX_DEATHS):
                with contextlib.suppress(WorkerGoneError):
                    return await self._ask(what, ends)
                self._drop_idle()  # they lead to the same worker
            raise deadly(self.name)
        finally:
            self._leave()

    def take(self, worker: str) -> AsyncConnection | None:
        """A turn and a connection, for a request with tensors to a worker; None where it would have to wait.

        Whoever takes them calls ``give_back``, or ``infer_again`` when the worker is gone.
        """
        if not self._free or not self._idle or not self.has(worker):
            return None
        connection = self._idle[-1]
        if connection.worker != worker or not connection.is_usable or connection.dialogue.room_bytes < 0:
            return None
        connection.on_loss = None
        self._free -= 1
        return self._idle.pop()

    def has(self, worker: str) -> bool:
        """Whether the model's name leads to a worker now."""
        return worker_of(self._link) == worker

    @property
    def is_alone(self) -> bool:
        """Whether who has a turn is the only one."""
        return self._free + 1 == self._connections

    def give_back(self, connection: AsyncConnection, *, is_good: bool) -> None:
        """End what ``take`` began; a connection that is not good is closed."""
        if is_good:
            self._put_back(connection)
        else:
            connection.close()
        self._leave()

    def lend(self) -> bool:
        """Take a turn for longer than one request, where that leaves one for the others; ``take_back`` ends it."""
        if self._free < _LEAST_FREE or self._queue:
            return False
        self._free -= 1
        return True

    def take_back(self) -> None:
        """End what ``lend`` began."""
        self._leave()

    @property
    def is_crowded(self) -> bool:
        """Whether somebody waits for a turn; any thread may ask."""
        return bool(self._queue)

    async def welcome(self, ends: float) -> protocol.Welcome:
        """What the active worker serves; connects only when another one became active since the last time.

        Raises:
            LitefleetError: As ``infer``.
        """
        worker = worker_of(self._link)
        if self.known is not None and self.known[0] == worker:
            return self.known[1]
        return await self.greet(ends)

    async def greet(self, ends: float) -> protocol.Welcome:
        """What the active worker serves, told by itself now."""
        await self._enter(ends)
        try:
            connection = await self._connect(ends, least_s=GREETING_S)
            self._put_back(connection)
            return connection.dialogue.welcome
        finally:
            self._leave()

    def close(self) -> None:
        """Let the worker go; requests under way are finished."""
        self._is_closed = True
        self._drop_idle()

    async def _enter(self, ends: float) -> None:
        """Wait for a turn."""
        if self._free:
            self._free -= 1
            return
        if len(self._queue) >= self._max_waiting:
            self.refused += 1
            raise OverloadError(
                f"{len(self._queue)} requests wait for {self.name} already", remedy="try again in a moment"
            )
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()
        timer = loop.call_at(ends, _expire, waiter, self.name)
        self._queue.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._leave()  # the turn came together with the end
            raise
        finally:
            timer.cancel()
            with contextlib.suppress(ValueError):
                self._queue.remove(waiter)

    def _leave(self) -> None:
        """Give the turn to who waits longest."""
        while self._queue:
            waiter = self._queue.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
        self._free += 1

    async def _ask(self, what: What, ends: float) -> Inference:
        connection = self._take_idle() or await self._connect(ends)
        is_good = True
        try:
            feed = connection.dialogue.feed_of(what)
            room_bytes = connection.dialogue.room_bytes
            if room_bytes < feed.image_bytes:
                if room_bytes >= 0:
                    connection.close()
                    connection = await self._connect(ends)
                await connection.attach(feed.image_bytes, ends)
            answer = await connection.ask(feed, ends, is_alone=self.is_alone)
            is_good = not answer.is_draining
            return inference_of(answer, connection.dialogue)
        finally:
            if is_good:
                self._put_back(connection)
            else:
                connection.close()

    async def _connect(self, ends: float, least_s: float = 0.0) -> AsyncConnection:
        """Connect to the active worker, trying until a time, at least once and for ``least_s``."""
        loop = asyncio.get_running_loop()
        for pause_s in pauses_s():
            now = loop.time()
            try:
                connection = await open_connection(self.path, max(ends, now + least_s))
            except WorkerGoneError as error:
                check_rest(self.path, ends - now)
                if now >= ends:
                    raise unavailable(self._run_dir, self.name, error) from error
            else:
                self.known = (connection.worker, connection.dialogue.welcome)
                return connection
            await asyncio.sleep(min(pause_s, max(0.0, ends - now)))
        raise AssertionError("pauses never end")

    def _take_idle(self) -> AsyncConnection | None:
        worker = worker_of(self._link)
        while self._idle:
            connection = self._idle.pop()
            connection.on_loss = None
            if connection.worker == worker and connection.is_usable:
                return connection
            connection.close()
        return None

    def _put_back(self, connection: AsyncConnection) -> None:
        if self._is_closed or not connection.is_usable or len(self._idle) >= self._connections:
            connection.close()
        else:
            connection.on_loss = self._idle.remove
            self._idle.append(connection)

    def _drop_idle(self) -> None:
        for connection in self._idle:
            connection.close()
        self._idle.clear()


def _expire(waiter: asyncio.Future[None], name: str) -> None:
    if not waiter.done():
        waiter.set_exception(DeadlineError(f"{name} had no time for the request before its deadline"))
