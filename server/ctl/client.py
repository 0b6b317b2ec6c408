"""The server's HTTP API for the remote control, and its only importer of urllib3.

Guarantees: every failure comes out as an error of ``contract.errors``: what the server refused, as the server said
it; a server that does not answer, as ``ServerUnavailableError`` with its address. A token is never sent unencrypted
to another machine.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlencode, urlsplit

import msgspec
import urllib3

from contract.errors import ConfigError, ServerUnavailableError, error_of_code

TIMEOUT_S = 30.0
CONNECT_TIMEOUT_S = 5.0
ANSWER_MAX_BYTES = 64 << 20
_TOKEN_MAX_BYTES = 4096


class _Refusal(msgspec.Struct, frozen=True):
    code: str
    message: str
    faults: tuple[str, ...] = ()
    remedy: str = ""


def read_token(path: Path) -> str:
    """The token in a file.

    Raises:
        ConfigError: It cannot be read.
    """
    try:
        with path.expanduser().open("rb") as file:
            token = file.read(_TOKEN_MAX_BYTES).decode("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"the operator's token {path} cannot be read: {error}",
            remedy="name it with --token-file or LITEFLEET_TOKEN_FILE; it is in the server's secrets folder",
        ) from error
    if not token:
        raise ConfigError(f"the token file {path} is empty")
    return token


class Client:
    """One server.

    Args:
        server: Its base URL.
        token: The operator's.

    Raises:
        ConfigError: The URL is not one, or would send the token unencrypted to another machine.
    """

    def __init__(self, server: str, token: str) -> None:
        self.server = server.rstrip("/")
        _check_url(self.server)
        self._headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        self._pool = urllib3.PoolManager(
            retries=False, timeout=urllib3.Timeout(connect=CONNECT_TIMEOUT_S, read=TIMEOUT_S)
        )

    def __enter__(self) -> Client:
        """Use as a context manager: closes its connections."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close all connections."""
        self._pool.clear()

    def get(self, path: str, query: Mapping[str, str | None] | None = None) -> Any:
        """Ask for something.

        Args:
            path: Below the server's URL.
            query: Parameters; those that are None are left out.

        Raises:
            LitefleetError: The server refused, or does not answer.
        """
        wanted = {key: value for key, value in (query or {}).items() if value is not None}
        return self._call("GET", f"{path}?{urlencode(wanted)}" if wanted else path, None)

    def post(self, path: str, body: object = None) -> Any:
        """Ask to do something.

        Raises:
            LitefleetError: The server refused, or does not answer.
        """
        return self._call("POST", path, msgspec.json.encode(body))

    def _call(self, method: str, path: str, body: bytes | None) -> Any:
        headers = self._headers if body is None else self._headers | {"Content-Type": "application/json"}
        try:
            answer = self._pool.request(
                method, self.server + path, body=body, headers=headers, redirect=False, preload_content=False
            )
            try:
                content = answer.read(ANSWER_MAX_BYTES + 1)
            finally:
                answer.release_conn()
        except urllib3.exceptions.HTTPError as error:
            raise ServerUnavailableError(
                f"no litefleet server answers at {self.server}",
                remedy="start it with: litefleet-server run FOLDER; or name it with --server or LITEFLEET_SERVER",
            ) from error
        if answer.status >= 300:
            raise self._refused(answer.status, content)
        try:
            return msgspec.json.decode(content)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise self._stranger(answer.status) from error

    def _refused(self, status: int, content: bytes) -> Exception:
        try:
            refusal = msgspec.json.decode(content, type=_Refusal)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return self._stranger(status)
        return error_of_code(refusal.code, refusal.message, faults=refusal.faults, remedy=refusal.remedy)

    def _stranger(self, status: int) -> ServerUnavailableError:
        return ServerUnavailableError(
            f"what answers at {self.server} (status {status}) is not a litefleet server",
            remedy="look at --server or LITEFLEET_SERVER",
        )


def _check_url(server: str) -> None:
    try:
        parts = urlsplit(server)
        host = parts.hostname or ""
        is_url = parts.scheme in {"http", "https"} and bool(host) and parts.port != 0
    except ValueError:
        is_url = False
    if not is_url or parts.path or parts.query:
        raise ConfigError(f"{server!r} is not a server's URL", remedy="use for example http://127.0.0.1:8080")
    if parts.scheme == "http" and not _is_this_machine(host):
        raise ConfigError(
            f"{server} would get the token unencrypted",
            remedy="use https, or an SSH tunnel to the server and http://127.0.0.1:PORT",
        )


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
