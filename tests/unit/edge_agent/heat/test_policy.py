"""Every way through the table of levels."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.heat import HeatCause, HeatLevel, HeatReport
from edge_agent.heat.policy import BATTERY_MARGIN, TABLE, State, decide_level, threads_cap
from edge_agent.heat.reading import Battery, Flag, Reading
from edge_agent.heat.settings import HeatSettings, Limits
from edge_agent.heat.words import CAUSE_WORDS, describe_state

LIMITS = Limits(80.0, 85.0)
SETTINGS = HeatSettings(hold_s=60.0, cool_celsius=5.0, low_battery_ratio=0.2)
LEVELS = [row.level for row in TABLE]
COOL = Reading(celsius=50.0)


def hot(celsius: float) -> Reading:
    return Reading(celsius=celsius)


def on_battery(ratio: float, *, is_discharging: bool = True) -> Reading:
    return Reading(battery=Battery(ratio=ratio, is_discharging=is_discharging))


def after(
    *readings: Reading, settings: HeatSettings = SETTINGS, limits: Limits = LIMITS, step_s: float = 1.0
) -> State:
    """The state after readings at even distances."""
    state = State()
    for number, reading in enumerate(readings):
        state = decide_level(state, reading, number * step_s, settings, limits)
    return state


def levels(*readings: Reading, step_s: float = 1.0, settings: HeatSettings = SETTINGS) -> list[HeatLevel]:
    """The level after each."""
    return [
        after(*readings[: count + 1], step_s=step_s, settings=settings).level
        for count in range(len(readings))
    ]


def test_the_table_grows_harder_row_by_row_and_knows_every_level_and_cause_once() -> None:
    assert list(HeatLevel) == LEVELS
    assert sorted(cause for row in TABLE for cause in row.causes) == sorted(HeatCause)
    assert set(CAUSE_WORDS) == set(HeatCause)
    for milder, harder in itertools.pairwise(TABLE):
        assert milder.rate_share > harder.rate_share > 0
        assert milder.threads_share >= harder.threads_share
        assert milder.is_cheaper <= harder.is_cheaper
    assert (TABLE[0].rate_share, TABLE[0].threads_share, TABLE[0].is_cheaper) == (1.0, 1.0, False)


@pytest.mark.parametrize(
    ("reading", "level", "cause"),
    [
        (hot(79.9), HeatLevel.NORMAL, None),
        (hot(80.0), HeatLevel.EASED, HeatCause.SOFT_LIMIT),
        (hot(84.9), HeatLevel.EASED, HeatCause.SOFT_LIMIT),
        (Reading(flags=(Flag.SOFT_LIMIT,)), HeatLevel.EASED, HeatCause.SOFT_LIMIT),
        (Reading(flags=(Flag.FREQUENCY_CAPPED,)), HeatLevel.SLOWED, HeatCause.THROTTLED),
        (Reading(flags=(Flag.THROTTLED,)), HeatLevel.SLOWED, HeatCause.THROTTLED),
        (Reading(flags=(Flag.COOLING,)), HeatLevel.SLOWED, HeatCause.THROTTLED),
        (Reading(flags=(Flag.UNDER_VOLTAGE,)), HeatLevel.SLOWED, HeatCause.UNDER_VOLTAGE),
        (on_battery(0.21), HeatLevel.NORMAL, None),
        (on_battery(0.20), HeatLevel.EASED, HeatCause.LOW_BATTERY),
        (on_battery(0.11), HeatLevel.EASED, HeatCause.LOW_BATTERY),
        (on_battery(0.01, is_discharging=False), HeatLevel.NORMAL, None),
        (Reading(), HeatLevel.NORMAL, None),
    ],
)
def test_the_first_reading_leads_where_its_cause_stands(
    reading: Reading, level: HeatLevel, cause: HeatCause | None
) -> None:
    state = after(reading)
    assert (state.level, state.causes) == (level, () if cause is None else (cause,))
    assert state.is_held_back is (level is not HeatLevel.NORMAL)
    assert state.row().level is level


def test_the_hard_limit_and_an_empty_battery_lead_to_the_last_row_with_the_milder_cause_told_too() -> None:
    assert after(hot(85.0)).causes == (HeatCause.SOFT_LIMIT, HeatCause.HARD_LIMIT)
    assert after(hot(85.0)).level is HeatLevel.LEAST
    assert after(on_battery(0.10)).causes == (HeatCause.LOW_BATTERY, HeatCause.EMPTY_BATTERY)
    assert after(on_battery(0.10)).level is HeatLevel.LEAST


def test_of_several_causes_the_strongest_decides() -> None:
    state = after(Reading(celsius=81.0, flags=(Flag.UNDER_VOLTAGE,)))
    assert state.level is HeatLevel.SLOWED
    assert state.causes == (HeatCause.SOFT_LIMIT, HeatCause.UNDER_VOLTAGE)


def test_a_counter_that_grows_between_two_readings_is_a_cause_and_its_first_value_is_none() -> None:
    first = Reading(counters={"core_throttle_count": 5, "oc1_event_cnt": 9})
    assert after(first).level is HeatLevel.NORMAL
    assert after(first, Reading(counters={"core_throttle_count": 6})).causes == (HeatCause.THROTTLED,)
    assert after(first, Reading(counters={"oc1_event_cnt": 10})).causes == (HeatCause.OVER_CURRENT,)
    assert after(first, first).level is HeatLevel.NORMAL


def test_without_limits_a_temperature_changes_nothing() -> None:
    assert after(hot(120.0), limits=Limits()).level is HeatLevel.NORMAL
    assert after(hot(120.0), limits=Limits(None, 100.0)).causes == (HeatCause.HARD_LIMIT,)


def test_a_battery_that_never_counts_as_low_changes_nothing() -> None:
    settings = HeatSettings(low_battery_ratio=0.0)
    assert after(on_battery(0.0), settings=settings).level is HeatLevel.NORMAL


def test_a_limit_is_let_go_only_so_many_degrees_below() -> None:
    at_once = HeatSettings(hold_s=0.0, cool_celsius=5.0)
    assert levels(hot(80.0), hot(75.0), hot(74.9), settings=at_once) == [
        HeatLevel.EASED,
        HeatLevel.EASED,
        HeatLevel.NORMAL,
    ]
    assert after(hot(75.0)).level is HeatLevel.NORMAL


def test_a_battery_is_low_until_it_is_charged_or_clearly_fuller() -> None:
    at_once = HeatSettings(hold_s=0.0, low_battery_ratio=0.2)
    fuller = on_battery(0.2 + BATTERY_MARGIN + 0.001)
    assert after(on_battery(0.2), on_battery(0.24), settings=at_once).level is HeatLevel.EASED
    assert after(on_battery(0.2), fuller, settings=at_once).level is HeatLevel.NORMAL
    charged = on_battery(0.2, is_discharging=False)
    assert after(on_battery(0.2), charged, settings=at_once).level is HeatLevel.NORMAL
    assert after(on_battery(0.1), on_battery(0.14), settings=at_once).level is HeatLevel.LEAST


def test_the_way_up_is_at_once_and_the_way_down_one_level_at_a_time() -> None:
    way = levels(COOL, hot(90.0), *[COOL] * 10, step_s=30.0)
    assert way == [
        *(HeatLevel.NORMAL, HeatLevel.LEAST),
        *(HeatLevel.LEAST, HeatLevel.LEAST, HeatLevel.SLOWED),
        *(HeatLevel.SLOWED, HeatLevel.EASED),
        *(HeatLevel.EASED, HeatLevel.NORMAL),
        *[HeatLevel.NORMAL] * 3,
    ]


def test_a_board_that_swings_around_a_limit_stays_on_its_level() -> None:
    swings = [hot(86.0), hot(70.0)] * 40
    assert set(levels(*swings, step_s=30.0)) == {HeatLevel.LEAST}


def test_a_milder_cause_holds_its_own_level_on_the_way_down() -> None:
    way = [hot(86.0), *[hot(79.0)] * 20]
    state = after(*way, step_s=30.0)
    assert (state.level, state.causes) == (HeatLevel.EASED, (HeatCause.SOFT_LIMIT,))
    assert state.calm_since_s is None


def test_a_sensor_that_says_nothing_any_more_lets_go_in_time() -> None:
    assert after(hot(90.0), *[Reading()] * 3).level is HeatLevel.LEAST
    assert after(hot(90.0), *[Reading()] * 300).level is HeatLevel.NORMAL


def test_what_is_told_is_of_the_time_when_the_level_was_entered() -> None:
    warm = Reading(celsius=81.0, battery=Battery(ratio=0.5, is_discharging=False))
    state = after(COOL, warm, hot(82.0))
    assert state.report() == HeatReport(
        level=HeatLevel.EASED, causes=(HeatCause.SOFT_LIMIT,), celsius=81.0, battery_ratio=0.5
    )
    assert State().report() == HeatReport()
    assert after(COOL, hot(51.0)).report() == HeatReport(celsius=50.0)


@pytest.mark.parametrize(
    ("level", "budget", "cap"),
    [
        *[(HeatLevel.NORMAL, budget, 0) for budget in (1, 4)],
        *[(HeatLevel.EASED, budget, 0) for budget in (1, 4)],
        *[(HeatLevel.SLOWED, budget, cap) for budget, cap in ((1, 1), (2, 1), (3, 1), (4, 2), (8, 4))],
        *[(HeatLevel.LEAST, budget, 1) for budget in (1, 4, 8)],
    ],
)
def test_threads_are_halved_and_then_one(level: HeatLevel, budget: int, cap: int) -> None:
    assert threads_cap(TABLE[LEVELS.index(level)], budget) == cap


def test_a_level_is_described_with_its_causes() -> None:
    assert describe_state(after(hot(85.25))) == (
        "least: the soft temperature limit was reached, the hard temperature limit was reached, 85.2 °C"
    )
    assert describe_state(after(on_battery(0.2))) == "eased: the battery is low, battery at 20%"
    assert describe_state(State()) == "normal: no cause is left"


READINGS = st.builds(
    Reading,
    celsius=st.none() | st.floats(20, 120),
    flags=st.lists(st.sampled_from(list(Flag)), unique=True, max_size=2).map(tuple),
    counters=st.dictionaries(st.sampled_from(["oc1_event_cnt", "core_throttle_count"]), st.integers(0, 3)),
    battery=st.none() | st.builds(Battery, ratio=st.floats(0, 1), is_discharging=st.booleans()),
)


@given(st.lists(st.tuples(READINGS, st.floats(0, 100)), max_size=30))
def test_no_way_through_the_table_skips_a_level_down_or_holds_back_less_than_a_cause_asks(
    way: list[tuple[Reading, float]],
) -> None:
    state, now_s, left_at_s = State(), 0.0, -1e9
    for reading, step_s in way:
        now_s += step_s
        before, state = state, decide_level(state, reading, now_s, SETTINGS, LIMITS)
        place, place_before = LEVELS.index(state.level), LEVELS.index(before.level)
        asked = max((LEVELS.index(row.level) for row in TABLE if row.causes & set(state.causes)), default=0)
        assert place >= asked
        assert place >= place_before - 1
        if place < place_before:
            assert now_s - left_at_s >= SETTINGS.hold_s or left_at_s < 0
            left_at_s = now_s
        elif place > place_before:
            left_at_s = now_s
            assert place == asked
