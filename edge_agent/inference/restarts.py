"""When a worker that keeps dying is started again.

PURE. Rules:

1. The first restart comes at once: an application's request, with its deadline of seconds, still gets its answer.
2. Then the pause doubles up to a cap: a model that crashes on every request must not take the board's whole CPU.
3. A worker that lived long enough starts the count again.
4. One that keeps dying with a delegate from a library of its own goes on without: such libraries crash in practice.
"""

from __future__ import annotations

import dataclasses

from edge_agent.inference.workers import WorkerSpec

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 30.0
STABLE_S = 60.0
"""A worker that served this long was not what is wrong with it now."""
DELEGATE_TRIES = 3
"""Restarts in a row with a delegate; the next goes without."""


def restarts_in_a_row(before: int, lived_s: float) -> int:
    """Number of the restart that is due now, from 1.

    Args:
        before: Restarts in a row before this one.
        lived_s: How long the worker that died had served, seconds; 0 when it never became ready.
    """
    return 1 if lived_s >= STABLE_S else before + 1


def restart_pause_s(restart: int) -> float:
    """Seconds to wait before the restart of this number."""
    if restart <= 1:
        return 0.0
    return float(min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(restart - 2, 30)))


def spec_of_restart(spec: WorkerSpec, restart: int) -> WorkerSpec:
    """What the restart of this number is to serve."""
    if restart <= DELEGATE_TRIES or not spec.engine.externals:
        return spec
    reason = f"the worker died {restart} times in a row with it"
    return dataclasses.replace(spec, engine=spec.engine.without_externals(reason))
