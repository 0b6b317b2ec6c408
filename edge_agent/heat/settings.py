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
    """Where the board's heat and power are read.

    Attributes:
        sensor: File with the processor's temperature in thousandths of a °C; empty for the profile's, and where that
            has none, for the hottest zone of the processor.
        soft_celsius: Where the board begins to slow down, °C; 0 for the profile's.
        hard_celsius: Where it slows down hard or stops, °C; 0 for the profile's.
        sysfs: Where sysfs is.
        vcgencmd: A Raspberry Pi's firmware tool; used where the file is there.
    """

    sensor: str = ""
    soft_celsius: _Celsius = 0.0
    hard_celsius: _Celsius = 0.0
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
