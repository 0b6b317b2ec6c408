"""What the agent is told about heat and power.

PURE. Rules:

1. A limit of 0 stands for the profile's; where the profile has none either, the temperature changes nothing.
2. Reading is always on: what is known is told, whatever is done about it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec

from contract.profile import Thermal

_Celsius = Annotated[float, msgspec.Meta(ge=0, le=150)]


class HeatSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Heat and power: where they are read, and when something is done about them.

    Attributes:
        enabled: Whether something is done: sources run slower, models get fewer threads.
        cheaper_variant: Whether a cheaper variant of each bundle is fetched too, where it has one, and runs at the last
            level.
        interval_s: Time between two looks at the sensors, seconds.
        sensor: File with the processor's temperature in thousandths of a °C; empty for the profile's, and where that
            has none, for the hottest zone of the processor.
        soft_celsius: Where the board begins to slow down, °C; 0 for the profile's.
        hard_celsius: Where it slows down hard or stops, °C; 0 for the profile's.
        cool_celsius: How far below a limit the temperature has to fall before the limit is let go, °C.
        hold_s: How long nothing must ask for a level before the next milder one is taken, seconds.
        low_battery_ratio: How full a battery is when it is low, 0 to 1; at half of that it is nearly empty. 0: never.
        sysfs: Where sysfs is.
        vcgencmd: A Raspberry Pi's firmware tool; used where the file is there.
    """

    enabled: bool = True
    cheaper_variant: bool = False
    interval_s: Annotated[float, msgspec.Meta(ge=0.1, le=300)] = 5.0
    sensor: str = ""
    soft_celsius: _Celsius = 0.0
    hard_celsius: _Celsius = 0.0
    cool_celsius: Annotated[float, msgspec.Meta(ge=0, le=50)] = 5.0
    hold_s: Annotated[float, msgspec.Meta(ge=0, le=86400)] = 60.0
    low_battery_ratio: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.2
    sysfs: Path = Path("/sys")
    vcgencmd: Path = Path("/usr/bin/vcgencmd")


@dataclass(frozen=True)
class Limits:
    """Temperature limits in force, °C; None where nobody knows one."""

    soft_celsius: float | None = None
    hard_celsius: float | None = None


def limits_of(settings: HeatSettings, thermal: Thermal | None) -> Limits:
    """The limits in force: the configuration's first, then the profile's."""
    return Limits(
        settings.soft_celsius or (None if thermal is None else thermal.soft_celsius),
        settings.hard_celsius or (None if thermal is None else thermal.hard_celsius),
    )


def sensor_of(settings: HeatSettings, thermal: Thermal | None) -> str:
    """The sensor to read: the configuration's first, then the profile's; empty for none in particular."""
    return settings.sensor or ("" if thermal is None else thermal.sensor)


def heat_faults(settings: HeatSettings) -> list[str]:
    """What contradicts itself in the settings; empty when nothing does."""
    soft, hard = settings.soft_celsius, settings.hard_celsius
    return ["soft_celsius: must be below hard_celsius"] if soft and hard and soft >= hard else []
