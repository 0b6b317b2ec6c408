"""Whether a device is online, from births and wills that may come late or twice.

PURE. Rules:

1. A will, or a goodbye, takes a device offline only when it is of the newest connection: the same boot and not an
   older session, or another boot with a higher session.
2. A birth counts unless it is of an older session of the same boot.
3. A birth that the broker kept, of the connection that is known already, says nothing new: the broker may have been
   started anew since, and then that connection does not stand any more.
"""

from __future__ import annotations

from dataclasses import dataclass

from contract.messages import DeviceState


@dataclass(frozen=True)
class Presence:
    """What is known of a device's newest connection."""

    online: bool
    boot: str
    session: int
    agent_version: str


def decide_presence(known: Presence, message: DeviceState, *, is_retained: bool) -> Presence:
    """What is known after a birth or will.

    Args:
        known: What was known; an empty ``boot`` before the first birth.
        message: The birth or will.
        is_retained: Whether the broker kept it.
    """
    is_same_boot = message.boot == known.boot
    if message.online:
        if is_same_boot and message.session < known.session:
            return known
        if is_retained and is_same_boot and message.session == known.session:
            return known
    elif message.session < known.session or (message.session == known.session and not is_same_boot):
        return known
    return Presence(
        online=message.online,
        boot=message.boot,
        session=message.session,
        agent_version=message.agent_version,
    )
