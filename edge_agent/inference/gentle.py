"""Leaves the processor to others for a while: work in a thread that runs only where nobody else wants to.

Guarantees: what the work raises is raised here. Threads that it starts are as gentle, and stay so: a priority that was
given away is not given back without a privilege that the agent does not have (sched(7), SCHED_IDLE and RLIMIT_NICE).
That is why the work gets a thread of its own.
Does not promise an end: where others always want the processor, the work takes a hundred times as long.
"""

from __future__ import annotations

import os
import threading

# The name alone tells type checkers. Importing typing or contextlib takes milliseconds, and nothing is gentle yet.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    _Result = TypeVar("_Result")


class NotYetError(Exception):
    """The work is not done; it goes on."""


def run_gently(work: Callable[[], _Result], within_s: float | None = None) -> _Result:
    """Do something in a gentle thread and wait for it; raises what it raises.

    Nice would not do: since Linux 6.6 a thread that runs keeps the processor for a slice of some 3 ms against one that
    wakes up, however nice it is. One of SCHED_IDLE makes room at once.

    Args:
        work: What to do.
        within_s: How long to wait, seconds; None until it is done.

    Raises:
        NotYetError: It takes longer.
    """
    results: list[_Result] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            _step_back()
            results.append(work())
        except BaseException as error:  # noqa: BLE001 - raised again by the thread that waits
            errors.append(error)

    thread = threading.Thread(target=run, name="litefleet-gentle", daemon=True)
    thread.start()
    thread.join(within_s)  # to its very end: afterwards it never again holds the interpreter's lock
    if thread.is_alive():
        raise NotYetError
    if errors:
        raise errors[0]
    return results[0]


def _step_back() -> None:
    try:  # noqa: SIM105 - contextlib is not imported yet
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    except OSError:  # a sandbox may forbid it: the work is done all the same
        pass
