"""Serves the HTTP application from a thread of its own."""

from __future__ import annotations

import errno
import socket
import threading
import time
from collections.abc import Callable

import uvicorn
from fastapi import FastAPI

from contract.errors import ConfigError, ServerUnavailableError
from server.threads import start_thread

START_TIMEOUT_S = 10.0
STOP_TIMEOUT_S = 10.0
GRACE_S = 3
"""How long requests that are going on may take when the server ends, seconds."""
MAX_REQUESTS_AT_ONCE = 200
KEEP_ALIVE_S = 30


def bind(host: str, port: int, setting: str) -> socket.socket:
    """A socket bound to a port.

    Args:
        host: IPv4 address.
        port: TCP port.
        setting: The setting that names the port, for the error text.

    Raises:
        ConfigError: The port is in use, or may not be used.
    """
    # With the protocol named, asyncio switches Nagle's algorithm off on every accepted connection; without it an
    # answer waits for the client's delayed acknowledgement (/healthz: 45 ms, not 3; tests/benchmarks/server).
    found = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((host, port))
    except OSError as error:
        found.close()
        raise _unusable(host, port, setting, error) from error
    return found


def check_port_free(host: str, port: int, setting: str) -> None:
    """Make sure that a port can be used.

    Raises:
        ConfigError: It cannot.
    """
    with bind(host, port, setting) as probe:
        try:
            probe.listen(1)
        except OSError as error:
            raise _unusable(host, port, setting, error) from error


def _unusable(host: str, port: int, setting: str, error: OSError) -> ConfigError:
    is_taken = error.errno == errno.EADDRINUSE
    why = "is in use by another program" if is_taken else f"cannot be used: {error.strerror}"
    remedy = f"end that program, or change {setting}" if is_taken else f"change {setting}"
    return ConfigError(f"port {port} on {host} {why}", remedy=f"{remedy} in server.toml")


class HttpServer:
    """uvicorn in a thread.

    Args:
        app: What to serve.
        listener: Bound socket; closed at the end.
        on_crash: Called when the thread crashed.
    """

    def __init__(self, app: FastAPI, listener: socket.socket, on_crash: Callable[[], None]) -> None:
        settings = uvicorn.Config(
            app,
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            limit_concurrency=MAX_REQUESTS_AT_ONCE,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=GRACE_S,
        )
        self._server = uvicorn.Server(settings)
        self._listener = listener
        self._on_crash = on_crash
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start, and wait until requests are answered.

        Raises:
            ServerUnavailableError: It does not start in time.
        """
        self._thread = start_thread("http", lambda: self._server.run([self._listener]), self._on_crash)
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._server.started:
            if time.monotonic() > deadline or not self._thread.is_alive():
                raise ServerUnavailableError("the HTTP server did not start")
            time.sleep(0.01)

    def stop(self) -> None:
        """Answer what is going on, and end."""
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join(STOP_TIMEOUT_S)
        self._listener.close()
