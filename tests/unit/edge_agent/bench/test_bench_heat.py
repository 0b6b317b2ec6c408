from __future__ import annotations

from collections.abc import Sequence

import pytest

from contract.bench import BenchHeat
from edge_agent.bench.heat import SensorWatch, worst_of
from edge_agent.heat.reading import Flag, Reading

COOL = Reading(celsius=50.0, frequency_ratio=1.0, knows_throttling=True)
SLOWER = Reading(frequency_ratio=0.5, knows_throttling=True)
Seen = Sequence[bool | None]


@pytest.mark.parametrize(
    ("readings", "soft", "seen"),
    [
        ([Reading(), Reading()], None, [None, None]),
        ([Reading(celsius=90.0)] * 2, None, [None, None]),
        ([Reading()] * 2, 80.0, [None, None]),
        ([COOL, COOL], None, [False, False]),
        ([Reading(frequency_ratio=1.0)] * 2, None, [None, None]),
        ([Reading(celsius=50.0)] * 2, 80.0, [False, False]),
        ([Reading(celsius=50.0), Reading(celsius=80.0)], 80.0, [False, True]),
        ([Reading(counters={"core": 3}, knows_throttling=True)] * 2, None, [False, False]),
        (
            [Reading(counters={"core": 3}, knows_throttling=True), Reading(counters={"core": 4})],
            None,
            [False, True],
        ),
        ([Reading(flags=(Flag.COOLING,)), Reading(), Reading()], None, [True, True, None]),
        ([COOL, SLOWER, SLOWER], None, [False, True, False]),
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


def test_several_looks_are_as_bad_as_the_worst() -> None:
    cool = BenchHeat(is_throttled=False, celsius=50.0)
    hot = BenchHeat(is_throttled=True, celsius=85.0, cause="hot")
    assert worst_of([cool, hot, cool, hot]) == hot
    assert worst_of([BenchHeat(celsius=60.0), BenchHeat()]) == BenchHeat(celsius=60.0)
    assert worst_of([BenchHeat(), cool]) == cool
    assert worst_of([]) == BenchHeat()


def test_what_was_noted_meanwhile_is_in_the_next_look_and_in_no_other() -> None:
    hot = Reading(celsius=85.0, flags=(Flag.THROTTLED,), knows_throttling=True)
    told = iter([COOL, hot, COOL, COOL, COOL])
    watch = SensorWatch(lambda: next(told), None)
    watch.look()
    watch.glance()
    watch.glance()
    look = watch.look()
    assert (look.is_throttled, look.celsius) == (True, 85.0)
    assert watch.look() == BenchHeat(is_throttled=False, celsius=50.0)
