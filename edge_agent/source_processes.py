"""The processes that feed configured sources to the models: one child each.

Guarantees: those of ``edge_agent.children``; what a source loses is told, not only counted. Knows nothing of images.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from edge_agent.children import Children
from edge_agent.inference.sources.settings import Source
from edge_agent.inference.sources.tally import Counts, OverloadWatch, decode_counts

MODULE = "edge_agent.inference.sources"


class SourceProcesses(Children):
    """All sources of the configuration.

    Args:
        sources: Which.
        run_dir: Where the models are reached.
    """

    def __init__(self, sources: Sequence[Source], run_dir: Path) -> None:
        super().__init__(
            ((f"source of {source.model}", source_command(run_dir)) for source in sources), tells=True
        )
        self._sources = tuple(sources)
        self._watches = [OverloadWatch() for _ in sources]
        self._rate_share = 1.0
        self.counts: list[Counts] = [Counts() for _ in sources]
        """What each source told last, in the order of the configuration."""

    def set_rate(self, share: float) -> None:
        """Run all sources at a share of their configured rates, from now on and after restarts.

        Args:
            share: Above 0, to 1.
        """
        if share != self._rate_share:
            self._rate_share = share
            self._order_all(self._rate_order())

    def _rate_order(self) -> bytes:
        return msgspec.json.encode({"rate_share": self._rate_share}) + b"\n"

    def _has_started(self, number: int, process: subprocess.Popen[bytes]) -> None:
        # Not in its arguments, which every user of the board can read: an address may hold a password.
        self._order(process, msgspec.json.encode(self._sources[number]) + b"\n")
        if self._rate_share < 1.0:
            self._order(process, self._rate_order())

    def news(self, now_s: float) -> list[tuple[str, str]]:
        """What an operator has to know of sources since the last time: model and words.

        Args:
            now_s: Monotonic time, seconds.
        """
        found: list[tuple[str, str]] = []
        for number, line in self._hear():
            counts = decode_counts(line)
            if counts is None:
                continue
            self.counts[number] = counts
            words = self._watches[number].take(counts, now_s)
            if words:
                source = self._sources[number]
                found.append((source.model, f"source {number} ({source.kind}): {words}"))
        return found


def source_command(run_dir: Path) -> tuple[str, ...]:
    """How a source's process is started; its settings are the first line of its standard input."""
    return (sys.executable, "-m", MODULE, "--run-dir", str(run_dir), "--tells")
