"""The gateway's listening side: its socket, its bounds over all connections, its beginning and end.

Guarantees: listens at a loopback address or a Unix socket only; when all connections are taken, the one that rests
longest makes room; the end of standard input, SIGTERM and SIGINT end it, after the requests in work.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from contract.errors import StorageError
from edge_agent.gateway.answers import Answers
from edge_agent.gateway.http import BUFFER_BYTES, Connection
from edge_agent.gateway.service import Service
from edge_agent.gateway.settings import MAX_CONNECTIONS, GatewaySettings
from edge_agent.inference.async_client import connect_async
from edge_agent.overload import Cause, OverloadWatch, Totals, add_refusal
from edge_agent.overload_pipe import Teller

_SWEEP_S = 0.25
_NOTE_EVERY = 20
"""Sweeps between two looks at what was refused: five seconds."""
_END_S = 2.0
_SPARE_MAX_BYTES = 1 << 20
"""Longest body whose memory is kept for the next one: new memory costs a page fault per 4 KiB."""

logger = logging.getLogger(__name__)


class Gateway:
    """All connections, and what they share.

    Attributes:
        settings: Bounds.
        service: Who answers a request that has arrived.
        buffer: Where heads and chunks arrive; taken out at once, so one serves all.
        is_ending: Whether answers are the last of their connections.
        refused: What was refused before it was known which model is meant.
    """

    def __init__(self, settings: GatewaySettings, service: Answers) -> None:
        self.settings = settings
        self.service = service
        self.buffer = memoryview(bytearray(BUFFER_BYTES))
        self.is_ending = False
        self.refused: Totals = {}
        self._connections: set[Connection] = set()
        self._free_bytes = settings.body_budget_bytes
        self._spare = bytearray()

    def __len__(self) -> int:
        return len(self._connections)

    def admit(self, connection: Connection) -> bool:
        """Take a new connection; False when it is one too many."""
        self._connections.add(connection)
        if len(self._connections) <= MAX_CONNECTIONS:
            return True
        resting = [other for other in self._connections if other.is_idle and other is not connection]
        if resting:
            min(resting, key=lambda other: other.ends).abort()
            return True
        add_refusal(self.refused, "", Cause.CONNECTIONS)
        return False

    @property
    def is_flooded(self) -> bool:
        """Whether so many are open that one more that is refused is not even heard out."""
        return len(self._connections) > 2 * MAX_CONNECTIONS

    def forget(self, connection: Connection) -> None:
        """A connection is gone."""
        self._connections.discard(connection)

    def reserve(self, size_bytes: int) -> bool:
        """Take memory for a body; False when there is not enough."""
        if size_bytes > self._free_bytes:
            add_refusal(self.refused, "", Cause.BODIES)
            return False
        self._free_bytes -= size_bytes
        return True

    def release(self, size_bytes: int) -> None:
        """Give it back."""
        self._free_bytes += size_bytes

    def take_body(self, size_bytes: int) -> bytearray:
        """Memory for a body, with anything in it."""
        if len(self._spare) != size_bytes:
            return bytearray(size_bytes)
        body, self._spare = self._spare, bytearray()
        return body

    def keep_body(self, body: bytearray) -> None:
        """Get back the memory of a body that was answered."""
        if 0 < len(body) <= _SPARE_MAX_BYTES:
            self._spare = body

    def sweep(self, now: float) -> None:
        """End what took too long."""
        for connection in [each for each in self._connections if each.ends <= now]:
            connection.expire()

    async def drain(self) -> None:
        """End every connection, those with a request in work after its answer or ``_END_S``."""
        self.is_ending = True
        self.service.end()
        ends = asyncio.get_running_loop().time() + _END_S
        while self._connections and asyncio.get_running_loop().time() < ends:
            for connection in list(self._connections):
                connection.close()
            await asyncio.sleep(0.01)
        for connection in list(self._connections):
            connection.abort()
        await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def listening(settings: GatewaySettings, gateway: Gateway) -> AsyncIterator[str]:
    """Listen while the context lasts; the value says where.

    Raises:
        StorageError: The address or path cannot be used.
    """
    loop = asyncio.get_running_loop()
    where = settings.socket or f"{settings.host} port {settings.port}"
    before = os.umask(settings.socket_umask) if settings.socket else None
    try:
        if settings.socket:
            server = await loop.create_unix_server(lambda: Connection(gateway), settings.socket)
        else:
            server = await loop.create_server(lambda: Connection(gateway), settings.host, settings.port)
    except OSError as error:
        raise StorageError(
            f"cannot listen at {where}: {error}", remedy="set gateway.port or .socket"
        ) from error
    finally:
        if before is not None:
            os.umask(before)
    try:
        yield where
    finally:
        server.close()
        await gateway.drain()
        if settings.socket:
            _remove(settings.socket)


def _remove(path: str) -> None:
    """Take away a socket; Python does so by itself only from 3.13 on."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)  # noqa: PTH108 - a text, and nothing else is done with it


async def serve(run_dir: Path, settings: GatewaySettings, teller: Teller) -> None:
    """Serve until it is told to end.

    Args:
        run_dir: Run folder of the agent.
        settings: Where to listen, and the bounds.
        teller: Told what was refused.

    Raises:
        StorageError: The address or path cannot be used.
    """
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    _watch_input(ended)
    async with connect_async(
        run_dir, connections=settings.connections, max_waiting=settings.max_waiting
    ) as fleet:
        service = Service(fleet, settings)
        gateway = Gateway(settings, service)
        async with listening(settings, gateway) as where:
            logger.info("answers at %s", where)
            sweeps, watch = 0, OverloadWatch()
            while not ended.is_set():
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(ended.wait(), _SWEEP_S)
                gateway.sweep(loop.time())
                sweeps += 1
                if sweeps % _NOTE_EVERY == 0:
                    service.sweep()
                    totals = {**service.refused(), **gateway.refused}
                    teller.tell(totals)
                    for model, words in watch.take(totals, loop.time()):
                        logger.warning("%s", f"{model}: {words}" if model else words)


def _watch_input(ended: asyncio.Event) -> None:
    """End with standard input, so that the gateway cannot outlive the agent that started it."""

    def look() -> None:
        if not os.read(descriptor, 4096):
            ended.set()
            loop.remove_reader(descriptor)

    loop, descriptor = asyncio.get_running_loop(), sys.stdin.fileno()
    with contextlib.suppress(PermissionError):  # a file that is always ready: it has no end to wait for
        loop.add_reader(descriptor, look)
