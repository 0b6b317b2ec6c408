"""Tells systemd how the service is: ready, alive, ending (sd_notify(3)).

Guarantees: does nothing when no service manager asks; never waits and never fails: a service manager that does not
listen costs nothing but the message. Keeps no thread: ``alive`` is called by the loop that is to be watched, so a loop
that hangs stops feeding the watchdog.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import MutableMapping

_STATUS_MAX_CHARS = 200


class Notifier:
    """Speaks to the service manager that started this process. Not thread-safe, its owner is one thread.

    Args:
        environment: Its variables are taken out, so that no child believes that they are for it.
        pid: Of this process.
    """

    def __init__(self, environment: MutableMapping[str, str], pid: int) -> None:
        address = environment.pop("NOTIFY_SOCKET", "")
        period_us = environment.pop("WATCHDOG_USEC", "")
        wanted_pid = environment.pop("WATCHDOG_PID", "")
        is_ours = wanted_pid in {"", str(pid)}
        self._socket: socket.socket | None = None
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        if address[:1] in {"/", "@"}:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.setblocking(False)
        # Half of the time-out, as sd_watchdog_enabled(3) advises.
        self._period_s = int(period_us) / 2e6 if is_ours and period_us.isdigit() else 0.0
        self._next_s = 0.0
        self._status = ""

    @property
    def period_s(self) -> float:
        """How often ``alive`` must be called, seconds; 0 when nobody watches."""
        return self._period_s if self._socket is not None else 0.0

    def ready(self, status: str) -> None:
        """The service does what it is for."""
        self._status = status
        self._send("READY=1", _status_line(status))

    def alive(self, now_s: float, status: str) -> None:
        """The watched loop has come round.

        Args:
            now_s: Monotonic time, seconds.
            status: For ``systemctl status``; sent when it changes.
        """
        if status != self._status:
            self._status = status
            self._send(_status_line(status))
        if self.period_s and now_s >= self._next_s:
            self._next_s = now_s + self._period_s
            self._send("WATCHDOG=1")

    def stopping(self) -> None:
        """The service ends now."""
        self._send("STOPPING=1", _status_line("ending"))

    def close(self) -> None:
        """Say nothing more."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, *lines: str) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.sendto("\n".join(lines).encode(), self._address)


def notifier() -> Notifier:
    """The one of this process; the variables are taken out of its environment."""
    return Notifier(os.environ, os.getpid())


def _status_line(status: str) -> str:
    return f"STATUS={' '.join(status.split())[:_STATUS_MAX_CHARS]}"
