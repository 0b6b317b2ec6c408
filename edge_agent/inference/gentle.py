"""Leaves the processor to others for a while: work in a thread that runs only where nobody else wants to.

Guarantees: what the work raises is raised here. Threads that it starts are as gentle, and stay so: a priority that was
given away is not given back without a privilege that the agent does not have (sched(7), SCHED_IDLE and RLIMIT_NICE).
That is why the work gets a thread of its own.
Does not promise an end: where others always want the processor, the work takes a hundred times as long.
"""

from __future__ import annotations

import os
import threading
import time

# The name alone tells type checkers. Importing typing or contextlib takes milliseconds, and nothing is gentle yet.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    _Result = TypeVar("_Result")

_LOOK_S = 0.5
_LEAST_SHARE = 0.1
"""Of one core, in ``_LOOK_S``: with less, others want the processor all the time."""


class NotYetError(Exception):
    """The work is not done; it goes on."""


def run_gently(work: Callable[[], _Result], within_s: float | None = None) -> _Result:
    """Do something in a gentle thread and wait for it; raises what it raises.

    Nice would not do: since Linux 6.6 a thread that runs keeps the processor for a slice of some 3 ms against one that
    wakes up, however nice it is. One of SCHED_IDLE makes room at once.

    Args:
        work: What to do.
        within_s: How long to wait, seconds, and only while the work gets a share of the processor; None until it is
            done.

    Raises:
        NotYetError: It takes longer, or gets next to nothing.
    """
    results: list[_Result] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            step_back()
            results.append(work())
        except BaseException as error:  # noqa: BLE001 - raised again by the thread that waits
            errors.append(error)

    thread = threading.Thread(target=run, name="litefleet-gentle", daemon=True)
    thread.start()
    if within_s is None:
        thread.join()  # to its very end: afterwards it never again holds the interpreter's lock
    elif not _has_ended(thread, within_s):
        raise NotYetError
    if errors:
        raise errors[0]
    return results[0]


def _has_ended(thread: threading.Thread, within_s: float) -> bool:
    """Wait for the only thread that works."""
    ends = time.monotonic() + within_s
    while (left_s := ends - time.monotonic()) > 0:
        before_s = time.process_time()
        thread.join(min(_LOOK_S, left_s))
        if not thread.is_alive():
            return True
        if time.process_time() - before_s < _LEAST_SHARE * _LOOK_S:
            return False
    return False


def step_back() -> None:
    """Let this thread run only where nobody else wants to, for the rest of its life.

    Linux does not look who waits when a thread changes its policy, only at its next tick, 1 to 10 ms later: so make
    room at once.
    """
    try:
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    except OSError:  # a sandbox may forbid it: the work is done all the same
        return
    os.sched_yield()
