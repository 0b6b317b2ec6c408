"""Takes a tenth of the processor while others want it: work in a thread of nice 10, for what has to end in time.

Guarantees: what the work raises is raised here; threads that it starts have its priority, and keep it: one given away
is not given back. ``edge_agent.inference.gentle`` gives way altogether, and promises no end.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import TypeVar

_NICE = 10
"""A tenth of the processor's time while others want it, all of it otherwise (sched(7), "The nice value")."""

_Result = TypeVar("_Result")


def run_modestly(work: Callable[[], _Result]) -> _Result:
    """Do something in a thread of low priority and wait for it; raises what it raises."""
    results: list[_Result] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            os.setpriority(os.PRIO_PROCESS, 0, max(_NICE, os.getpriority(os.PRIO_PROCESS, 0)))
            results.append(work())
        except BaseException as error:  # noqa: BLE001 - raised again by the thread that waits
            errors.append(error)

    thread = threading.Thread(target=run, name="litefleet-modest", daemon=True)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]
