"""Reads heat and power from sysfs, and from the firmware's tool where sysfs does not have it.

Guarantees: every read is bounded; what is missing, unreadable or nonsense is left out, never an error; changes nothing
but a Raspberry Pi's kernel log, where the first read of ``get_throttled`` is noted as outdated. A driver may make its
reader wait: whoever must not wait reads in a thread of its own (``edge_agent.heat.watch``).

Sources: Linux kernel, Documentation/ABI/testing/sysfs-class-thermal, sysfs-class-power, sysfs-devices-system-cpu;
Documentation/hwmon/raspberrypi-hwmon.rst; NVIDIA Jetson Linux Developer Guide, "Jetson Orin Nano Series, Jetson Orin NX
Series and Jetson AGX Orin Series", over-current event counters.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path, PurePosixPath

from edge_agent.heat.firmware import FirmwareTool
from edge_agent.heat.reading import Battery, Flag, Reading, parse_firmware_flags, plausible

SYSFS = Path("/sys")
_ENTRIES_MAX = 64
_TEXT_MAX_BYTES = 256
_NUMBER = re.compile(r"[+-]?\d{1,15}")
_FIRMWARE_FILES = "devices/platform/soc*/*firmware/get_throttled"
"""``soc/soc:firmware`` up to the Pi 4, ``soc@107c000000/...`` on the Pi 5."""
_PROCESSOR_ZONE = re.compile(r"cpu|soc|pkg|core|tj", re.IGNORECASE)
_PROCESSOR_COOLING = re.compile(r"cpu|^processor$|^intel_powerclamp$", re.IGNORECASE)
"""Cooling devices that slow the processor: ``cpufreq-cpu0``, ``thermal-cpufreq-0``, ``cpu-throttle-alert`` of a Jetson,
``Processor`` of ACPI. Fans cool too, and cost no speed."""
_OVER_CURRENT = "soctherm_oc"
"""A Jetson Orin's: oc1 under-voltage, oc2 average and oc3 instantaneous over-current; each slows processor and GPU."""


class Sensors:
    """The board's sensors. Not thread-safe, its owner is one thread.

    Args:
        sensor: File with the processor's temperature in thousandths of a °C, below ``/sys``; empty for the hottest
            zone of the processor.
        sysfs: Where sysfs is.
        tool: Asked for what sysfs does not have; None to leave it out.
    """

    def __init__(self, sensor: str = "", *, sysfs: Path = SYSFS, tool: FirmwareTool | None = None) -> None:
        self._sensor = PurePosixPath(sensor) if sensor else None
        self._sysfs = sysfs
        self._tool = tool

    def read(self) -> Reading:
        """Look at all of them."""
        celsius, sensor = self._temperature()
        flags = self._flags()
        counters = dict(self._counters())
        return Reading(
            celsius=celsius,
            sensor=sensor,
            flags=tuple(flag for flag in Flag if flag in (flags or ())),
            counters=counters,
            frequency_ratio=min(self._frequency_ratios(), default=None),
            battery=self._battery(),
            knows_throttling=flags is not None or bool(counters),
        )

    def _temperature(self) -> tuple[float | None, str]:
        if self._sensor is not None:
            celsius = _celsius(self._in_sysfs(self._sensor))
            if celsius is not None:
                return celsius, str(self._sensor)
        zones = [
            (celsius, _text(zone / "type") or zone.name)
            for zone in self._entries("class/thermal/thermal_zone*")
            if (celsius := _celsius(zone / "temp")) is not None
        ]
        of_processor = [zone for zone in zones if _PROCESSOR_ZONE.search(zone[1])]
        return max(of_processor or zones, default=(None, ""))

    def _in_sysfs(self, path: PurePosixPath) -> Path:
        return self._sysfs / path.relative_to("/sys") if path.is_relative_to("/sys") else Path(path)

    def _flags(self) -> set[Flag] | None:
        """What holds now; None where nothing could tell."""
        told: list[Iterable[Flag]] = []
        firmware = self._firmware_flags()
        if firmware is not None:
            told.append(firmware)
        for device in self._entries("class/hwmon/hwmon*"):
            alarm = _number(device / "in0_lcrit_alarm")
            if alarm is not None and _text(device / "name") == "rpi_volt":
                told.append([Flag.UNDER_VOLTAGE] if alarm else [])
        for device in self._entries("class/thermal/cooling_device*"):
            state = _number(device / "cur_state")
            if state is not None and _PROCESSOR_COOLING.search(_text(device / "type")):
                told.append([Flag.COOLING] if state > 0 else [])
        return set(chain.from_iterable(told)) if told else None

    def _firmware_flags(self) -> frozenset[Flag] | None:
        for path in self._entries(_FIRMWARE_FILES):
            flags = parse_firmware_flags(_text(path))
            if flags is not None:
                return flags
        return None if self._tool is None else parse_firmware_flags(self._tool.ask("get_throttled"))

    def _counters(self) -> Iterator[tuple[str, int]]:
        for name in ("core_throttle_count", "package_throttle_count"):
            files = self._entries(f"devices/system/cpu/cpu[0-9]*/thermal_throttle/{name}")
            counts = [_number(path) for path in files]
            if known := [count for count in counts if count is not None]:
                yield name, sum(known)
        for device in self._entries("class/hwmon/hwmon*"):
            if _text(device / "name") != _OVER_CURRENT:
                continue
            for path in _sorted(device, "oc*_event_cnt"):
                count = _number(path)
                if count is not None and _number(device / path.name.replace("event_cnt", "throt_en")) != 0:
                    yield path.name, count

    def _frequency_ratios(self) -> Iterator[float]:
        for policy in self._entries("devices/system/cpu/cpufreq/policy*"):
            limit, most = _number(policy / "scaling_max_freq"), _number(policy / "cpuinfo_max_freq")
            if limit is not None and most:
                yield min(1.0, limit / most)

    def _battery(self) -> Battery | None:
        levels: list[int] = []
        is_discharging = False
        for supply in self._entries("class/power_supply/*"):
            if _text(supply / "type") != "Battery" or _text(supply / "scope") == "Device":
                continue  # a mouse's battery does not feed the board
            level = _number(supply / "capacity")
            if level is not None and 0 <= level <= 100:
                levels.append(level)
                is_discharging |= _text(supply / "status") == "Discharging"
        if not levels:
            return None
        return Battery(ratio=sum(levels) / len(levels) / 100, is_discharging=is_discharging)

    def _entries(self, pattern: str) -> Iterator[Path]:
        return islice(_sorted(self._sysfs, pattern), _ENTRIES_MAX)


def _sorted(folder: Path, pattern: str) -> Iterator[Path]:
    try:
        yield from sorted(folder.glob(pattern))
    except OSError:
        return


def _text(path: Path) -> str:
    try:
        with path.open("rb", buffering=0) as file:
            return (file.read(_TEXT_MAX_BYTES) or b"").decode("ascii", "replace").strip("\0 \n")
    except OSError:  # also what a sensor answers that is asleep: EAGAIN, EIO, ENODATA
        return ""


def _number(path: Path) -> int | None:
    text = _text(path)
    return int(text) if _NUMBER.fullmatch(text) else None


def _celsius(path: Path) -> float | None:
    thousandths = _number(path)
    if thousandths is None or not plausible(thousandths / 1000):
        return None
    return thousandths / 1000
