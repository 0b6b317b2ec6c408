"""What is done about heat and power: one table, and how a device moves in it.

PURE. Rules:

1. ``TABLE`` has a row a level: which causes lead there, and what is done there. Of all causes that hold, the one whose
   row is lowest in the table decides.
2. Up at once, down slowly: a level is left for the next milder one after ``hold_s`` in which nothing asked for it, and
   that one is held as long again. So a board that swings around a limit does not swing between levels.
3. A temperature limit that was reached is let go ``cool_celsius`` below it; a battery that was low, when it is charged
   or ``BATTERY_MARGIN`` fuller.
4. What is not known asks for nothing: a board without sensors runs as it is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from contract.heat import HeatCause, HeatLevel, HeatReport
from edge_agent.heat.reading import Flag, Reading, grown
from edge_agent.heat.settings import HeatSettings, Limits

BATTERY_MARGIN = 0.05
EMPTY_BATTERY = 0.5
"""Of the share at which the battery is low: there it is nearly empty."""


@dataclass(frozen=True)
class Row:
    """A level.

    Attributes:
        level: Its name.
        causes: What leads there.
        rate_share: Share of their rates at which sources run, above 0, to 1.
        threads_share: Share of the profile's threads that an interpreter may have, rounded down, one at least.
        is_cheaper: Whether models run as their cheaper variant, where one is on the device.
    """

    level: HeatLevel
    causes: frozenset[HeatCause]
    rate_share: float
    threads_share: float
    is_cheaper: bool


TABLE = (
    Row(HeatLevel.NORMAL, frozenset(), 1.0, 1.0, is_cheaper=False),
    Row(
        HeatLevel.EASED,
        frozenset({HeatCause.SOFT_LIMIT, HeatCause.LOW_BATTERY}),
        rate_share=0.5,
        threads_share=1.0,
        is_cheaper=False,
    ),
    Row(
        HeatLevel.SLOWED,
        frozenset({HeatCause.THROTTLED, HeatCause.UNDER_VOLTAGE, HeatCause.OVER_CURRENT}),
        rate_share=0.33,
        threads_share=0.5,
        is_cheaper=False,
    ),
    Row(
        HeatLevel.LEAST,
        frozenset({HeatCause.HARD_LIMIT, HeatCause.EMPTY_BATTERY}),
        rate_share=0.2,
        threads_share=0.0,
        is_cheaper=True,
    ),
)
"""From mild to hard. The soft limit comes before what the board does about heat by itself, so that it need not;
under-voltage comes of too much current at once, and that of many threads."""
_PLACE = {row.level: place for place, row in enumerate(TABLE)}

_OF_FLAG = {
    Flag.UNDER_VOLTAGE: HeatCause.UNDER_VOLTAGE,
    Flag.FREQUENCY_CAPPED: HeatCause.THROTTLED,
    Flag.THROTTLED: HeatCause.THROTTLED,
    Flag.SOFT_LIMIT: HeatCause.SOFT_LIMIT,
    Flag.COOLING: HeatCause.THROTTLED,
}
_OVER_CURRENT_PREFIX = "oc"


@dataclass(frozen=True)
class State:
    """Where a device is in the table.

    Attributes:
        level: The level.
        causes: What holds now, in the order of ``HeatCause``.
        reading: The last one; None before the first.
        entered: The reading with which the level was entered; None before the first.
        calm_since_s: Since when nothing has asked for the level, monotonic; None while something does.
    """

    level: HeatLevel = HeatLevel.NORMAL
    causes: tuple[HeatCause, ...] = ()
    reading: Reading | None = None
    entered: Reading | None = None
    calm_since_s: float | None = None

    @property
    def is_held_back(self) -> bool:
        """Whether the board is slowed, or the agent slows it: then no measure shows what it can do."""
        return self.level is not HeatLevel.NORMAL

    def row(self) -> Row:
        """What is done."""
        return TABLE[_PLACE[self.level]]

    def report(self) -> HeatReport:
        """What is told."""
        seen = self.entered or Reading()
        return HeatReport(
            level=self.level,
            causes=self.causes,
            celsius=seen.celsius,
            battery_ratio=None if seen.battery is None else seen.battery.ratio,
        )


def decide_level(
    state: State, reading: Reading, now_s: float, settings: HeatSettings, limits: Limits
) -> State:
    """Where a device is after a reading.

    Args:
        state: Before.
        reading: What its sensors say.
        now_s: Monotonic time, seconds.
        settings: The agent's.
        limits: In force on this board.
    """
    if state.reading is None:
        state = replace(state, entered=reading)
    causes = _causes(state, reading, settings, limits)
    wanted = max((_place_of(cause) for cause in causes), default=0)
    place = _PLACE[state.level]
    if wanted > place:
        return State(TABLE[wanted].level, causes, reading, reading)
    if wanted == place:
        return State(state.level, causes, reading, state.entered)
    calm_since_s = now_s if state.calm_since_s is None else state.calm_since_s
    if now_s - calm_since_s < settings.hold_s:
        return State(state.level, causes, reading, state.entered, calm_since_s)
    milder = TABLE[place - 1].level
    return State(milder, causes, reading, reading, None if wanted == place - 1 else now_s)


def threads_cap(row: Row, budget: int) -> int:
    """Most threads of an interpreter at a level; 0 for as many as without heat.

    Args:
        row: The level's.
        budget: Threads of the board's profile.
    """
    return 0 if row.threads_share == 1 else max(1, int(budget * row.threads_share))


def _place_of(cause: HeatCause) -> int:
    return next(place for place, row in enumerate(TABLE) if cause in row.causes)


def _causes(state: State, reading: Reading, settings: HeatSettings, limits: Limits) -> tuple[HeatCause, ...]:
    found = {_OF_FLAG[flag] for flag in reading.flags}
    if state.reading is not None:
        found |= {_of_counter(name) for name in grown(state.reading, reading)}
    if reading.celsius is not None:
        for cause, limit in (
            (HeatCause.SOFT_LIMIT, limits.soft_celsius),
            (HeatCause.HARD_LIMIT, limits.hard_celsius),
        ):
            margin = settings.cool_celsius if cause in state.causes else 0.0
            if limit is not None and reading.celsius >= limit - margin:
                found.add(cause)
    return tuple(cause for cause in HeatCause if cause in found | _of_battery(state, reading, settings))


def _of_counter(name: str) -> HeatCause:
    return HeatCause.OVER_CURRENT if name.startswith(_OVER_CURRENT_PREFIX) else HeatCause.THROTTLED


def _of_battery(state: State, reading: Reading, settings: HeatSettings) -> set[HeatCause]:
    if reading.battery is None or not reading.battery.is_discharging or not settings.low_battery_ratio:
        return set()
    found: set[HeatCause] = set()
    for cause, share in ((HeatCause.LOW_BATTERY, 1.0), (HeatCause.EMPTY_BATTERY, EMPTY_BATTERY)):
        margin = BATTERY_MARGIN if cause in state.causes else 0.0
        if reading.battery.ratio <= settings.low_battery_ratio * share + margin:
            found.add(cause)
    return found
