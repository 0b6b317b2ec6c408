"""Keeps the broker running: starts it, restarts it with back-off, ends it.

Guarantees: the broker ends with the server, however the server ends; one that dies is started again; its words reach
the server's log. Does not know which broker it is.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path

from contract.errors import BrokerError, StorageError
from server.broker.probe import is_let_in
from server.broker.program import BrokerProgram, write_files, write_passwords
from server.broker.remnant import PID_NAME
from server.storage.durable import write_durably
from server.threads import start_thread

logger = logging.getLogger(__name__)

START_TIMEOUT_S = 20.0
"""amqtt takes two seconds to import on a small machine; mosquitto is there in a tenth of one."""
STOP_TIMEOUT_S = 5.0
FIRST_DELAY_S = 0.25
LONGEST_DELAY_S = 10.0
SOUND_AFTER_S = 30.0
"""A broker that ran this long is not in a crash loop: the next restart is quick again."""
ADMIT_TIMEOUT_S = 3.0
_ADMIT_WAITS_S = (0.01, 0.05, 0.2)
"""mosquitto obeys a SIGHUP within milliseconds."""
_KEPT_LINES = 5
_LINE_MAX_CHARS = 500


class BrokerSupervisor:
    """The broker as a child process.

    Args:
        program: What to run.
        before_start: Called each time before the broker starts, also again: no connection stands then.
        on_crash: Called when the supervisor itself crashed.
    """

    def __init__(
        self, program: BrokerProgram, *, before_start: Callable[[], None], on_crash: Callable[[], None]
    ) -> None:
        self._program = program
        self._folder = Path(program.settings.folder)
        self._address = (program.settings.host, program.settings.port)
        self._before_start = before_start
        self._on_crash = on_crash
        self._stopping = threading.Event()
        self._failed_once = threading.Event()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None
        self._last_lines: deque[str] = deque(maxlen=_KEPT_LINES)

    def start(self, hashes: Mapping[str, str]) -> None:
        """Start the broker, and wait until it listens.

        Args:
            hashes: User name to password hash.

        Raises:
            BrokerError: It ended at once, or does not listen in time.
            StorageError: Its files cannot be written.
        """
        write_files(self._program, hashes)
        self._thread = start_thread("broker", self._run, self._on_crash)
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._failed_once.wait(0.02) and time.monotonic() < deadline:
            if self._is_listening():
                return
        self.stop()
        raise BrokerError(f"{self._program.name} did not start: {self._last_words()}")

    def admit(self, user: str, password: str, hashes: Mapping[str, str]) -> None:
        """Let one more user in, and wait until the broker does.

        mosquitto forgets a SIGHUP that comes while it still obeys the one before, so it is asked, and told again.

        Args:
            user: The new one.
            password: Its password.
            hashes: User name to password hash of all.

        Raises:
            StorageError: The password file cannot be written.
        """
        write_passwords(self._program, hashes)
        deadline = time.monotonic() + ADMIT_TIMEOUT_S
        while time.monotonic() < deadline and not self._stopping.is_set():
            with self._lock:
                if self._process is not None and self._process.poll() is None:
                    self._process.send_signal(signal.SIGHUP)
            for wait_s in _ADMIT_WAITS_S:
                if is_let_in(self._address, user, password):
                    return
                self._stopping.wait(wait_s)
        logger.warning("the broker does not let %s in yet; it reads the passwords at its next start", user)

    def stop(self) -> None:
        """End the broker."""
        self._stopping.set()
        for number in (signal.SIGTERM, signal.SIGKILL):
            with self._lock:
                if self._process is not None:
                    self._process.send_signal(number)
            if self._thread is not None:
                self._thread.join(STOP_TIMEOUT_S)
                if not self._thread.is_alive():
                    break
        (self._folder / PID_NAME).unlink(missing_ok=True)

    def _run(self) -> None:
        delay_s = FIRST_DELAY_S
        while not self._stopping.is_set():
            self._before_start()
            began = time.monotonic()
            code = self._run_once()
            if self._stopping.is_set():
                return
            self._failed_once.set()
            if time.monotonic() - began >= SOUND_AFTER_S:
                delay_s = FIRST_DELAY_S
            logger.error(
                "%s ended with %d (%s), starting it again in %g s",
                self._program.name,
                code,
                self._last_words(),
                delay_s,
            )
            self._stopping.wait(delay_s)
            delay_s = min(2 * delay_s, LONGEST_DELAY_S)

    def _run_once(self) -> int:
        command = [sys.executable, "-m", "server.broker.launch", str(os.getpid()), *self._program.command]
        with subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C ends the server, which ends the broker last
        ) as process:
            with self._lock:
                self._process = process
            if self._stopping.is_set():
                process.terminate()
            self._note_pid(process.pid)
            assert process.stderr is not None  # noqa: S101 - it was asked for
            for line in process.stderr:
                text = line.decode(errors="replace").strip()[:_LINE_MAX_CHARS]
                self._last_lines.append(text)
                logger.info("%s: %s", self._program.name, text)
            code = process.wait()
        with self._lock:
            self._process = None
        return code

    def _last_words(self) -> str:
        return "; ".join(self._last_lines) or "it said nothing"

    def _note_pid(self, pid: int) -> None:
        try:
            write_durably(self._folder / PID_NAME, str(pid).encode())
        except StorageError as error:
            logger.warning("the broker's process id is not noted: %s", error.summary())

    def _is_listening(self) -> bool:
        try:
            with socket.create_connection(self._address, timeout=1):
                return True
        except OSError:
            return False
