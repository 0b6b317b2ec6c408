"""How the agent hears what its other processes refuse: both ends of a pipe, the child's standard output.

Guarantees: an agent that does not read is not waited for; what a child writes that is no totals is passed over.
"""

from __future__ import annotations

import contextlib
import os
import sys

from edge_agent.children import Children
from edge_agent.overload import OverloadWatch, Totals, decode_totals, encode_totals

TELLS = "--tells"
"""Argument of a child that is to tell."""


class Teller:
    """The child's end. Not thread-safe.

    Args:
        descriptor: Where to write; None where nobody listens.
    """

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor
        self._told: Totals = {}
        if descriptor is not None:
            os.set_blocking(descriptor, False)

    def tell(self, totals: Totals) -> None:
        """Tell totals where they have changed."""
        if self._descriptor is None or totals == self._told:
            return
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            os.write(self._descriptor, encode_totals(totals))
            self._told = {name: dict(counts) for name, counts in totals.items()}


def teller_of(*, tells: bool) -> Teller:
    """The end of this process; from now on nothing else gets to its standard output."""
    if not tells:
        return Teller(None)
    reports = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return Teller(reports)


class RefusingChild(Children):
    """The agent's end: a child that tells what it refuses, or none.

    Args:
        name: For the log.
        command: How it is started; None for no child.
    """

    def __init__(self, name: str, command: tuple[str, ...] | None) -> None:
        super().__init__([] if command is None else [(name, (*command, TELLS))], tells=True)
        self._watch = OverloadWatch()

    def news(self, now_s: float) -> list[tuple[str, str]]:
        """What an operator has to know since the last time: model, or empty for all of them, and words.

        Args:
            now_s: Monotonic time, seconds.
        """
        found: list[tuple[str, str]] = []
        for _, line in self._hear():
            totals = decode_totals(line)
            if totals is not None:
                found += self._watch.take(totals, now_s)
        return found
