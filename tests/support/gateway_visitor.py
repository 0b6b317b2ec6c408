"""A client of a gateway's service in a test's own process, which can be lent to an attendant."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import re
import socket
import termios
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from edge_agent.gateway.attendants import Back
from edge_agent.gateway.service import Service
from edge_agent.gateway.wire import Request
from tests.support.gateway_service import of_digit
from tests.support.inference_slots import wait_until

WAIT_S = 20.0
HEAD = b"POST /v2/models/digits/infer HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Visitor:
    """A client in the gateway's own process, with both ends of its connection."""

    def __init__(self) -> None:
        self.ours, self.theirs = socket.socketpair()
        self.ours.settimeout(WAIT_S)
        self._file = self.ours.makefile("rb")
        self.came_back: asyncio.Future[Back] = asyncio.get_running_loop().create_future()

    def lend(self) -> socket.socket:
        return self.theirs.dup()

    def come_back(self, back: Back) -> bool:
        self.came_back.set_result(back)
        return False

    async def back(self) -> Back:
        return await asyncio.wait_for(self.came_back, WAIT_S)

    async def say(self, *parts: bytes) -> None:
        for part in parts:
            await asyncio.to_thread(self.ours.sendall, part)

    async def hear(self) -> tuple[int, bytes]:
        return await asyncio.to_thread(self._hear)

    async def ask(self, digit: int, **more: object) -> str:
        """The label that a digit gets."""
        await self.say(whole(of_digit(digit, **more)))
        status, content = await self.hear()
        found = re.search(rb'"label":"(.)"', content)
        assert status == 200
        assert found, content
        return found[1].decode()

    def is_taken(self) -> bool:
        """Whether all that was said was read."""
        return fcntl.ioctl(self.theirs, termios.FIONREAD, bytes(4)) == bytes(4)

    def _hear(self) -> tuple[int, bytes]:
        status = int(self._file.readline().split()[1])
        lengths = [
            int(line[15:])
            for line in iter(self._file.readline, b"\r\n")
            if line.startswith(b"Content-Length:")
        ]
        return status, self._file.read(lengths[0])

    def close(self) -> None:
        self._file.close()
        self.ours.close()
        self.theirs.close()


def whole(request: Request) -> bytes:
    return HEAD + bytes(request.body)


@contextlib.asynccontextmanager
async def attended(service: Service, request: Request | None = None) -> AsyncIterator[Visitor]:
    """A client with an attendant, which answers requests like one."""
    asked = request or of_digit(1)
    await service.answer(asked)
    visitor = Visitor()
    try:
        assert service.attend(asked, HEAD, visitor)
        yield visitor
    finally:
        visitor.close()


def with_visitor(
    talk: Callable[[Service, Visitor], Awaitable[None]], request: Request | None = None
) -> Callable[[Service], Awaitable[None]]:
    async def run(service: Service) -> None:
        async with attended(service, request) as visitor:
            await talk(service, visitor)

    return run


async def with_worker() -> None:
    """Wait until a request lies with a worker that is stopped."""

    def is_unread(descriptor: int) -> bool:
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as each:
            unread = fcntl.ioctl(each, termios.TIOCOUTQ, bytes(4))
            return each.type == socket.SOCK_SEQPACKET and unread != bytes(4)
        return False

    def is_any() -> bool:
        return any(is_unread(int(link.name)) for link in Path("/proc/self/fd").iterdir())

    await asyncio.to_thread(wait_until, is_any, "the request at the worker")
