"""Heat and power in words, for people.

PURE. Rules:

1. What the board does not tell is said to be unknown, never left out and never taken for well.
"""

from __future__ import annotations

from collections.abc import Iterator

from edge_agent.heat.reading import FLAG_WORDS, Reading
from edge_agent.heat.settings import Limits


def describe_reading(reading: Reading, limits: Limits) -> dict[str, str]:
    """A line each for temperature, throttling and battery."""
    return {
        "heat": _temperature(reading, limits),
        "throttled": ", ".join(_throttling(reading)) or "no",
        "battery": _battery(reading),
    }


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
