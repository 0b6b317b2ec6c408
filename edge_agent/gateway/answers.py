"""What the HTTP side needs of whoever answers: a protocol and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from edge_agent.gateway.shortcut import LongWay

if TYPE_CHECKING:
    from edge_agent.gateway.attendants import Guest
    from edge_agent.gateway.responses import Response
    from edge_agent.gateway.shortcut import Client
    from edge_agent.gateway.wire import Request


class Answers(LongWay, Protocol):
    """Who answers requests that have arrived."""

    def begin(self, request: Request, client: Client) -> bool:
        """Begin what can be begun at once: True when ``respond`` or ``work`` of the client will be called later."""

    async def answer(self, request: Request) -> Response:
        """Answer; never raises for what a client can do."""

    def attend(self, request: Request, head: bytes, guest: Guest) -> bool:
        """Have a client served by an attendant, until ``come_back`` is called."""

    def end(self) -> None:
        """Have every client come back from its attendant."""
