"""Child processes of the agent that are no workers: kept running, started again when they end.

Guarantees: no child outlives ``join``; one that ends again and again is started with growing pauses. Knows nothing of
what they do: a child loads its own libraries, and the main process none of them.
"""

from __future__ import annotations

import logging
import random
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass

from edge_agent.backoff import Backoff

BACKOFF = Backoff(base_s=2.0, cap_s=60.0)
STEADY_S = 60.0
"""A child that ran this long was well: the next pause starts small."""
_END_S = 1.0

logger = logging.getLogger(__name__)


@dataclass(eq=False)
class _Child:
    command: tuple[str, ...]
    name: str
    process: subprocess.Popen[bytes] | None = None
    started_s: float = 0.0
    next_start_s: float = 0.0
    failures: int = 0


class Children:
    """Some children. Not thread-safe, its owner is one thread.

    Args:
        commands: Name of each child for the log, and how it is started. It ends when its standard input does.
    """

    def __init__(self, commands: Iterable[tuple[str, tuple[str, ...]]]) -> None:
        self._children = [_Child(command, name) for name, command in commands]

    def tick(self, now_s: float) -> None:
        """Start what should run and does not.

        Args:
            now_s: Monotonic time, seconds.
        """
        for child in self._children:
            if child.process is not None and child.process.poll() is not None:
                self._note_end(child, child.process.returncode, now_s)
            if child.process is None and now_s >= child.next_start_s:
                child.process = subprocess.Popen(child.command, stdin=subprocess.PIPE)
                child.started_s = now_s

    def _note_end(self, child: _Child, code: int, now_s: float) -> None:
        _close_stdin(child)
        child.process = None
        child.failures = 1 if now_s - child.started_s >= STEADY_S else child.failures + 1
        pause_s = BACKOFF.delay_s(child.failures, random.uniform(0.5, 1.0))  # noqa: S311 - spreads load only
        child.next_start_s = now_s + pause_s
        logger.warning("%s ended (%d), started again in %.1f s", child.name, code, pause_s)

    def stop(self) -> None:
        """Ask all to end."""
        for child in self._children:
            if child.process is not None:
                _close_stdin(child)
                child.process.terminate()

    def join(self) -> None:
        """Wait for the end of all; those that do not end are killed."""
        deadline = time.monotonic() + _END_S
        for child in self._children:
            if child.process is None:
                continue
            try:
                child.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.process.kill()
                child.process.wait()


def _close_stdin(child: _Child) -> None:
    if child.process is not None and child.process.stdin is not None:
        child.process.stdin.close()
