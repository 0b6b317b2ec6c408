"""The way into a worker process, run as ``python -m edge_agent.inference.worker``: imports what serving needs, leanly.

Guarantees: a worker that starts beside one that answers requests leaves the processor to it while it imports, which is
most of what a start costs; where it waits too long for the processor it begins again without that; it serves with the
priority that it was started with. Serves nothing itself.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys

from edge_agent.inference.gentle import NotYetError, run_gently

GENTLY = "--gently="
"""First argument of a worker that starts beside one that answers requests; followed by for how long, seconds."""
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


def import_serving(start: str) -> None:
    """Import what serving needs.

    Args:
        start: A ``control.Start`` in JSON.
    """
    import_msgspec()
    importlib.import_module("edge_agent.inference.serving").import_runtime_of(start)


def main(arguments: list[str]) -> int:
    """Serve one model; the exit code is 0 after an orderly end, 1 when there is nothing to serve.

    Args:
        arguments: Perhaps ``GENTLY``; descriptor of the control channel, and a ``control.Start`` in JSON.
    """
    # A terminal's Ctrl-C and a service manager's stop reach every process of the agent. The main process decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if arguments[0].startswith(GENTLY):
        within_s = float(arguments[0][len(GENTLY) :])
        arguments = arguments[1:]
        try:
            run_gently(lambda: import_serving(arguments[1]), within_s)
        except NotYetError:  # nothing but a new program ends that thread
            os.execv(sys.executable, [sys.executable, "-m", "edge_agent.inference.worker", *arguments])  # noqa: S606
    else:
        import_serving(arguments[1])
    from edge_agent.inference.serving import serve

    return serve(arguments)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
