"""What the board's sensors say of heat and power at one time, and what two readings say together.

PURE. Rules:

1. Nothing is guessed: None, or an empty tuple, stands for what the board does not tell.
2. A flag says what holds now. A counter only grows; that something happened shows in the difference of two readings.
3. Temperatures outside of ``CELSIUS_RANGE`` are a driver's way to say that it knows none.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator

import msgspec

CELSIUS_RANGE = (-50.0, 150.0)
"""No board runs outside; drivers report -274, 255 or more for a sensor that is off."""
_FIRMWARE_MASK = 0xF


class Flag(str, enum.Enum):
    """What slows a processor, or is about to."""

    UNDER_VOLTAGE = "under-voltage"
    FREQUENCY_CAPPED = "frequency-capped"
    THROTTLED = "throttled"
    SOFT_LIMIT = "soft-limit"
    COOLING = "cooling"


FLAG_WORDS = {
    Flag.UNDER_VOLTAGE: "the supply voltage is too low",
    Flag.FREQUENCY_CAPPED: "the firmware caps the processor's frequency",
    Flag.THROTTLED: "the firmware throttles the processor",
    Flag.SOFT_LIMIT: "the firmware's soft temperature limit is reached",
    Flag.COOLING: "the kernel slows the processor to cool it",
}
_FIRMWARE_FLAGS = {
    0x1: Flag.UNDER_VOLTAGE,
    0x2: Flag.FREQUENCY_CAPPED,
    0x4: Flag.THROTTLED,
    0x8: Flag.SOFT_LIMIT,
}
"""Bits 0 to 3 of ``get_throttled``; 16 to 19 say that it was so once since the start
(https://www.raspberrypi.com/documentation/computers/os.html, "get_throttled")."""


class Battery(msgspec.Struct, frozen=True, kw_only=True):
    """All batteries of the board together: how full they are, 0 to 1, and whether it runs on them."""

    ratio: float
    is_discharging: bool


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What the sensors said.

    Attributes:
        celsius: Of the processor.
        sensor: Where that comes from: a zone's type, or a file.
        flags: What slows the processor now, in the order of ``Flag``.
        counters: How often something slowed it since the board started, by the counter's name.
        frequency_ratio: Highest frequency that a core may run at now, of what it can; of the core with the least.
        battery: None where there is none.
        knows_throttling: Whether anything on this board tells that the processor is slowed; without it, no flag and no
            counter means nothing.
    """

    celsius: float | None = None
    sensor: str = ""
    flags: tuple[Flag, ...] = ()
    counters: dict[str, int] = {}
    frequency_ratio: float | None = None
    battery: Battery | None = None
    knows_throttling: bool = False


def parse_firmware_flags(text: str) -> frozenset[Flag] | None:
    """What ``get_throttled`` says, as a file or as ``vcgencmd`` writes it; None for anything else."""
    digits = text.strip().removeprefix("throttled=").removeprefix("0x")
    if not digits or len(digits) > 8 or not set(digits.lower()) <= set("0123456789abcdef"):
        return None
    bits = int(digits, 16) & _FIRMWARE_MASK
    return frozenset(flag for bit, flag in _FIRMWARE_FLAGS.items() if bits & bit)


def plausible(celsius: float) -> bool:
    """Whether a sensor can mean that."""
    return CELSIUS_RANGE[0] < celsius < CELSIUS_RANGE[1]


def grown(before: Reading, after: Reading) -> tuple[str, ...]:
    """Names of the counters that have grown from one reading to a later one."""
    counters = before.counters
    return tuple(name for name, count in after.counters.items() if count > counters.get(name, count))


def why_slowed(before: Reading, after: Reading, soft_celsius: float | None = None) -> tuple[str, ...]:
    """Why what was measured between two readings does not show the board at its full speed; empty when it does.

    Args:
        before: Taken when measuring began.
        after: Taken when it had ended.
        soft_celsius: Where the board begins to slow down, °C; None when unknown.
    """
    return tuple(_reasons(before, after, soft_celsius))


def _reasons(before: Reading, after: Reading, soft_celsius: float | None) -> Iterator[str]:
    for flag in Flag:
        if flag in before.flags or flag in after.flags:
            yield FLAG_WORDS[flag]
    yield from (f"the counter {name} has grown" for name in grown(before, after))
    limits = (before.frequency_ratio, after.frequency_ratio)
    if limits[0] is not None and limits[1] is not None and limits[1] < limits[0]:
        yield f"the processor's highest frequency fell from {limits[0]:.0%} to {limits[1]:.0%} of what it can"
    known = [reading.celsius for reading in (before, after) if reading.celsius is not None]
    if soft_celsius is not None and known and max(known) >= soft_celsius:
        yield f"{max(known):.1f} °C reach the soft limit of {soft_celsius:g} °C"
