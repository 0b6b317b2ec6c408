"""Adds heat and power to what the update part reports, which knows nothing of them.

Guarantees: a report carries the newest heat; what changed is told at once, also while the update part is busy with
something that takes long. Thread-safe, and never waits for anything but another report.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import msgspec

from contract.heat import HeatReport
from contract.messages import DeploymentChange, Event, Reported
from edge_agent.update.doors import Reporter


class HeatReporter:
    """Implements ``edge_agent.update.doors.Reporter``.

    Args:
        reporter: Who is told.
        heat: What is told of heat and power.
    """

    def __init__(self, reporter: Reporter, heat: Callable[[], HeatReport | None]) -> None:
        self._heat = heat
        self._reporter = reporter
        self._lock = threading.Lock()
        self._last: Reported | None = None
        self.send_change: Callable[[DeploymentChange], None] = reporter.send_change
        self.send_event: Callable[[Event], None] = reporter.send_event

    def send_reported(self, reported: Reported) -> None:
        """See ``Reporter``."""
        with self._lock:
            self._last = reported
            self._send(reported)

    def tell_again(self) -> None:
        """Send the last report again, with the heat of now; nothing before the first."""
        with self._lock:
            if self._last is not None:
                self._send(self._last)

    def _send(self, reported: Reported) -> None:
        self._reporter.send_reported(msgspec.structs.replace(reported, heat=self._heat()))
