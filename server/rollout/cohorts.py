"""Which devices belong to which phase.

PURE. Rules:

1. The order of the devices is that of sha256(rollout id + device id): even, the same for everybody who computes
   it, and another one for every rollout, so that not always the same devices are the canary.
2. A phase holds its cumulative share of the devices, rounded up; the first holds at least one.
3. Every device is in exactly one phase.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Sequence

from contract.errors import ManifestError

MAX_PHASES = 32
_DECIMALS = 9  # 0.1 of 30 devices is 3 devices, not the 4 that 3.0000000000000004 rounds up to


def check_shares(shares: Sequence[float]) -> None:
    """Accept the cumulative shares of a rollout's phases.

    Raises:
        ManifestError: With every fault.
    """
    faults: list[str] = []
    if not 1 <= len(shares) <= MAX_PHASES:
        faults.append(f"{len(shares)} phases, 1 to {MAX_PHASES} are possible")
    if any(not 0 < share <= 1 for share in shares):
        faults.append("a share must be above 0 and at most 1")
    if list(shares) != sorted(set(shares)):
        faults.append("shares are cumulative: each must be above the one before")
    if shares and shares[-1] != 1:
        faults.append(f"the last share must be 1, not {shares[-1]:g}")
    if faults:
        raise ManifestError("phases are not usable", faults=faults, remedy="for example 0.1, 0.5, 1.0")


def divide_devices(
    rollout: str, devices: Collection[str], shares: Sequence[float]
) -> tuple[tuple[str, ...], ...]:
    """The devices of each phase, in order.

    Args:
        rollout: The rollout's id.
        devices: At least one, each once.
        shares: As ``check_shares`` accepts them.
    """
    ordered = sorted(devices, key=lambda device: hashlib.sha256((rollout + device).encode()).digest())
    phases: list[tuple[str, ...]] = []
    begin = 0
    for share in shares:
        end = math.ceil(round(share * len(ordered), _DECIMALS))
        phases.append(tuple(ordered[begin:end]))
        begin = end
    return tuple(phases)
