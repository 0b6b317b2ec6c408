"""Bounds what a request may bring, before anything parses it."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from contract.errors import TooLargeError
from server.api.errors import error_response

BODY_MAX_BYTES = 1 << 20
"""Ten thousand device ids; everything larger goes through routes that bound themselves."""
SELF_BOUNDED = ("/api/v1/artifacts/", "/api/v1/releases", "/api/v1/trust")


class BodyLimit:
    """Refuses a body that is too large: announced, at once; else as soon as it has grown too large.

    Args:
        app: What gets the request.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http" or scope["path"].startswith(SELF_BOUNDED):
            await self._app(scope, receive, send)
            return
        error = TooLargeError(f"the request has more than {BODY_MAX_BYTES} bytes")
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        if announced.isdigit() and int(announced[:20]) > BODY_MAX_BYTES:
            await error_response(error)(scope, receive, send)
            return
        received = 0

        async def bounded() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > BODY_MAX_BYTES:
                raise error
            return message

        await self._app(scope, bounded, send)
