"""Heads and responses as bytes."""

from __future__ import annotations

import pytest

from edge_agent.gateway.responses import Response, failed_response
from edge_agent.gateway.routes import HttpError
from edge_agent.gateway.wire import check_headers, count, encode, is_last_request


def test_a_response_is_these_bytes() -> None:
    response = Response(200, (b"{}", b"\0\1"), "application/octet-stream", {"X-A": "2"})

    assert encode(response, is_last=False) == (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: 4\r\nX-A: 2\r\n\r\n{}\0\1"
    )
    assert encode(Response(431, ()), is_last=True) == (
        b"HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Type: application/json\r\n"
        b"Content-Length: 0\r\nConnection: close\r\n\r\n"
    )


def test_a_fault_of_ours_is_told_as_such() -> None:
    content = encode(failed_response(), is_last=True)

    assert content.startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
    assert b"the gateway failed on this request" in content


@pytest.mark.parametrize(
    ("version", "headers", "is_last"),
    [
        (b"1.0", [], True),
        (b"1.0", [(b"connection", b"keep-alive")], True),
        (b"1.1", [], False),
        (b"1.1", [(b"connection", b"keep-alive"), (b"x-connection", b"close")], False),
        (b"1.1", [(b"connection", b"Upgrade"), (b"connection", b"te , CLOSE")], True),
    ],
)
def test_a_connection_ends_when_the_client_wants_it(
    version: bytes, headers: list[tuple[bytes, bytes]], *, is_last: bool
) -> None:
    assert is_last_request(version, headers) is is_last


def test_a_length_is_a_number_of_few_digits() -> None:
    assert (count(None), count(b"0"), count(b"999999999999")) == (None, 0, 999_999_999_999)
    for absurd in (b"", b"-1", b"1e3", b" 1", b"1" * 13, "²".encode()):
        with pytest.raises(HttpError, match="no sensible number"):
            count(absurd)


@pytest.mark.parametrize(
    ("headers", "is_local"),
    [
        ({b"host": b"localhost:8000"}, False),
        ({b"host": b"127.0.0.1"}, False),
        ({b"host": b"[::1]:8000", b"content-encoding": b"Identity"}, False),
        ({b"host": b"evil.example"}, True),
        ({b"transfer-encoding": b"chunked"}, True),
    ],
)
def test_what_is_served_is_taken(headers: dict[bytes, bytes], *, is_local: bool) -> None:
    check_headers(headers, is_local=is_local)


@pytest.mark.parametrize(
    ("headers", "is_local", "status"),
    [
        ({b"host": b"evil.example"}, False, 421),
        ({}, False, 421),
        ({b"content-encoding": b"gzip"}, True, 415),
        ({b"transfer-encoding": b"chunked", b"content-length": b"1"}, True, 400),
    ],
)
def test_what_is_not_served_is_refused_from_the_head(
    headers: dict[bytes, bytes], *, is_local: bool, status: int
) -> None:
    with pytest.raises(HttpError) as refused:
        check_headers(headers, is_local=is_local)
    assert refused.value.status == status
