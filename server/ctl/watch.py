"""Follows a rollout to its end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from contract.errors import NotFoundError, ServerUnavailableError

INTERVAL_S = 0.5
PATIENCE_S = 60.0
"""How long a server may be away (a restart) before watching is given up."""


class Api(Protocol):
    """The server's HTTP API."""

    def get(self, path: str) -> Any:
        """Ask for something."""
        ...


def choose_rollout(client: Api, rollout: str | None) -> str:
    """The rollout asked for, or the newest.

    Raises:
        NotFoundError: There is none.
    """
    if rollout is not None:
        return rollout
    rollouts = client.get("/api/v1/rollouts")
    if not rollouts:
        raise NotFoundError("there is no rollout", remedy="start one: litefleet rollouts start MODEL VERSION")
    return str(rollouts[0]["id"])


def follow(
    client: Api,
    rollout: str,
    note_absence: Callable[[str], None],
    *,
    interval_s: float = INTERVAL_S,
    patience_s: float = PATIENCE_S,
) -> Iterator[Any]:
    """Look at a rollout again and again; the last look is at its end.

    Args:
        client: The server.
        rollout: Its id.
        note_absence: Told once when the server stops answering.
        interval_s: Between two looks.
        patience_s: How long the server may be away.

    Raises:
        ServerUnavailableError: The server was away for too long.
        LitefleetError: The server refused.
    """
    away_since: float | None = None
    while True:
        try:
            view = client.get(f"/api/v1/rollouts/{rollout}")
        except ServerUnavailableError as error:
            now = time.monotonic()
            if away_since is None:
                note_absence(str(error))
                away_since = now
            elif now - away_since > patience_s:
                raise
        else:
            away_since = None
            yield view
            if view["state"] != "running":
                return
        time.sleep(interval_s)
