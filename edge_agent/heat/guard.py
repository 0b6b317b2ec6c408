"""What the agent does about heat and power now: the newest state of the policy, for everybody who acts on it.

Guarantees: a state is replaced as a whole, so any thread may ask at any time; with ``heat.enabled`` false nothing is
held back, and everything is told and marked all the same. Reads no sensor and acts on nothing itself.
"""

from __future__ import annotations

import logging

from contract.heat import HeatReport
from contract.profile import Profile
from edge_agent.heat.policy import TABLE, Row, State, decide_level, threads_cap
from edge_agent.heat.reading import Reading
from edge_agent.heat.settings import HeatSettings, limits_of
from edge_agent.heat.words import describe_state

logger = logging.getLogger(__name__)


class HeatGuard:
    """Where this device is in the table. One thread calls ``take``, any thread the rest.

    Args:
        settings: The agent's.
        profile: The board's.
    """

    def __init__(self, settings: HeatSettings, profile: Profile) -> None:
        self._settings = settings
        self._limits = limits_of(settings, profile.thermal)
        self._budget = profile.threads
        self._state = State()
        self._told = self._state.level

    def take(self, reading: Reading, now_s: float) -> bool:
        """Take a reading; whether something about it is new for the server.

        Args:
            reading: Of the sensors.
            now_s: Monotonic time, seconds.
        """
        before = self._state
        self._state = decide_level(before, reading, now_s, self._settings, self._limits)
        return (before.reading is None, before.level, before.causes) != (
            False,
            self._state.level,
            self._state.causes,
        )

    def news(self) -> str:
        """The level in words when it is another than at the last call; else empty."""
        level = self._state.level
        if level is self._told:
            return ""
        self._told = level
        words = f"{describe_state(self._state)}; {self._measures()}"
        logger.warning("heat and power: %s", words)
        return words

    def _measures(self) -> str:
        if not self._settings.enabled:
            return "nothing is done, heat.enabled is false"
        cap = self.threads_cap()
        parts = [f"sources run at {self.rate_share:.0%} of their rates"]
        parts += [f"models with {cap} threads at most"] if cap else []
        parts += ["those with a cheaper variant as that"] if self.is_saving() else []
        return ", ".join(parts)

    def report(self) -> HeatReport | None:
        """What is told; None before the first reading."""
        return None if self._state.reading is None else self._state.report()

    @property
    def is_held_back(self) -> bool:
        """Whether the board is slowed, or the agent slows it."""
        return self._state.is_held_back

    @property
    def rate_share(self) -> float:
        """Share of their rates at which sources are to run."""
        return self._row().rate_share

    def threads_cap(self) -> int:
        """Most threads of an interpreter; 0 for as many as without heat."""
        return threads_cap(self._row(), self._budget)

    def is_saving(self) -> bool:
        """Whether models are to run as their cheaper variant, where one is on the device."""
        return self._settings.cheaper_variant and self._row().is_cheaper

    def _row(self) -> Row:
        return self._state.row() if self._settings.enabled else TABLE[0]
