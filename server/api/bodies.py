"""Bounded reading of what a request brings."""

from __future__ import annotations

from typing import TypeVar

import msgspec
from fastapi import Request
from starlette.requests import ClientDisconnect

from contract.errors import MessageError, TooLargeError, TransientError

T = TypeVar("T")


async def read_body(request: Request, max_bytes: int) -> bytes:
    """The request's whole body.

    Raises:
        TooLargeError: More than ``max_bytes``; the rest is not read.
        TransientError: The client went away in the middle.
    """
    content = bytearray()
    try:
        async for block in request.stream():
            content += block
            if len(content) > max_bytes:
                raise TooLargeError(f"the request has more than {max_bytes} bytes")
    except ClientDisconnect as error:
        raise TransientError("the request was cut off") from error
    return bytes(content)


def parse_body(content: bytes, kind: type[T]) -> T:
    """A JSON body as a struct.

    Raises:
        MessageError: No JSON, or not of that form.
    """
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MessageError(f"the request is not understood: {error}") from error
