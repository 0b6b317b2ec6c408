from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from contract.errors import TooLargeError
from server.api.limits import BODY_MAX_BYTES, BodyLimit


class Echo:
    """An application that reads the whole body."""

    def __init__(self) -> None:
        self.read = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        is_more = True
        while is_more:
            message = await receive()
            self.read += len(message.get("body", b""))
            is_more = message.get("more_body", False)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})


def call(
    path: str, blocks: Sequence[bytes], *, headers: Sequence[tuple[bytes, bytes]] = (), kind: str = "http"
) -> tuple[list[Any], int]:
    """What was answered, and how many bytes the application read."""
    app = Echo()
    answers: list[Any] = []
    waiting = list(blocks)

    async def receive() -> Message:
        body = waiting.pop(0)
        return {"type": "http.request", "body": body, "more_body": bool(waiting)}

    async def send(message: Message) -> None:
        answers.append(message)

    scope = {"type": kind, "path": path, "headers": list(headers), "method": "POST"}
    asyncio.run(BodyLimit(app)(scope, receive, send))
    return answers, app.read


def test_a_body_within_the_bound_passes() -> None:
    answers, read = call("/api/v1/devices", [b"x" * BODY_MAX_BYTES])
    assert (answers[0]["status"], read) == (200, BODY_MAX_BYTES)


def test_an_announced_body_that_is_too_large_is_refused_unread() -> None:
    length = str(BODY_MAX_BYTES + 1).encode()
    answers, read = call("/api/v1/devices", [b"x"], headers=[(b"content-length", length)])
    assert (answers[0]["status"], read) == (413, 0)
    assert json.loads(answers[1]["body"])["code"] == "too-large"


def test_a_body_that_grows_too_large_is_cut_off() -> None:
    with pytest.raises(TooLargeError):
        call("/api/v1/devices", [b"x" * BODY_MAX_BYTES, b"x", b"x"])


@pytest.mark.parametrize("path", ["/api/v1/artifacts/abc", "/api/v1/releases", "/api/v1/trust"])
def test_routes_that_bound_themselves_are_left_alone(path: str) -> None:
    answers, read = call(path, [b"x" * BODY_MAX_BYTES, b"x"])
    assert (answers[0]["status"], read) == (200, BODY_MAX_BYTES + 1)


def test_what_is_no_request_passes() -> None:
    assert call("/", [], kind="lifespan") == ([], 0)
