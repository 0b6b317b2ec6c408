"""The board's sensors, as files of sysfs."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_agent.heat.reading import Battery, Flag, Reading
from edge_agent.heat.sensors import Sensors
from tests.support.heat_board import HeatBoard

PI_SENSOR = "/sys/class/thermal/thermal_zone0/temp"


@pytest.fixture
def board(tmp_path: Path) -> HeatBoard:
    return HeatBoard(tmp_path / "sys")


def read(board: HeatBoard, sensor: str = "") -> Reading:
    return Sensors(sensor, sysfs=board.sysfs).read()


def test_a_machine_without_any_sensor_says_nothing(board: HeatBoard) -> None:
    assert read(board) == Reading()
    assert read(board, PI_SENSOR) == Reading()


def test_the_profiles_sensor_comes_before_a_hotter_one(board: HeatBoard) -> None:
    board.set_celsius(51.54)
    board.set_celsius(70.0, "class/thermal/thermal_zone1", "gpu-thermal")
    found = read(board, PI_SENSOR)
    assert (found.celsius, found.sensor) == (51.54, PI_SENSOR)


def test_a_sensor_outside_of_sysfs_is_read_where_it_is(board: HeatBoard, tmp_path: Path) -> None:
    (tmp_path / "temp").write_text("43000\n")
    assert read(board, str(tmp_path / "temp")).celsius == 43.0


@pytest.mark.parametrize("content", ["", "nonsense", "-274000", "255000", "1e3", "9" * 40])
def test_where_the_profiles_sensor_is_off_the_hottest_zone_of_the_processor_counts(
    board: HeatBoard, content: str
) -> None:
    board.write("class/thermal/thermal_zone0/temp", content)
    board.set_celsius(61.0, "class/thermal/thermal_zone1", "cpu-thermal")
    board.set_celsius(64.0, "class/thermal/thermal_zone2", "x86_pkg_temp")
    board.set_celsius(80.0, "class/thermal/thermal_zone3", "battery")
    found = read(board, PI_SENSOR)
    assert (found.celsius, found.sensor) == (64.0, "x86_pkg_temp")


def test_without_a_zone_of_the_processor_the_hottest_counts(board: HeatBoard) -> None:
    board.set_celsius(40.0, kind="acpitz")
    board.set_celsius(41.0, "class/thermal/thermal_zone1", "")
    found = read(board)
    assert (found.celsius, found.sensor) == (41.0, "thermal_zone1")


@pytest.mark.parametrize("soc", ["soc/soc:firmware", "soc@107c000000/soc@107c000000:firmware"])
def test_the_firmwares_flags_are_read_from_its_file(board: HeatBoard, soc: str) -> None:
    board.set_firmware(0x50005, soc)
    assert read(board).flags == (Flag.UNDER_VOLTAGE, Flag.THROTTLED)


def test_a_file_of_the_firmware_that_says_nothing_is_passed_over(board: HeatBoard) -> None:
    board.write("devices/platform/soc/soc:firmware/get_throttled", "")
    assert read(board).flags == ()


def test_the_voltage_sensor_of_a_pi_raises_its_alarm(board: HeatBoard) -> None:
    board.set_hwmon("rpi_volt", in0_lcrit_alarm=0)
    board.set_hwmon("other", number=1, in0_lcrit_alarm=1)
    assert read(board).flags == ()
    board.set_hwmon("rpi_volt", in0_lcrit_alarm=1)
    assert read(board).flags == (Flag.UNDER_VOLTAGE,)


@pytest.mark.parametrize(
    ("kind", "state", "is_slowed"),
    [
        ("cpufreq-cpu0", 1, True),
        ("thermal-cpufreq-0", 3, True),
        ("cpu-throttle-alert", 1, True),
        ("Processor", 2, True),
        ("intel_powerclamp", -1, False),
        ("intel_powerclamp", 20, True),
        ("cpufreq-cpu0", 0, False),
        ("pwm-fan", 4, False),
        ("TCC Offset", 3, False),
    ],
)
def test_a_cooling_device_slows_the_processor_unless_it_is_a_fan_or_off(
    board: HeatBoard, kind: str, state: int, *, is_slowed: bool
) -> None:
    board.set_cooling(kind, state)
    assert (Flag.COOLING in read(board).flags) is is_slowed


def test_counters_of_processor_and_power_are_told(board: HeatBoard) -> None:
    for cpu in (0, 1):
        board.write(f"devices/system/cpu/cpu{cpu}/thermal_throttle/core_throttle_count", 3)
    board.set_hwmon(
        "soctherm_oc", oc1_event_cnt=2, oc1_throt_en=1, oc2_event_cnt=9, oc2_throt_en=0, oc3_event_cnt=4
    )
    board.set_hwmon("ina3221", number=1, oc9_event_cnt=1)
    assert read(board).counters == {"core_throttle_count": 6, "oc1_event_cnt": 2, "oc3_event_cnt": 4}


def test_the_frequency_limit_of_the_slowest_core_counts(board: HeatBoard) -> None:
    for policy, limit, most in ((0, 1_800_000, 1_800_000), (4, 600_000, 2_400_000), (6, 5, 0)):
        board.write(f"devices/system/cpu/cpufreq/policy{policy}/scaling_max_freq", limit)
        board.write(f"devices/system/cpu/cpufreq/policy{policy}/cpuinfo_max_freq", most)
    board.write("devices/system/cpu/cpufreq/policy7/cpuinfo_max_freq", 1)
    assert read(board).frequency_ratio == 0.25


def test_batteries_that_feed_the_board_are_one_and_a_mouses_is_none(board: HeatBoard) -> None:
    board.set_battery(3, "Discharging", "hid-mouse", scope="Device")
    board.write("class/power_supply/AC/type", "Mains")
    assert read(board).battery is None
    board.set_battery(50, "Full", "BAT0", scope="System")
    board.set_battery(100, "Discharging", "BAT1")
    board.set_battery(101, "Discharging", "BAT2")
    assert read(board).battery == Battery(ratio=0.75, is_discharging=True)


def test_what_the_board_does_not_tell_is_not_taken_for_well(board: HeatBoard) -> None:
    board.set_cooling("pwm-fan", 0)
    board.set_hwmon("soctherm_oc")
    assert not read(board).knows_throttling
    board.set_cooling("cpufreq-cpu0", 0, number=1)
    assert read(board).knows_throttling
    board.remove("class/thermal/cooling_device1/cur_state")
    board.set_hwmon("soctherm_oc", oc1_event_cnt=0)
    assert read(board).knows_throttling


def test_a_path_that_is_no_file_is_left_out(board: HeatBoard) -> None:
    board.set_celsius(50.0)
    (board.sysfs / "class/thermal/thermal_zone1/temp").mkdir(parents=True)
    assert read(board).celsius == 50.0
