"""Heat and power in words, for people.

PURE. Rules:

1. What the board does not tell is said to be unknown, never left out and never taken for well.
"""

from __future__ import annotations

from collections.abc import Iterator

from contract.heat import HeatCause
from edge_agent.heat.policy import State
from edge_agent.heat.reading import FLAG_WORDS, Reading
from edge_agent.heat.settings import Limits

CAUSE_WORDS = {
    HeatCause.SOFT_LIMIT: "the soft temperature limit was reached",
    HeatCause.HARD_LIMIT: "the hard temperature limit was reached",
    HeatCause.THROTTLED: "the board slows its processor",
    HeatCause.UNDER_VOLTAGE: "the supply voltage is too low",
    HeatCause.OVER_CURRENT: "the supply current is too high",
    HeatCause.LOW_BATTERY: "the battery is low",
    HeatCause.EMPTY_BATTERY: "the battery is nearly empty",
}


def describe_reading(reading: Reading, limits: Limits) -> dict[str, str]:
    """A line each for temperature, throttling and battery."""
    return {
        "heat": _temperature(reading, limits),
        "throttled": ", ".join(_throttling(reading)) or ("no" if reading.knows_throttling else "unknown"),
        "battery": _battery(reading),
    }


def describe_state(state: State) -> str:
    """A level and why it holds, in a line."""
    seen = state.reading or Reading()
    facts = [CAUSE_WORDS[cause] for cause in state.causes]
    facts += [f"{seen.celsius:.1f} °C"] if seen.celsius is not None else []
    facts += [f"battery at {seen.battery.ratio:.0%}"] if seen.battery is not None else []
    return f"{state.level.value}: {', '.join(facts) or 'no cause is left'}"


def _temperature(reading: Reading, limits: Limits) -> str:
    parts = ["no sensor that can be read"]
    if reading.celsius is not None:
        parts = [f"{reading.celsius:.1f} °C ({reading.sensor})"]
    for name, limit in (("soft", limits.soft_celsius), ("hard", limits.hard_celsius)):
        if limit is not None:
            is_over = reading.celsius is not None and reading.celsius >= limit
            parts.append(f"{name} limit {limit:g} °C" + (", REACHED" if is_over else ""))
    return ", ".join(parts)


def _throttling(reading: Reading) -> Iterator[str]:
    yield from (FLAG_WORDS[flag] for flag in reading.flags)
    if reading.frequency_ratio is not None and reading.frequency_ratio < 1:
        yield f"the processor may run at {reading.frequency_ratio:.0%} of its highest frequency"
    for name, count in reading.counters.items():
        if count:
            yield f"{name} {count} since the start"


def _battery(reading: Reading) -> str:
    if reading.battery is None:
        return "none"
    return f"{reading.battery.ratio:.0%}, {'discharging' if reading.battery.is_discharging else 'not discharging'}"
