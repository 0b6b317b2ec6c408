"""Whether one tensor mixes values of different ranges.

PURE. Rules:

1. An int8 tensor has one scale: 255 steps from its lowest to its highest value. A column that moves over fewer than
   ``STEPS_NEEDED`` of them is coarse; boxes from 0 to 640 leave scores from 0 to 1 less than one.
2. Columns are mixed when coarse ones are a kind of their own: between the widest coarse column and the next there is
   a gap of ``GAP`` or more. Columns of one kind, such as scores of rare and of common classes, spread without a gap.
3. A column that does not move loses nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

INT8_STEPS = 255
STEPS_NEEDED = 16
"""Four bits: own choice. A score from 0 to 1 is then off by up to 0.03."""
GAP = 8.0
"""Own choice: coordinates of one object differ in range by less, coordinates and scores by far more."""
COLUMNS_MOST = 256
"""More columns are places or classes and no attributes."""
SAMPLES_NEEDED = 8
"""A column with one value per input has shown its range after some inputs only."""


def attribute_axis(shape: Sequence[int], samples: int) -> int | None:
    """The dimension of an output whose slices are columns; None when no dimension can be told to be it.

    Dimensions of one element do not count. Of two the shorter one holds attributes: (1, 8400, 84) and (1, 84, 8400)
    both have 84. Images have more dimensions, and no columns.

    Args:
        shape: Of the output, with the batch.
        samples: How many inputs it was seen for.
    """
    wide = [axis for axis, size in enumerate(shape) if size > 1]
    if not wide or len(wide) > 2 or (len(wide) == 1 and samples < SAMPLES_NEEDED):
        return None
    axis = min(wide, key=lambda one: (shape[one], -one))
    return axis if shape[axis] <= COLUMNS_MOST else None


def coarse_columns(low: Sequence[float], high: Sequence[float]) -> list[int]:
    """Columns that a common scale leaves too few steps for; empty when the columns are of one kind.

    Args:
        low: Lowest value of each column.
        high: Highest value of each column.
    """
    spans = [top - bottom for bottom, top in zip(low, high, strict=True)]
    moving = sorted(span for span in spans if span > 0)
    if len(moving) < 2:
        return []
    step = (max(high) - min(low)) / INT8_STEPS
    limit = STEPS_NEEDED * step
    narrow = [span for span in moving if span < limit]
    wide = [span for span in moving if span >= limit]
    if not narrow or not wide or wide[0] < GAP * narrow[-1]:
        return []
    return [index for index, span in enumerate(spans) if 0 < span < limit]
