"""Adds heat and power to what the update part reports, which knows nothing of them."""

from __future__ import annotations

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
        self.send_change: Callable[[DeploymentChange], None] = reporter.send_change
        self.send_event: Callable[[Event], None] = reporter.send_event

    def send_reported(self, reported: Reported) -> None:
        """See ``Reporter``."""
        self._reporter.send_reported(msgspec.structs.replace(reported, heat=self._heat()))
