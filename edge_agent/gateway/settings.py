"""What the gateway is told, by the agent's configuration and by its own command line.

PURE. Rules:

1. It listens on a Unix socket or on a loopback address, never on another: it knows no users.
2. Everything it keeps in memory follows from the settings: ``body_budget_bytes``, ``connections``, ``max_waiting``.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from contract.errors import ConfigError
from edge_agent.inference.protocol import SOCKET_PATH_MAX_BYTES
from edge_agent.loopback import is_loopback

MAX_CONNECTIONS = 64
"""HTTP connections that are open at a time."""
BODIES = 4
"""Bodies of the largest size that are in memory at a time; of smaller ones there may be more."""
_WORKER_CONNECTIONS = 4
"""A worker serves one request after the other; more connections than this only wait in another place."""


class GatewaySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The Open Inference Protocol over HTTP, for applications that do not use the SDK.

    Attributes:
        enabled: Whether the agent runs a gateway.
        host: Loopback address it listens at.
        port: TCP port it listens at.
        socket: Path of a Unix socket to listen at instead; empty for TCP.
        socket_mode: Who may use the Unix socket, as file permissions in octal.
        max_body_bytes: Longest body of a request.
        max_concurrent: Requests of one model that are in work or wait; more are refused with status 503.
        deadline_s: Longest time a request may take once it has arrived, seconds; a request may ask for less.
        receive_timeout_s: Longest time a request may take to arrive, seconds.
        idle_timeout_s: How long a connection may rest between two requests, seconds.
    """

    enabled: bool = False
    host: str = "127.0.0.1"
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 8000
    socket: str = ""
    socket_mode: Annotated[str, msgspec.Meta(pattern="^0?[0-7]{3}$")] = "0660"
    max_body_bytes: Annotated[int, msgspec.Meta(ge=1024, le=1 << 28)] = 8 << 20
    max_concurrent: Annotated[int, msgspec.Meta(ge=1, le=1024)] = 32
    deadline_s: Annotated[float, msgspec.Meta(gt=0, le=3600)] = 5.0
    receive_timeout_s: Annotated[float, msgspec.Meta(gt=0, le=3600)] = 10.0
    idle_timeout_s: Annotated[float, msgspec.Meta(gt=0, le=86400)] = 60.0

    @property
    def connections(self) -> int:
        """Requests of one model that are with its worker at a time."""
        return min(_WORKER_CONNECTIONS, self.max_concurrent)

    @property
    def max_waiting(self) -> int:
        """Requests of one model that wait for their turn."""
        return self.max_concurrent - self.connections

    @property
    def body_budget_bytes(self) -> int:
        """Bytes of all bodies that are in memory at a time."""
        return BODIES * self.max_body_bytes

    @property
    def socket_umask(self) -> int:
        """What a new socket's permissions lack."""
        return 0o777 & ~int(self.socket_mode, 8)


def gateway_faults(settings: GatewaySettings) -> list[str]:
    """What is wrong with settings whose every value is within its range."""
    faults: list[str] = []
    if not is_loopback(settings.host):
        faults.append(f"host: {settings.host!r} is not this machine; the gateway knows no users")
    if len(settings.socket.encode()) > SOCKET_PATH_MAX_BYTES:
        faults.append(f"socket: longer than {SOCKET_PATH_MAX_BYTES} bytes")
    return faults


def parse_settings(text: str) -> GatewaySettings:
    """Settings in JSON, as the gateway's process gets them.

    Raises:
        ConfigError: Anything about them is wrong.
    """
    try:
        settings = msgspec.json.decode(text, type=GatewaySettings)
    except msgspec.DecodeError as error:
        raise ConfigError(f"the gateway's settings cannot be used: {error}") from error
    faults = gateway_faults(settings)
    if faults:
        raise ConfigError("the gateway's settings cannot be used", faults=faults)
    return settings
