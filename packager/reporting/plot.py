"""Where everything stands in the plot of size against accuracy.

PURE. Rules:

1. Positions are in user units of a drawing of the given width; text has one size in all drawings, so that a narrow one
   reads as well as a wide one.
2. Labels do not cover each other: each stands as near to its mark as there is room.
3. The axis of sizes starts at 0, because a ratio of sizes is what one looks for. That of values does not: drops that
   matter are small.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

_LEFT, _RIGHT, _TOP, _BOTTOM = 56.0, 16.0, 28.0, 44.0
_LINE = 17.0
_CHARACTER = 6.9  # advance of the page's text at 12.5 px, a little more than most fonts have
_GAP = 12.0
_TICKS = 5


@dataclass(frozen=True)
class Point:
    """A variant in the plot.

    Attributes:
        label: Its name.
        size_bytes: Of the model file.
        value: The metric.
        low: Lower end of the value's interval; the value itself where there is none.
        high: Upper end.
        kind: ``shipped``, ``refused`` or ``float``.
    """

    label: str
    size_bytes: int
    value: float
    low: float
    high: float
    kind: str


@dataclass(frozen=True)
class Mark:
    """A point with its place, and that of its label.

    Attributes:
        point: What it stands for.
        x: Of the mark.
        y: Of the mark.
        low_y: Where its interval ends below.
        high_y: Where it ends above.
        label_x: Where the label starts, or ends.
        label_y: Its base line.
        anchor: ``start`` or ``end``: on which side of ``label_x`` the label stands.
    """

    point: Point
    x: float
    y: float
    low_y: float
    high_y: float
    label_x: float = 0.0
    label_y: float = 0.0
    anchor: str = "start"


@dataclass(frozen=True)
class Plot:
    """A drawing.

    Attributes:
        width: In user units.
        height: In user units.
        left: Where the field of the plot begins.
        right: Where it ends.
        top: Its upper edge.
        bottom: Its lower edge.
        sizes: Place and bytes of each tick below.
        values: Place and value of each tick at the left.
        digits: How many digits after the point those values need.
        limit_y: Where the gate's limit is.
        limit_text_y: Base line of what is said of it: above it where there is room, else below.
        marks: The points.
    """

    width: float
    height: float
    left: float
    right: float
    top: float
    bottom: float
    sizes: tuple[tuple[float, float], ...]
    values: tuple[tuple[float, float], ...]
    digits: int
    limit_y: float
    limit_text_y: float
    marks: tuple[Mark, ...]


def draw(points: Sequence[Point], limit: float, width: float, height: float) -> Plot:
    """Place points.

    Args:
        points: At least one.
        limit: The gate's.
        width: Of the drawing.
        height: Of the drawing.
    """
    left, right, top, bottom = _LEFT, width - _RIGHT, _TOP, height - _BOTTOM
    most = max(point.size_bytes for point in points) * 1.08 or 1.0
    lowest = min(limit, *(min(point.low, point.value) for point in points))
    highest = max(limit, *(max(point.high, point.value) for point in points))
    margin = max((highest - lowest) * 0.12, 0.001)
    lowest, highest = max(lowest - margin, min(lowest, 0.0)), min(highest + margin, max(highest, 1.0) + 0.002)

    def across(size: float) -> float:
        return round(left + size / most * (right - left), 1)

    def down(value: float) -> float:
        return round(bottom - (value - lowest) / (highest - lowest) * (bottom - top), 1)

    limit_y = down(limit)
    limit_text_y = limit_y - 5.0 if limit_y - 5.0 >= top + _LINE else limit_y + 14.0
    step = _step((highest - lowest) / _TICKS)
    marks = [
        Mark(
            point, across(point.size_bytes), down(point.value), low_y=down(point.low), high_y=down(point.high)
        )
        for point in points
    ]
    return Plot(
        width=width,
        height=height,
        left=left,
        right=right,
        top=top,
        bottom=bottom,
        sizes=tuple((across(size), size) for size in _ticks(0.0, most, _step(most / max(2, width // 110)))),
        values=tuple((down(value), value) for value in _ticks(lowest, highest, step)),
        digits=max(0, -math.floor(math.log10(step) + 1e-9)),
        limit_y=limit_y,
        limit_text_y=limit_text_y,
        marks=tuple(_label(marks, (left, limit_text_y - 4.0), right, (top, bottom))),
    )


def _step(least: float) -> float:
    """The next 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * (1 - 1e-9))


def _ticks(low: float, high: float, step: float) -> list[float]:
    first = math.ceil(low / step - 1e-9)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]


def _label(
    marks: Sequence[Mark], limit: tuple[float, float], right: float, field: tuple[float, float]
) -> list[Mark]:
    """Marks with labels: to the right or left of each, in the line nearest to it that is free."""
    taken = [(mark.x - _GAP / 2, mark.x + _GAP / 2, mark.y) for mark in marks]
    taken.append((limit[0], limit[0] + 12 * _CHARACTER, limit[1]))  # what stands on the limit's line
    placed: dict[int, Mark] = {}
    for index in sorted(range(len(marks)), key=lambda one: (marks[one].y, marks[one].x)):
        mark = marks[index]
        length = len(mark.point.label) * _CHARACTER
        is_right = mark.x + _GAP + length <= right
        start = mark.x + _GAP if is_right else mark.x - _GAP - length
        line = _free_line(taken, start, start + length, mark.y, field)
        taken.append((start, start + length, line))
        placed[index] = replace(
            mark,
            label_x=round(start if is_right else start + length, 1),
            label_y=round(line + 4.0, 1),
            anchor="start" if is_right else "end",
        )
    return [placed[index] for index in range(len(marks))]


def _free_line(
    taken: Sequence[tuple[float, float, float]],
    start: float,
    end: float,
    wanted: float,
    field: tuple[float, float],
) -> float:
    """The place nearest to the wanted one, upwards or downwards, where no label stands; where there is none, that."""
    top, bottom = field
    for steps in range(2 * len(taken) + 1):
        for line in (wanted + steps * _LINE / 2, wanted - steps * _LINE / 2):
            is_free = all(
                abs(line - other) >= _LINE or end <= begin or stop <= start for begin, stop, other in taken
            )
            if is_free and top <= line <= bottom:
                return line
    return wanted
