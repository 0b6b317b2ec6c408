"""What a request's head comes down to, and a response as bytes.

PURE. Rules:

1. What is written has our own words only, so it is written without h11, in a third of the time.
2. What is not served is refused from the head alone, before anything is kept for it.
3. A connection ends with its answer where the client wants that, or speaks HTTP/1.0 (RFC 9112, clause 9.3).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import NamedTuple

from edge_agent.gateway.responses import Response
from edge_agent.gateway.routes import HttpError
from edge_agent.loopback import is_loopback

_COUNT_MAX_DIGITS = 12
_STARTS = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}


class Head(NamedTuple):
    """A head that was taken.

    Attributes:
        method: As given.
        target: As given.
        inference_header_bytes: ``Inference-Header-Content-Length``; None without one.
        is_last: Whether the connection ends with the answer.
    """

    method: str
    target: str
    inference_header_bytes: int | None
    is_last: bool


class Request(NamedTuple):
    """A request that has arrived.

    Attributes:
        method: As given.
        target: As given.
        body: All of it.
        inference_header_bytes: ``Inference-Header-Content-Length``; None without one.
    """

    method: str
    target: str
    body: memoryview
    inference_header_bytes: int | None


def encode(response: Response, *, is_last: bool) -> bytes:
    """A whole response."""
    head = (
        f"{_STARTS[response.status]}Content-Type: {response.content_type}\r\n"
        f"Content-Length: {sum(map(len, response.body))}\r\n"
    )
    for name, value in response.headers.items():
        head += f"{name}: {value}\r\n"
    head += "Connection: close\r\n\r\n" if is_last else "\r\n"
    return b"".join((head.encode("ascii"), *response.body))


def is_last_request(version: bytes, headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether a client wants the connection to end with the answer.

    Args:
        version: Of HTTP.
        headers: Names in lower case, and values.
    """
    if version < b"1.1":
        return True
    return any(
        b"close" in [word.strip() for word in value.lower().split(b",")]
        for name, value in headers
        if name == b"connection"
    )


def check_headers(headers: Mapping[bytes, bytes], *, is_local: bool) -> None:
    """Whether a request's headers say nothing that is not served.

    Args:
        headers: Names in lower case, and values.
        is_local: Whether it came through a Unix socket.

    Raises:
        HttpError: They do.
    """
    if b"transfer-encoding" in headers and b"content-length" in headers:
        raise HttpError(400, "a request has Content-Length or Transfer-Encoding, not both")
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise HttpError(415, "compressed bodies are not taken", remedy="send the body as it is")
    if not is_local:
        # A page in a browser may not reach the gateway under a name of its own (DNS rebinding).
        host = headers.get(b"host", b"").decode("ascii", "replace").rpartition("]")
        name = host[0].lstrip("[") or host[2].partition(":")[0]
        if not is_loopback(name):
            raise HttpError(421, "the Host is not this machine", remedy="ask http://127.0.0.1")


def count(value: bytes | None) -> int | None:
    """A length in a header.

    Raises:
        HttpError: It is no number, or an absurd one.
    """
    if value is None:
        return None
    if not value.isdigit() or len(value) > _COUNT_MAX_DIGITS:
        raise HttpError(400, f"a length in the head is no sensible number: {value[:40].decode('latin-1')!r}")
    return int(value)
