"""How many requests the workers of this device have answered, asked of each at its socket.

Guarantees: the wait is bounded for all of them together; asks nothing that would cost a worker an inference;
what cannot be found out is None, never a guess. Imports no numpy.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path

from contract.errors import MessageError
from edge_agent.inference import protocol

PATIENCE_S = 5.0
"""A worker greets between two requests: this is longer than a slow model takes for one."""

Tally = Mapping[str, int]
"""Worker's own socket to the requests it has answered until now."""


def take_tally(run_dir: Path, *, patience_s: float = PATIENCE_S) -> Tally | None:
    """Ask every worker of a run folder; None when one that is there does not tell.

    A worker that has just ended, and a model that has none, answer nothing, which is known.

    Args:
        run_dir: Where the agent's workers listen.
        patience_s: Longest time for all of them, seconds.
    """
    ends = time.monotonic() + patience_s
    found: dict[str, int] = {}
    try:
        links = sorted(path for path in run_dir.iterdir() if path.suffix == ".sock" and path.is_symlink())
    except FileNotFoundError:
        return found  # no agent runs
    except OSError:
        return None
    try:
        for link in links:
            worker = os.readlink(link)  # noqa: PTH115 - the name itself, not a path
            if worker in found:
                continue
            answered = _answered(link, max(0.1, ends - time.monotonic()))
            if answered is not None:
                found[worker] = answered
    except (OSError, MessageError):  # one that ends at this very moment, too
        return None
    return found


def requests_between(before: Tally | None, after: Tally | None) -> int | None:
    """Requests that were answered between two tallies; None when a worker came, went or did not tell.

    Args:
        before: The earlier one.
        after: The later one.
    """
    if before is None or after is None or before.keys() != after.keys():
        return None
    return sum(after.values()) - sum(before.values())


def _answered(link: Path, timeout_s: float) -> int | None:
    """What the worker behind a name says; None for what is no worker: a pipeline asks workers, and they count."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        connection.settimeout(timeout_s)
        try:
            connection.connect(os.fspath(link))
        except (ConnectionError, FileNotFoundError):
            return None  # nobody is there: the model rests
        greeting = protocol.parse_welcome(connection.recv(protocol.FRAME_MAX_BYTES))
    if isinstance(greeting, protocol.Failure):
        raise MessageError(greeting.message)
    return greeting.answered if greeting.slot_dir else None
