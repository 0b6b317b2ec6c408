"""Which token a request needs: dependencies for routes.

``Authorization: Bearer TOKEN``. The roles are kept in ``app.state.access``.
"""

from __future__ import annotations

from typing import cast

from fastapi import Request

from contract.errors import AccessError, ForbiddenError
from server.trust.access import Access, Role


def require_reader(request: Request) -> Role:
    """Let anybody with a valid token through.

    Returns:
        The caller's role.

    Raises:
        AccessError: No token, or an unknown one.
    """
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise AccessError("this needs a token", remedy="send it as 'Authorization: Bearer TOKEN'")
    role = cast("Access", request.app.state.access).role_of(token.strip())
    if role is None:
        raise AccessError("the token is not known here", remedy="use a token that this server wrote")
    return role


def require_operator(request: Request) -> None:
    """Let the operator through.

    Raises:
        AccessError: No token, or an unknown one.
        ForbiddenError: The publisher's token.
    """
    _require(request, Role.OPERATOR)


def require_publisher(request: Request) -> None:
    """Let the publisher through.

    Raises:
        AccessError: No token, or an unknown one.
        ForbiddenError: The operator's token.
    """
    _require(request, Role.PUBLISHER)


def _require(request: Request, needed: Role) -> None:
    role = require_reader(request)
    if role is not needed:
        raise ForbiddenError(
            f"this needs the {needed.value}'s token, not the {role.value}'s",
            remedy=f"use {needed.value}.token",
        )
