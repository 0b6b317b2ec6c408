"""How much a device holds back because of heat or power, and why, as it is reported.

PURE. Rules:

1. A level names what is done, a cause why; several causes may hold at once, the strongest decides.
2. ``normal`` without a cause is a board that runs as it was meant to.
"""

from __future__ import annotations

import enum
from typing import Annotated

import msgspec


class HeatLevel(str, enum.Enum):
    """How much a device holds back, from nothing to most."""

    NORMAL = "normal"
    EASED = "eased"
    SLOWED = "slowed"
    LEAST = "least"


class HeatCause(str, enum.Enum):
    """Why a device holds back."""

    SOFT_LIMIT = "soft-limit"
    HARD_LIMIT = "hard-limit"
    THROTTLED = "throttled"
    UNDER_VOLTAGE = "under-voltage"
    OVER_CURRENT = "over-current"
    LOW_BATTERY = "low-battery"
    EMPTY_BATTERY = "empty-battery"


class HeatReport(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Heat and power of a device.

    Attributes:
        level: How much it holds back.
        causes: Why; empty while it only waits until it is sure that what was is over.
        celsius: Temperature of its processor when the level was entered, °C; None where it has no sensor.
        battery_ratio: How full its battery was then, 0 to 1; None where it has none.
    """

    level: HeatLevel = HeatLevel.NORMAL
    causes: Annotated[tuple[HeatCause, ...], msgspec.Meta(max_length=8)] = ()
    celsius: Annotated[float, msgspec.Meta(ge=-100, le=200)] | None = None
    battery_ratio: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
