"""What all messages between device and server have in common; the messages are in ``contract.messages``.

PURE. Rules:

1. Every message is immutable, carries ``v``, and leaves out what is as by default.
"""

from __future__ import annotations

import msgspec

WIRE_VERSION = 1


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of all messages, and what the fields mean that several of them have.

    Attributes:
        v: Version of the wire format, 1; always written.
        boot: Changes with every start of the agent.
        sent_at: When it was written; for a will, when the connection was opened.
        at: Wall clock.
        model: Model name.
        version: Version of the model.
        reason: Why, when a deployment failed.
        detail: For people.
    """
