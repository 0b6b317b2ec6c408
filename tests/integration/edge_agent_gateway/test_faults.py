"""A fault of ours in one request: its sender is told, the log has the traceback, and nobody else notices."""

from __future__ import annotations

import asyncio
import http.client
import logging

import pytest

from edge_agent.gateway.attendants import Guest
from edge_agent.gateway.responses import Response, json_response
from edge_agent.gateway.server import Gateway, listening
from edge_agent.gateway.settings import GatewaySettings
from edge_agent.gateway.shortcut import Client
from edge_agent.gateway.wire import Request
from edge_agent.inference.protocol import Welcome
from tests.support.gateway import a_port


class Faulty:
    """Answers every path but one."""

    def begin(self, request: Request, client: Client) -> bool:
        """See ``edge_agent.gateway.answers.Answers``."""
        del request, client
        return False

    async def ask_again(self, request: Request, welcome: Welcome, began: float, ends: float) -> Response:
        """See ``edge_agent.gateway.answers.Answers``."""
        del welcome, began, ends
        return await self.answer(request)

    def attend(self, request: Request, head: bytes, guest: Guest) -> bool:
        """See ``edge_agent.gateway.answers.Answers``."""
        del request, head, guest
        return False

    def end(self) -> None:
        """See ``edge_agent.gateway.answers.Answers``."""

    async def answer(self, request: Request) -> Response:
        """See ``edge_agent.gateway.answers.Answers``."""
        if request.target == "/fault":
            raise ZeroDivisionError("a fault of ours")
        return json_response(200, {"asked": request.target})


def _ask(port: int) -> list[tuple[int, bytes]]:
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    found: list[tuple[int, bytes]] = []
    for path in ("/a", "/fault", "/b"):
        client.request("GET", path)
        response = client.getresponse()
        found.append((response.status, response.read()))
    client.close()
    return found


def test_a_fault_of_ours_costs_one_request_and_not_its_connection(caplog: pytest.LogCaptureFixture) -> None:
    settings = GatewaySettings(port=a_port())

    async def serve() -> list[tuple[int, bytes]]:
        async with listening(settings, Gateway(settings, Faulty())):
            return await asyncio.to_thread(_ask, settings.port)

    with caplog.at_level(logging.ERROR):
        (first, second, third) = asyncio.run(serve())

    assert first == (200, b'{"asked":"/a"}')
    assert second[0] == 500
    assert b"agent's log" in second[1]
    assert b"ZeroDivision" not in second[1]
    assert third == (200, b'{"asked":"/b"}')
    assert "a fault of ours" in caplog.text
