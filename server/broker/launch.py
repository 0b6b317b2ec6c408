"""Turns itself into the broker, which then dies with the server.

    python -m server.broker.launch PARENT_PID PROGRAM [ARGUMENT...]

``prctl(PR_SET_PDEATHSIG)`` because it also holds when the server is killed with SIGKILL, and needs neither a
second process that watches nor the broker's help; the setting outlives ``exec`` (prctl(2)). It is done here and not
in ``preexec_fn``, which may deadlock in a process with threads (subprocess documentation).

The signal comes when the *thread* that started this process ends (prctl(2)): start it from one that lives as long
as the server.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

PR_SET_PDEATHSIG = 1
"""linux/prctl.h"""


def main(arguments: Sequence[str]) -> None:
    """Become the program."""
    parent, program = int(arguments[0]), list(arguments[1:])
    # SIGKILL, since nothing is lost with it: mosquitto saves every change, and the database is the truth.
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    # SIGHUP says that there are new passwords; it must not end a broker that is still starting. mosquitto then
    # installs its own handler, amqtt needs none.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    if os.getppid() != parent:
        return  # the server died before the setting took hold
    os.execv(program[0], program)  # noqa: S606 - the point of this program


if __name__ == "__main__":
    main(sys.argv[1:])
