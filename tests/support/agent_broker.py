"""A real mosquitto with passwords and the contract's two ACL lines, that a test can kill and start again."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from tests.support.tools import free_port, require

SERVER_USER = "_server"
SERVER_PASSWORD = "server-secret"
_START_S = 10.0


class AgentBroker:
    """A broker on a free port of loopback. A context manager.

    Args:
        folder: Its files; it keeps what was retained there, as the managed one does.
        prefix: Topic prefix.
        devices: Device id to password.
    """

    def __init__(self, folder: Path, prefix: str, devices: Mapping[str, str]) -> None:
        self.port = free_port()
        self._folder = folder
        self._program = require("mosquitto")
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        passwords = folder / "passwords"
        passwords.touch(mode=0o600)
        for name, password in {SERVER_USER: SERVER_PASSWORD, **devices}.items():
            subprocess.run(
                [require("mosquitto_passwd"), "-b", str(passwords), name, password],
                check=True,
                capture_output=True,
                timeout=20,
            )
        acl = folder / "acl"
        acl.write_text(
            f"user {SERVER_USER}\ntopic readwrite {prefix}/#\n"
            f"pattern write {prefix}/%u/up/#\npattern read {prefix}/%u/dn/#\n"
        )
        acl.chmod(0o600)
        (folder / "mosquitto.conf").write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous false\npassword_file {passwords}\nacl_file {acl}\n"
            f"persistence true\npersistence_location {folder}/\nautosave_on_changes true\nautosave_interval 1\n"
            "set_tcp_nodelay true\nmax_inflight_messages 1000\nuser root\n"
        )

    def __enter__(self) -> AgentBroker:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start it and wait until it listens."""
        with (self._folder / "mosquitto.log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._program, "-c", str(self._folder / "mosquitto.conf")], stdout=log, stderr=log
            )
        deadline = time.monotonic() + _START_S
        while not self._listens():
            assert self._process.poll() is None, (self._folder / "mosquitto.log").read_text()
            assert time.monotonic() < deadline, "mosquitto does not listen"
            time.sleep(0.02)

    def _listens(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return True
        except OSError:
            return False

    def kill(self) -> None:
        """End it without a goodbye; nothing happens when it does not run."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait(timeout=10)
            self._process = None

    def stop_answering(self) -> None:
        """Freeze it: connections stay, nothing is answered."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def answer_again(self) -> None:
        """Thaw it."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)
