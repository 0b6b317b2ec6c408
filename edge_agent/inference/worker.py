"""The way into a worker process, run as ``python -m edge_agent.inference.worker``: imports what serving needs, leanly.

Guarantees: a worker that starts beside one that answers requests leaves the processor to it while it imports, which is
most of what a start costs; it serves with the priority that it was started with. Serves nothing itself.
"""

from __future__ import annotations

import _thread
import importlib
import os
import signal
import sys

GENTLY = "--gently"
"""First argument of a worker that starts beside one that answers requests."""
_GENTLE_NICE = 10
"""A tenth of the processor's time while others want it, all of it otherwise (sched(7), "The nice value")."""
_UNWANTED = "typing_extensions"
"""msgspec takes its type hints from here where it can and from ``typing`` where not: 1.1 MB of a worker (private dirty
pages; own measurement, msgspec 0.20, Python 3.11). Who comes after msgspec finds it as ever."""


def import_msgspec() -> None:
    """Import msgspec without what it can do without; nothing when it is imported already."""
    if "msgspec" in sys.modules or _UNWANTED in sys.modules:
        return
    sys.modules[_UNWANTED] = None  # type: ignore[assignment]  # the import system's own way to say "not there"
    try:
        importlib.import_module("msgspec")
    finally:
        del sys.modules[_UNWANTED]


def import_gently(start: str) -> None:
    """Import what serving needs in a thread of low priority: a priority given away is not given back."""
    is_done = _thread.allocate_lock()
    is_done.acquire()

    def work() -> None:
        try:
            os.setpriority(os.PRIO_PROCESS, 0, max(_GENTLE_NICE, os.getpriority(os.PRIO_PROCESS, 0)))
            importlib.import_module("edge_agent.inference.serving").import_runtime_of(start)
        finally:
            is_done.release()

    _thread.start_new_thread(work, ())
    is_done.acquire()


def main(arguments: list[str]) -> int:
    """Serve one model; the exit code is 0 after an orderly end, 1 when there is nothing to serve.

    Args:
        arguments: Perhaps ``GENTLY``; descriptor of the control channel, and a ``control.Start`` in JSON.
    """
    # A terminal's Ctrl-C and a service manager's stop reach every process of the agent. The main process decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    import_msgspec()
    if arguments[0] == GENTLY:
        arguments = arguments[1:]
        import_gently(arguments[1])
    from edge_agent.inference.serving import serve

    return serve(arguments)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
