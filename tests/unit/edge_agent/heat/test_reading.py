"""What flags, counters and limits of two readings say together."""

from __future__ import annotations

import pytest

from edge_agent.heat.reading import (
    FLAG_WORDS,
    Battery,
    Flag,
    Reading,
    grown,
    parse_firmware_flags,
    plausible,
    why_slowed,
)
from edge_agent.heat.settings import HeatSettings, Limits, heat_faults, limits_of, sensor_of
from edge_agent.heat.words import describe_reading
from firmware_profiles import load_profile

PI = load_profile("raspberry-pi-4").thermal
ALL = frozenset({Flag.UNDER_VOLTAGE, Flag.FREQUENCY_CAPPED, Flag.THROTTLED, Flag.SOFT_LIMIT})


@pytest.mark.parametrize(
    ("text", "flags"),
    [
        ("throttled=0x0\n", frozenset()),
        ("throttled=0x50005\n", frozenset({Flag.UNDER_VOLTAGE, Flag.THROTTLED})),
        ("50005\n", frozenset({Flag.UNDER_VOLTAGE, Flag.THROTTLED})),
        ("0xE0000", frozenset()),
        ("f000f", ALL),
        ("8", frozenset({Flag.SOFT_LIMIT})),
        ("2", frozenset({Flag.FREQUENCY_CAPPED})),
        ("", None),
        ("throttled=", None),
        ("error=1", None),
        ("123456789", None),
    ],
)
def test_the_firmwares_present_bits_are_flags_and_its_past_ones_are_not(
    text: str, flags: frozenset[Flag] | None
) -> None:
    assert parse_firmware_flags(text) == flags


def test_what_drivers_say_of_a_sensor_that_is_off_is_no_temperature() -> None:
    assert [plausible(celsius) for celsius in (-274.0, -50.0, -20.0, 0.0, 104.5, 150.0, 255.0)] == [
        *(False, False, True, True, True, False, False)
    ]


def test_only_a_counter_that_both_readings_have_can_have_grown() -> None:
    before = Reading(counters={"a": 1, "b": 5, "c": 0})
    assert grown(before, Reading(counters={"a": 2, "b": 5, "new": 7})) == ("a",)
    assert grown(Reading(), before) == ()


def test_a_quiet_board_slowed_nothing() -> None:
    quiet = Reading(celsius=50.0, counters={"a": 3}, frequency_ratio=0.8)
    assert why_slowed(quiet, quiet, soft_celsius=80.0) == ()
    assert why_slowed(Reading(), Reading()) == ()
    assert why_slowed(Reading(celsius=99.0), Reading()) == ()
    assert why_slowed(Reading(), Reading(), soft_celsius=80.0) == ()


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        (Reading(flags=(Flag.COOLING,)), Reading(), FLAG_WORDS[Flag.COOLING]),
        (Reading(), Reading(flags=(Flag.UNDER_VOLTAGE,)), FLAG_WORDS[Flag.UNDER_VOLTAGE]),
        (Reading(counters={"n": 1}), Reading(counters={"n": 2}), "the counter n has grown"),
        (
            Reading(frequency_ratio=1.0),
            Reading(frequency_ratio=0.5),
            "the processor's highest frequency fell from 100% to 50% of what it can",
        ),
        (Reading(celsius=80.04), Reading(), "80.0 °C reach the soft limit of 80 °C"),
        (Reading(celsius=70.0), Reading(celsius=84.26), "84.3 °C reach the soft limit of 80 °C"),
    ],
)
def test_whatever_slowed_the_board_at_either_end_or_between_is_a_reason(
    before: Reading, after: Reading, why: str
) -> None:
    assert why_slowed(before, after, soft_celsius=80.0) == (why,)


def test_a_frequency_limit_that_was_lifted_is_no_reason() -> None:
    assert why_slowed(Reading(frequency_ratio=0.5), Reading(frequency_ratio=1.0)) == ()


def test_every_flag_has_words() -> None:
    assert set(FLAG_WORDS) == set(Flag)


def test_the_configuration_comes_before_the_profile() -> None:
    assert PI is not None
    assert limits_of(HeatSettings(), PI) == Limits(80.0, 85.0)
    assert limits_of(HeatSettings(soft_celsius=60.0, hard_celsius=70.0), PI) == Limits(60.0, 70.0)
    assert limits_of(HeatSettings(), None) == Limits(None, None)
    assert limits_of(HeatSettings(hard_celsius=90.0), None) == Limits(None, 90.0)
    assert sensor_of(HeatSettings(), None) == ""
    assert sensor_of(HeatSettings(), PI) == "/sys/class/thermal/thermal_zone0/temp"
    assert sensor_of(HeatSettings(sensor="/x"), PI) == "/x"


def test_limits_the_wrong_way_round_are_a_fault() -> None:
    assert heat_faults(HeatSettings()) == []
    assert heat_faults(HeatSettings(soft_celsius=80.0)) == []
    assert heat_faults(HeatSettings(hard_celsius=80.0)) == []
    assert heat_faults(HeatSettings(soft_celsius=80.0, hard_celsius=85.0)) == []
    for soft in (85.0, 90.0):
        (fault,) = heat_faults(HeatSettings(soft_celsius=soft, hard_celsius=85.0))
        assert "must be below" in fault


def test_a_board_that_tells_nothing_is_told_so() -> None:
    assert describe_reading(Reading(), Limits()) == {
        "heat": "no sensor that can be read",
        "throttled": "unknown",
        "battery": "none",
    }
    assert describe_reading(Reading(), Limits(80.0)) == {
        "heat": "no sensor that can be read, soft limit 80 °C",
        "throttled": "unknown",
        "battery": "none",
    }


def test_a_hot_board_on_its_battery_is_told_in_words() -> None:
    reading = Reading(
        celsius=81.25,
        sensor="cpu-thermal",
        flags=(Flag.UNDER_VOLTAGE, Flag.COOLING),
        counters={"oc1_event_cnt": 2, "oc2_event_cnt": 0},
        frequency_ratio=0.4,
        battery=Battery(ratio=0.62, is_discharging=True),
    )
    assert describe_reading(reading, Limits(80.0, 85.0)) == {
        "heat": "81.2 °C (cpu-thermal), soft limit 80 °C, REACHED, hard limit 85 °C",
        "throttled": f"{FLAG_WORDS[Flag.UNDER_VOLTAGE]}, {FLAG_WORDS[Flag.COOLING]},"
        " the processor may run at 40% of its highest frequency, oc1_event_cnt 2 since the start",
        "battery": "62%, discharging",
    }
    plugged = Reading(
        frequency_ratio=1.0, knows_throttling=True, battery=Battery(ratio=1.0, is_discharging=False)
    )
    assert describe_reading(plugged, Limits())["battery"] == "100%, not discharging"
    assert describe_reading(plugged, Limits())["throttled"] == "no"
