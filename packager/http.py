"""The litefleet server over HTTP: the packager's only door to urllib3.

Guarantees: every wait has a time-out, nothing is retried behind the caller's back, redirects are not followed, answers
are read up to a bound, and a refusal comes back as the error that the server raised. The token goes to the named
server only and stands in no error.
"""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any

import msgspec
import urllib3

from contract.errors import (
    ConfigError,
    LitefleetError,
    NotFoundError,
    RejectedError,
    ServerUnavailableError,
    TooLargeError,
    error_of_code,
)

logger = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 120.0
"""The server answers an upload after it has written and synced up to 2 GiB: a minute on a slow card, doubled."""
ANSWER_MAX_BYTES = 8 << 20
"""Above the largest metadata that a TUF client reads (5 MB); every other answer is a few kilobytes."""
_BLOCK_BYTES = 1 << 16


class _Refusal(msgspec.Struct, frozen=True):
    """How the server reports an error."""

    code: str
    message: str
    faults: tuple[str, ...] = ()
    remedy: str = ""


class Server:
    """A litefleet server, asked with a token. A context manager; owns the connections.

    Attributes:
        url: Its base URL, without a slash at the end.
    """

    def __init__(self, url: str, token: str, *, read_timeout_s: float = READ_TIMEOUT_S) -> None:
        """Nothing is connected yet.

        Args:
            url: For example ``http://127.0.0.1:8080``.
            token: The publisher's.
            read_timeout_s: Longest wait for the next bytes, s.

        Raises:
            ConfigError: No URL, or a token that cannot be one.
        """
        self.url = _checked_url(url)
        if not token.strip() or not token.strip().isascii() or not token.strip().isprintable():
            raise ConfigError(
                "the token is empty or not a token", remedy="name the publisher's with --token-file"
            )
        self._headers = {"Authorization": f"Bearer {token.strip()}", "User-Agent": "litefleet-packager"}
        timeout = urllib3.Timeout(connect=CONNECT_TIMEOUT_S, read=read_timeout_s)
        self._pool = urllib3.PoolManager(timeout=timeout, retries=False, maxsize=1)

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; may be called twice."""
        self._pool.clear()

    def get(self, path: str) -> bytes:
        """The body of an answer.

        Raises:
            LitefleetError: The server's refusal.
            ServerUnavailableError: It cannot be reached, or failed.
        """
        with self._request("GET", path) as response:
            return _read(response)

    def blocks(self, url: str) -> Iterator[bytes]:
        """The body of an answer in blocks; the URL is absolute and below this server's.

        Raises:
            LitefleetError: The server's refusal.
            ServerUnavailableError: It cannot be reached, or failed.
        """
        with self._request("GET", url.removeprefix(self.url)) as response:
            while block := response.read(_BLOCK_BYTES):
                yield block

    def has(self, path: str) -> bool:
        """Whether a resource is there (HEAD).

        Raises:
            ServerUnavailableError: It cannot be reached, or failed.
        """
        try:
            with self._request("HEAD", path):
                return True
        except NotFoundError:
            return False

    def post(self, path: str, body: object) -> int:
        """Send JSON.

        Returns:
            The status: 200 or 201.

        Raises:
            LitefleetError: The server's refusal.
            ServerUnavailableError: It cannot be reached, or failed.
        """
        headers = {"Content-Type": "application/json"}
        with self._request("POST", path, headers, msgspec.json.encode(body)) as response:
            _read(response)
            return int(response.status)

    def put(self, path: str, blocks: Iterable[bytes], size_bytes: int) -> None:
        """Stream a file of known size.

        Raises:
            LitefleetError: The server's refusal, or what ``blocks`` raised.
            ServerUnavailableError: It cannot be reached, or failed.
        """
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size_bytes)}
        with self._request("PUT", path, headers, blocks) as response:
            _read(response)

    @contextmanager
    def _request(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: Any = None
    ) -> Iterator[urllib3.BaseHTTPResponse]:
        try:
            response = self._pool.request(
                method,
                self.url + path,
                headers={**self._headers, **(headers or {})},
                body=body,
                preload_content=False,
                redirect=False,
            )
            try:
                if response.status not in {200, 201}:
                    raise _refusal(response, self.url)
                yield response
            finally:
                response.close()
        except urllib3.exceptions.HTTPError as error:
            raise ServerUnavailableError(
                f"the server {self.url} cannot be reached: {_cause(error)}",
                remedy="is it running, and is --server right?",
            ) from error


def _read(response: urllib3.BaseHTTPResponse) -> bytes:
    content = response.read(ANSWER_MAX_BYTES + 1)
    if len(content) > ANSWER_MAX_BYTES:
        raise TooLargeError(f"the server's answer has more than {ANSWER_MAX_BYTES} bytes")
    return content


def _refusal(response: urllib3.BaseHTTPResponse, url: str) -> LitefleetError:
    status = int(response.status)
    try:
        refusal = msgspec.json.decode(_read(response), type=_Refusal)
    except msgspec.DecodeError:
        if status == 404:
            return NotFoundError(f"{url} does not have that", remedy="is it a litefleet server?")
        if status >= 500:
            return ServerUnavailableError(f"{url} answered with status {status}")
        return RejectedError(f"{url} answered with status {status}", remedy="is it a litefleet server?")
    return error_of_code(refusal.code, refusal.message, faults=refusal.faults, remedy=refusal.remedy)


def _checked_url(url: str) -> str:
    parsed = urllib3.util.parse_url(url) if url.startswith(("http://", "https://")) else None
    if parsed is None or not parsed.host or parsed.query or parsed.fragment or parsed.auth:
        raise ConfigError(f"{url!r} is not a server", remedy="for example --server http://127.0.0.1:8080")
    if parsed.scheme == "http" and not _is_loopback(parsed.host):
        logger.warning("the token travels unencrypted to %s; put TLS in front of the server", parsed.host)
    return url.rstrip("/")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _cause(error: Exception) -> str:
    """What a person wants to know of a urllib3 failure, without the objects that its texts hold."""
    reason = error.__cause__ or error.__context__
    text = str(reason) if isinstance(reason, OSError) and str(reason) else str(error)
    return text[:200]
