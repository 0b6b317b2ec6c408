"""Child processes of the agent that are no workers: kept running, started again when they end.

Guarantees: no child outlives ``join``; one that ends again and again is started with growing pauses. Knows nothing of
what they do: a child loads its own libraries, and the main process none of them.
"""

from __future__ import annotations

import contextlib
import logging
import os
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
_HEAR_BYTES = 64 * 1024
_LINE_MAX_BYTES = 16 * 1024

logger = logging.getLogger(__name__)


@dataclass(eq=False)
class _Child:
    command: tuple[str, ...]
    name: str
    process: subprocess.Popen[bytes] | None = None
    started_s: float = 0.0
    next_start_s: float = 0.0
    failures: int = 0
    rest: bytes = b""


class Children:
    """Some children. Not thread-safe, its owner is one thread.

    Args:
        commands: Name of each child for the log, and how it is started. It ends when its standard input does.
        tells: Whether what they write to standard output is kept for ``_hear``.
    """

    def __init__(self, commands: Iterable[tuple[str, tuple[str, ...]]], *, tells: bool = False) -> None:
        self._tells = tells
        self._children = [_Child(command, name) for name, command in commands]

    def tick(self, now_s: float) -> None:
        """Start what should run and does not.

        Args:
            now_s: Monotonic time, seconds.
        """
        for number, child in enumerate(self._children):
            if child.process is not None and child.process.poll() is not None:
                self._note_end(child, child.process.returncode, now_s)
            if child.process is None and now_s >= child.next_start_s:
                stdout = subprocess.PIPE if self._tells else None
                child.process = subprocess.Popen(child.command, stdin=subprocess.PIPE, stdout=stdout)
                child.started_s = now_s
                for pipe in (child.process.stdin, child.process.stdout):
                    if pipe is not None:
                        os.set_blocking(pipe.fileno(), False)
                self._has_started(number, child.process)

    def _has_started(self, number: int, process: subprocess.Popen[bytes]) -> None:
        """What a new child is told first, by its number in the order of the commands."""

    def _order(self, process: subprocess.Popen[bytes], line: bytes) -> None:
        """Write to a child's standard input; one that does not read is not waited for."""
        assert process.stdin is not None  # noqa: S101 - it was started with one
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            os.write(process.stdin.fileno(), line)

    def _order_all(self, line: bytes) -> None:
        for child in self._children:
            if child.process is not None:
                self._order(child.process, line)

    def _hear(self) -> list[tuple[int, bytes]]:
        """The lines that children have written since the last time: number of the child, and line, bounded."""
        heard: list[tuple[int, bytes]] = []
        for number, child in enumerate(self._children):
            if child.process is None or child.process.stdout is None:
                continue
            with contextlib.suppress(BlockingIOError):
                content = os.read(child.process.stdout.fileno(), _HEAR_BYTES)
                *lines, rest = (child.rest + content).split(b"\n")
                child.rest = rest[-_LINE_MAX_BYTES:]
                heard += [(number, line) for line in lines]
        return heard

    def _note_end(self, child: _Child, code: int, now_s: float) -> None:
        _close_pipes(child)
        child.process = None
        child.rest = b""
        child.failures = 1 if now_s - child.started_s >= STEADY_S else child.failures + 1
        pause_s = BACKOFF.delay_s(child.failures, random.uniform(0.5, 1.0))  # noqa: S311 - spreads load only
        child.next_start_s = now_s + pause_s
        logger.warning("%s ended (%d), started again in %.1f s", child.name, code, pause_s)

    def stop(self) -> None:
        """Ask all to end."""
        for child in self._children:
            if child.process is not None:
                _close_pipes(child)
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


def _close_pipes(child: _Child) -> None:
    assert child.process is not None  # noqa: S101 - only called for one that was started
    for pipe in (child.process.stdin, child.process.stdout):
        if pipe is not None:
            pipe.close()
