from __future__ import annotations

from datetime import datetime, timezone

import pytest

from contract.messages import DeviceState
from server.ingest.presence import Presence, decide_presence

NEVER = Presence(online=False, boot="", session=0, agent_version="")


def known(*, online: bool = True, boot: str = "b1", session: int = 7) -> Presence:
    return Presence(online=online, boot=boot, session=session, agent_version="0.1.0")


def message(*, online: bool, boot: str = "b1", session: int = 7) -> DeviceState:
    at = datetime(2026, 11, 21, tzinfo=timezone.utc)
    return DeviceState(v=1, online=online, boot=boot, session=session, agent_version="0.1.0", sent_at=at)


@pytest.mark.parametrize(
    ("situation", "before", "sent", "is_retained", "after"),
    [
        ("the first birth", NEVER, message(online=True), False, known()),
        ("the first birth, kept by the broker", NEVER, message(online=True), True, known()),
        ("a will", known(), message(online=False), False, known(online=False)),
        ("a late will of an older session", known(), message(online=False, session=6), False, known()),
        (
            "a late will of an older boot",
            known(boot="b2", session=8),
            message(online=False, session=7),
            False,
            known(boot="b2", session=8),
        ),
        (
            "a will of another boot with the same number",
            known(boot="b2"),
            message(online=False, boot="b1"),
            False,
            known(boot="b2"),
        ),
        (
            "a will of a boot whose birth was missed",
            known(),
            message(online=False, boot="b2", session=9),
            True,
            known(online=False, boot="b2", session=9),
        ),
        ("a birth of an older session", known(), message(online=True, session=6), False, known()),
        (
            "a birth of a newer session",
            known(online=False),
            message(online=True, session=8),
            False,
            known(session=8),
        ),
        (
            "a birth of a device that lost its counter",
            known(online=False),
            message(online=True, boot="b2", session=1),
            False,
            known(boot="b2", session=1),
        ),
        (
            "a kept birth of a connection that ended with the broker",
            known(online=False),
            message(online=True),
            True,
            known(online=False),
        ),
        ("a birth that came twice", known(online=False), message(online=True), False, known()),
    ],
)
def test_presence(
    situation: str, before: Presence, sent: DeviceState, after: Presence, *, is_retained: bool
) -> None:
    assert decide_presence(before, sent, is_retained=is_retained) == after
