from __future__ import annotations

from collections.abc import Sequence

import pytest

from contract.bench import BenchHeat
from edge_agent.bench.heat import SensorWatch
from edge_agent.heat.reading import Flag, Reading

COOL = Reading(celsius=50.0, frequency_ratio=1.0)
Seen = Sequence[bool | None]


@pytest.mark.parametrize(
    ("readings", "soft", "seen"),
    [
        ([Reading(), Reading()], None, [None, None]),
        ([Reading(celsius=90.0)] * 2, None, [None, None]),
        ([Reading()] * 2, 80.0, [None, None]),
        ([COOL, COOL], None, [False, False]),
        ([Reading(celsius=50.0)] * 2, 80.0, [False, False]),
        ([Reading(celsius=50.0), Reading(celsius=80.0)], 80.0, [False, True]),
        ([Reading(counters={"core": 3})] * 2, None, [False, False]),
        ([Reading(counters={"core": 3}), Reading(counters={"core": 4})], None, [False, True]),
        ([Reading(flags=(Flag.COOLING,)), Reading(), Reading()], None, [True, True, None]),
        ([COOL, Reading(frequency_ratio=0.5), Reading(frequency_ratio=0.5)], None, [False, True, False]),
    ],
)
def test_throttled_is_what_holds_or_happened_since_the_last_look(
    readings: list[Reading], soft: float | None, seen: Seen
) -> None:
    told = iter(readings)
    watch = SensorWatch(lambda: next(told), soft)
    assert [watch.look().is_throttled for _ in readings] == list(seen)


def test_the_temperature_and_every_cause_are_told() -> None:
    reading = Reading(celsius=81.5, flags=(Flag.UNDER_VOLTAGE, Flag.THROTTLED))
    assert SensorWatch(lambda: reading, 80.0).look() == BenchHeat(
        is_throttled=True,
        celsius=81.5,
        cause="the supply voltage is too low; the firmware throttles the processor; "
        "81.5 °C reach the soft limit of 80 °C",
    )
