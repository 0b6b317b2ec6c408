"""Notices when a model runs on something else than was asked for.

PURE. Rules:

1. A fall-back is told once per model, version and pair of delegates, and again after the model ran as asked for.
2. What counts is the window that a worker told: it says what runs, not what was intended.
"""

from __future__ import annotations

from collections.abc import Iterable

from contract.delegation import DelegateReport
from contract.messages import TelemetryWindow


class FallbackWatch:
    """Remembers what was told. Not thread-safe, its owner is one thread."""

    def __init__(self) -> None:
        self._told: dict[str, tuple[str, str, str]] = {}

    def take(self, windows: Iterable[TelemetryWindow]) -> list[tuple[TelemetryWindow, str]]:
        """Look at windows; those whose fall-back is news, each with its words."""
        news: list[tuple[TelemetryWindow, str]] = []
        for window in windows:
            report = window.delegate
            if report is None or not report.is_fallback:
                self._told.pop(window.model, None)
                continue
            seen = (window.version, report.requested, report.actual)
            if self._told.get(window.model) != seen:
                self._told[window.model] = seen
                news.append((window, describe_fallback(report)))
        return news


def describe_fallback(report: DelegateReport) -> str:
    """A fall-back in a line for people."""
    return f"runs on {report.actual} instead of {report.requested}: {report.reason or 'no reason was given'}"
