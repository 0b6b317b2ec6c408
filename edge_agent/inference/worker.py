"""The way into a worker process, run as ``LAUNCH`` says: imports what serving needs, leanly.

Guarantees: a worker that starts beside one that answers requests leaves the processor to it while it imports, which is
most of what a start costs; where it waits too long for the processor it begins again without that; it serves with the
priority that it was started with. Serves nothing itself.
"""

from __future__ import annotations

import os
import sys

from edge_agent.inference.gentle import NotYetError, run_gently, step_back
from edge_agent.inference.lean import Lean

# The name alone tells type checkers, as in gentle.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from edge_agent.inference.control import Start

GENTLY = "--gently="
"""First argument of a worker that starts beside one that answers requests; followed by for how long, seconds."""
LAUNCH = ("-c", f"import {__name__} as worker; worker.run()", __name__)
"""Starts a worker; ``-m`` does the same and imports 5 ms more before it comes to that. The last is for who looks at the
processes of a device."""


def import_serving(order: str) -> Start:
    """Import what serving needs.

    Args:
        order: A ``control.Start`` in JSON; returned read.
    """
    with Lean():
        from edge_agent.inference.control import parse_start
        from edge_agent.inference.serving import import_runtime_of

        start = parse_start(order)
        import_runtime_of(start)
        return start


def main(arguments: list[str]) -> int:
    """Serve one model; the exit code is 0 after an orderly end, 1 when there is nothing to serve.

    Args:
        arguments: Perhaps ``GENTLY``; descriptor of the control channel, and a ``control.Start`` in JSON.
    """
    gentle_s = 0.0
    if arguments[0].startswith(GENTLY):
        gentle_s = float(arguments[0][len(GENTLY) :])
        arguments = arguments[1:]
    try:
        channel, order = arguments
        start = run_gently(lambda: import_serving(order), gentle_s) if gentle_s else import_serving(order)
        from edge_agent.inference.serving import serve

        return serve(int(channel), start, gentle_s)
    except NotYetError:
        begin_again(channel, order)


def begin_again(channel: str, order: str) -> NoReturn:
    """Become a new program that serves without manners: nothing else ends a thread that is gentle.

    Args:
        channel: Descriptor of the control channel.
        order: A ``control.Start`` in JSON.
    """
    os.set_inheritable(int(channel), True)
    os.execv(sys.executable, [sys.executable, *LAUNCH, channel, order])  # noqa: S606


def end(code: int) -> NoReturn:
    """End this process at once, and gently: taking it apart takes milliseconds that others need.

    Args:
        code: Exit code.
    """
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    step_back()
    os._exit(code)


def run() -> None:
    """What ``LAUNCH`` calls; ends the process."""
    code = 1
    try:
        code = main(sys.argv[2:])
    except BaseException:  # noqa: BLE001 - the process ends here, and this is the end of its output
        sys.excepthook(*sys.exc_info())
    end(code)
