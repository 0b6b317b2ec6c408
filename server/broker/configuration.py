"""The broker's files, and the same rules as a function.

PURE. Rules:

1. Nobody connects without a password. A client's id is its user name, so no device can end another's session.
2. A device writes under ``<prefix>/<its id>/up/`` and reads under ``<prefix>/<its id>/dn/`` and
   ``<prefix>/_server/state``; nothing else. The server reads and writes everything under the prefix.
3. Adding a device changes the password file only.
4. What mosquitto acknowledged survives its being killed (autosave on every change), and no message waits for
   another's acknowledgement (no Nagle).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from contract.errors import ConfigError
from contract.messages import MESSAGE_MAX_BYTES
from contract.topics import SERVER, Topics

PASSWORDS_NAME = "passwords"
ACCESS_NAME = "access"
SETTINGS_NAME = "mosquitto.conf"
MAX_INFLIGHT = 1000
"""Messages on their way to one client; mosquitto's 20 would make each commit of the ingest wait for the next."""
MAX_QUEUED = 10_000
"""Messages kept for the server while it is away: an hour of events of a small fleet."""
SESSION_EXPIRY = "7d"
_PACKET_OVERHEAD_BYTES = 1024


@dataclass(frozen=True)
class BrokerSettings:
    """What a broker must know.

    Attributes:
        host: Address to listen on.
        port: Port to listen on.
        prefix: Root of all topics.
        folder: Absolute path of its own folder.
        system_user: Name of the user that it runs as.
    """

    host: str
    port: int
    prefix: str
    folder: str
    system_user: str


def render_settings(settings: BrokerSettings) -> str:
    """``mosquitto.conf``.

    Raises:
        ConfigError: The folder's name cannot stand in it.
    """
    if not settings.folder.isprintable():
        raise ConfigError(f"mosquitto cannot use a folder of the name {settings.folder!r}")
    lines = [
        f"user {settings.system_user}",
        f"listener {settings.port} {settings.host}",
        "allow_anonymous false",
        "use_username_as_clientid true",
        f"password_file {settings.folder}/{PASSWORDS_NAME}",
        f"acl_file {settings.folder}/{ACCESS_NAME}",
        "persistence true",
        f"persistence_location {settings.folder}/",
        "autosave_on_changes true",
        "autosave_interval 1",
        f"persistent_client_expiration {SESSION_EXPIRY}",
        "set_tcp_nodelay true",
        f"max_inflight_messages {MAX_INFLIGHT}",
        f"max_queued_messages {MAX_QUEUED}",
        f"max_packet_size {MESSAGE_MAX_BYTES + _PACKET_OVERHEAD_BYTES}",
        "log_dest stderr",
        "log_type error",
        "log_type warning",
    ]
    return "\n".join(lines) + "\n"


def render_access(prefix: str) -> str:
    """The access file of mosquitto; the ``pattern`` lines hold for every user."""
    root = Topics(prefix).prefix
    lines = [
        f"user {SERVER}",
        f"topic readwrite {root}/#",
        "",
        f"pattern write {root}/%u/up/#",
        f"pattern read {root}/%u/dn/#",
        f"pattern read {Topics(prefix).server_state()}",
    ]
    return "\n".join(lines) + "\n"


def render_passwords(hashes: Mapping[str, str]) -> str:
    """The password file, from user name to hash."""
    return "".join(f"{user}:{kept}\n" for user, kept in sorted(hashes.items()))


def parse_passwords(text: str) -> dict[str, str]:
    """User name to hash, from the password file."""
    pairs = (line.partition(":") for line in text.splitlines())
    return {user: kept for user, colon, kept in pairs if colon}


def may_write(user: str, topic: str, prefix: str) -> bool:
    """Whether a user may publish to a topic."""
    place = prefix if user == SERVER else f"{prefix}/{user}/up"
    return topic.startswith(place + "/")


def may_read(user: str, topic: str, prefix: str) -> bool:
    """Whether a user may receive from a topic, or subscribe to a filter."""
    if user != SERVER and topic == Topics(prefix).server_state():
        return True
    place = prefix if user == SERVER else f"{prefix}/{user}/dn"
    return topic.startswith(place + "/")
