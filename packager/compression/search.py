"""Finds the harshest setting that still passes.

PURE. Rules:

1. Bisection over a fixed grid from gentle to harsh: a setting counts as good only when it was measured and passed.
2. It rests on harsher settings being worse. Where they are not, what comes back still passed, but a harsher one might
   have, too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

Setting = TypeVar("Setting")


def harshest(grid: Sequence[Setting], passes: Callable[[Setting], bool]) -> Setting | None:
    """The harshest setting that passes, as bisection finds it; None when none that was tried did.

    Args:
        grid: From gentle to harsh.
        passes: Measures a setting; called at most once for each, log2 of their number in all.
    """
    good, bad = -1, len(grid)
    while bad - good > 1:
        middle = (good + bad) // 2
        if passes(grid[middle]):
            good = middle
        else:
            bad = middle
    return grid[good] if good >= 0 else None
