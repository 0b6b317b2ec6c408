"""Networks that fail: ASGI wrappers that cut, delay or change what a server sends."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

_LONGEST_STALL_S = 60.0

Asgi = Callable[[Any, Any, Any], Any]


class CutError(Exception):
    """The connection ends here."""


class Cutter:
    """Cuts answers below a path after some bytes, a given number of times; remembers the ranges asked for.

    Attributes:
        ranges: ``Range`` headers of the requests below the path, empty where there was none.
    """

    def __init__(self, path: str, *, after_bytes: int, times: int) -> None:
        self.ranges: list[str] = []
        self._path = path
        self._after_bytes = after_bytes
        self._times = times

    def wrap(self, app: Asgi) -> Asgi:
        """The wrapped application."""

        async def cutting(scope: Any, receive: Any, send: Any) -> None:
            if (
                scope["type"] != "http"
                or scope["method"] != "GET"
                or not scope["path"].startswith(self._path)
            ):
                await app(scope, receive, send)
                return
            self.ranges.append(dict(scope["headers"]).get(b"range", b"").decode())
            if self._times == 0:
                await app(scope, receive, send)
                return
            self._times -= 1
            left = self._after_bytes

            async def cut(message: Any) -> None:
                nonlocal left
                body = message.get("body", b"")
                if message["type"] == "http.response.body" and len(body) >= left:
                    await send({**message, "body": body[:left], "more_body": True})
                    raise CutError
                left -= len(body)
                await send(message)

            try:
                await app(scope, receive, cut)
            except CutError:
                return  # uvicorn closes a connection whose answer is not complete

        return cutting


class Staller:
    """Holds answers below a path back after some bytes, until it is released.

    Attributes:
        reached: Set when an answer stands still.
    """

    def __init__(self, path: str, *, after_bytes: int) -> None:
        self.reached = threading.Event()
        self._released = threading.Event()
        self._path = path
        self._after_bytes = after_bytes

    def release(self) -> None:
        """Let everything through from now on."""
        self._released.set()

    def wrap(self, app: Asgi) -> Asgi:
        """The wrapped application."""

        async def stalling(scope: Any, receive: Any, send: Any) -> None:
            left = self._after_bytes

            async def stall(message: Any) -> None:
                nonlocal left
                body = message.get("body", b"")
                if (
                    message["type"] == "http.response.body"
                    and len(body) >= left
                    and not self._released.is_set()
                ):
                    await send({**message, "body": body[:left], "more_body": True})
                    self.reached.set()
                    await asyncio.to_thread(self._released.wait, _LONGEST_STALL_S)
                    message = {**message, "body": body[left:]}
                left -= len(body)
                await send(message)

            here = (
                scope["type"] == "http" and scope["method"] == "GET" and scope["path"].startswith(self._path)
            )
            await app(scope, receive, stall if here else send)

        return stalling


def answering(status: int, body: bytes, headers: dict[str, str] | None = None) -> Asgi:
    """An application that gives one answer to everything."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        raw = [(key.lower().encode(), value.encode()) for key, value in (headers or {}).items()]
        await send({"type": "http.response.start", "status": status, "headers": raw})
        await send({"type": "http.response.body", "body": body})

    return app
