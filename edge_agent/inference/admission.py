"""Whether a candidate fits into memory beside the worker that it is to follow.

PURE. Rules:

1. A candidate needs what its manifest says of its interpreter, and what every worker takes without one. Where its
   variant may lose its delegate, the larger of it and the variant that runs then counts.
2. A reserve stays free, so that the board does not begin to swap or to kill while a model is tried.
3. Where both do not fit, the candidate is refused, which changes nothing; with the gap that the configuration allows,
   the active worker ends first, and the candidate is refused only where it would not fit then either.
"""

from __future__ import annotations

import enum

WORKER_BYTES = 24 << 20
"""A worker with a tiny model: Python, numpy and the runtime (own measurement: 18 MB private, 24 MB proportional)."""
RESERVE_BYTES = 16 << 20
"""For everything else that wants memory meanwhile: the fetching process, the kernel's buffers."""


class Swap(str, enum.Enum):
    """How a version follows another: both at the same time, or, where they do not fit, with a gap between them."""

    BESIDE = "beside"
    GAP = "gap"


class Admission(enum.Enum):
    """What to do with a candidate."""

    BESIDE = "beside"
    GAP = "gap"
    REFUSED = "refused"


def need_bytes(peak_memory_bytes: int) -> int:
    """Memory of a worker whose interpreter takes so much."""
    return peak_memory_bytes + WORKER_BYTES


def decide_admission(need: int, room: int, given_back: int, swap: Swap) -> Admission:
    """Decide.

    Args:
        need: Bytes that the candidate's worker takes.
        room: Bytes that can be had now.
        given_back: Bytes that the active worker would give back; 0 where there is none.
        swap: What the configuration allows.
    """
    if need + RESERVE_BYTES <= room:
        return Admission.BESIDE
    if swap is Swap.GAP and given_back and need + RESERVE_BYTES <= room + given_back:
        return Admission.GAP
    return Admission.REFUSED
