"""The embedded broker, a program of its own: amqtt with the fleet's passwords and access rules.

    python -m server.broker.embedded PASSWORD_FILE HOST PORT PREFIX

For trying litefleet out where mosquitto cannot be had, on loopback. Its limits (amqtt 0.12): some hundred messages a
second; no persistence; MQTT 3.1.1 only; and a client without a password can still end the session of another by
using its id, since amqtt takes sessions over before it asks for the password.

Only the server starts this; nothing imports it, since amqtt takes a second to import and 40 MB.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amqtt.broker import Broker
from amqtt.contexts import Action
from amqtt.plugins.base import BaseAuthPlugin, BaseTopicPlugin

from server.broker.configuration import may_read, may_write, parse_passwords
from server.broker.passwords import is_password


class PasswordCheck(BaseAuthPlugin):  # type: ignore[misc]  # amqtt has no types
    """Lets in who knows its password, under its own id, with a last will of its own."""

    @dataclass
    class Config:
        """Where the passwords are, and the root of all topics."""

        passwords: str
        prefix: str

    async def authenticate(self, *, session: Any) -> bool:
        """Whether a client may connect."""
        kept = self._read()
        user = session.username or ""
        if user not in kept or session.client_id != user:
            return False
        if session.will_flag and not may_write(user, session.will_topic or "", self.config.prefix):
            return False
        return is_password(session.password or "", kept[user])

    def _read(self) -> dict[str, str]:
        # Each time anew: adding a device replaces the file.
        return parse_passwords(Path(self.config.passwords).read_text(encoding="utf-8"))


class TopicRules(BaseTopicPlugin):  # type: ignore[misc]  # amqtt has no types
    """Each device its own topics."""

    @dataclass
    class Config:
        """The root of all topics."""

        prefix: str

    async def topic_filtering(
        self, *, session: Any = None, topic: str | None = None, action: Action | None = None
    ) -> bool:
        """Whether a client may publish to, subscribe to, or receive from a topic."""
        rule = may_write if action == Action.PUBLISH else may_read
        return session is not None and rule(session.username or "", topic or "", self.config.prefix)


class _Broker(Broker):  # type: ignore[misc]  # amqtt has no types
    """amqtt without its leak: it sends a new client the retained messages of other clients' subscriptions."""

    async def _publish_retained_messages_for_subscription(
        self, subscription: tuple[str, int], session: Any
    ) -> None:
        if await self._topic_filtering(session, topic=subscription[0], action=Action.SUBSCRIBE):
            await super()._publish_retained_messages_for_subscription(subscription, session)


async def serve(passwords: str, host: str, port: str, prefix: str) -> None:
    """Run until SIGTERM."""
    plugins = {
        "server.broker.embedded.PasswordCheck": {"passwords": passwords, "prefix": prefix},
        "server.broker.embedded.TopicRules": {"prefix": prefix},
    }
    broker = _Broker(
        {"listeners": {"default": {"type": "tcp", "bind": f"{host}:{port}"}}, "plugins": plugins}
    )
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    await broker.start()
    await stopped.wait()
    await broker.shutdown()


def main(arguments: Sequence[str]) -> None:
    """Run the broker."""
    logging.basicConfig(level=logging.ERROR, format="%(message)s")
    passwords, host, port, prefix = arguments
    asyncio.run(serve(passwords, host, port, prefix))


if __name__ == "__main__":
    main(sys.argv[1:])
