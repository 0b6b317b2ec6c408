"""The one object that builds, parses and filters MQTT topics.

PURE. Rules:

1. Fixed width: ``<prefix>/<device>/<up|dn>/<kind>[/<field>...]``; one writer per topic.
2. ``_server`` stands where a device id would; no device id can be that (they start with a letter or digit).
3. A topic that does not parse raises; nothing guesses.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass

from contract.errors import ConfigError, ManifestError, MessageError
from contract.identifiers import DeviceId, parse_device_id, parse_opaque_id

DEFAULT_PREFIX = "litefleet/v1"
SERVER = "_server"
_PREFIX = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*(?:/[A-Za-z0-9][A-Za-z0-9_.-]*){0,4}")
_PREFIX_MAX_CHARS = 128
_CHUNK_NUMBER = re.compile(r"0|[1-9][0-9]{0,8}")
_SHOWN_CHARS = 160


class Kind(str, enum.Enum):
    """What a topic carries; the value is its place in the topic."""

    STATE = "up/state"
    INFO = "up/info"
    REPORTED = "up/reported"
    DEPLOYMENT = "up/deployment"
    TELEMETRY = "up/telemetry"
    EVENT = "up/event"
    BENCH = "up/bench"
    CHUNK_REQUEST = "up/chunk-request"
    DESIRED = "dn/desired"
    ACK = "dn/ack"
    CONTROL = "dn/control"
    BENCH_ACK = "dn/bench-ack"
    CHUNK = "dn/chunk"
    SERVER_STATE = "state"


_FIELDS: dict[Kind, int] = {Kind.DEPLOYMENT: 1, Kind.CHUNK: 2}
RETAINED: frozenset[Kind] = frozenset({Kind.STATE, Kind.INFO, Kind.REPORTED, Kind.DESIRED, Kind.SERVER_STATE})
QOS: dict[Kind, int] = {kind: 0 if kind is Kind.ACK else 1 for kind in Kind}


@dataclass(frozen=True)
class ParsedTopic:
    """A topic taken apart.

    Attributes:
        kind: What it carries.
        device: Whose it is; None for the server's own.
        fields: The rest: the deployment id, or transfer id and chunk number.
    """

    kind: Kind
    device: DeviceId | None
    fields: tuple[str, ...] = ()


@dataclass(frozen=True)
class Topics:
    """All topics under one prefix.

    Args:
        prefix: One to five levels, for example ``litefleet/v1``.

    Raises:
        ConfigError: The prefix could be mistaken for a wildcard or an empty level.
    """

    prefix: str = DEFAULT_PREFIX

    def __post_init__(self) -> None:
        if _PREFIX.fullmatch(self.prefix) is None or len(self.prefix) > _PREFIX_MAX_CHARS:
            raise ConfigError(
                f"topic prefix {self.prefix!r} is not usable",
                remedy="use one to five levels of letters, digits, _ . and -, for example 'litefleet/v1'",
            )

    def build(self, kind: Kind, device: DeviceId, *fields: str) -> str:
        """The topic of a device.

        Args:
            kind: Any but SERVER_STATE.
            device: Whose topic.
            fields: As many as the kind has: deployment id; transfer id and chunk number.

        Raises:
            ManifestError: The device or a field is no identifier.
        """
        if kind is Kind.SERVER_STATE or len(fields) != _FIELDS.get(kind, 0):
            raise ValueError(f"{kind} is not built from {len(fields)} fields and a device")
        parse_device_id(device)
        for index, field in enumerate(fields):
            _parse_field(kind, index, field)
        return "/".join((self.prefix, device, kind.value, *fields))

    def server_state(self) -> str:
        """The server's own birth and last will."""
        return f"{self.prefix}/{SERVER}/{Kind.SERVER_STATE.value}"

    def device_filter(self, device: DeviceId) -> str:
        """Everything sent down to one device."""
        return f"{self.prefix}/{device}/dn/#"

    def server_filter(self) -> str:
        """Everything that any device sends up."""
        return f"{self.prefix}/+/up/#"

    def parse(self, topic: str) -> ParsedTopic:
        """Take a topic apart.

        Raises:
            MessageError: It is none of ours.
        """
        head = self.prefix + "/"
        shown = repr(topic[:_SHOWN_CHARS])
        if not topic.startswith(head):
            raise MessageError(f"topic {shown} is not under {self.prefix!r}")
        name, _, rest = topic[len(head) :].partition("/")
        if name == SERVER and rest == Kind.SERVER_STATE.value:
            return ParsedTopic(kind=Kind.SERVER_STATE, device=None)
        levels = rest.split("/")
        try:
            device = parse_device_id(name)
            kind = Kind("/".join(levels[:2]))
            fields = tuple(levels[2:])
            if kind is Kind.SERVER_STATE or len(fields) != _FIELDS.get(kind, 0):
                raise MessageError(f"topic {shown} has the wrong number of levels")
            for index, field in enumerate(fields):
                _parse_field(kind, index, field)
        except (ManifestError, ValueError) as error:
            raise MessageError(f"topic {shown} is none of ours") from error
        return ParsedTopic(kind=kind, device=device, fields=fields)


def _parse_field(kind: Kind, index: int, field: str) -> None:
    if kind is not Kind.CHUNK or index == 0:
        parse_opaque_id(field)
    elif _CHUNK_NUMBER.fullmatch(field) is None:
        raise ManifestError(f"{field[:_SHOWN_CHARS]!r} is not a chunk number")
