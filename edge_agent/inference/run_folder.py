"""The run folder: sockets, the symlink per model that says which worker is active, and who owns it all.

Guarantees: one agent at a time owns a run folder; a symlink points to the old worker or the new one, never to
neither, but for a gap that memory asks for; what a killed agent left behind is gone before a new one begins.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Collection
from pathlib import Path

from contract.errors import ConfigError, IncompatibleError, StorageError
from edge_agent.inference.breaker import name_of_rest
from edge_agent.inference.gap import GAP
from edge_agent.inference.protocol import PID_FILE, SOCKET_PATH_MAX_BYTES, WORKER_FOLDER, socket_name

_FOLDER_MODE = 0o750
_REMEDY = "choose a shorter run_dir, for example /run/litefleet"


class RunFolder:
    """An agent's run folder, locked until ``close``.

    Args:
        path: Made when missing, with mode 0750: its group may ask the models.
        reserved: Names that are no model's: those of pipelines and ensembles.

    Raises:
        ConfigError: The path is too long for a socket, or another agent uses the folder.
        StorageError: It cannot be made or written.
    """

    def __init__(self, path: Path, reserved: Collection[str] = ()) -> None:
        self._path = path.absolute()
        self._reserved = reserved
        _check_length(self._path / WORKER_FOLDER / _worker_socket())
        for name in reserved:
            _check_length(self._path / socket_name(name))
        try:
            self._path.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
            (self._path / WORKER_FOLDER).mkdir(mode=_FOLDER_MODE, exist_ok=True)
            self._lock = os.open(self._path / PID_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise StorageError(f"run folder {self._path} cannot be used: {error}") from error
        try:
            self._take()
        except BaseException:
            os.close(self._lock)
            raise

    def _take(self) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(
                f"another agent uses the run folder {self._path}",
                remedy="end it, or give this one its own run_dir",
            ) from error
        try:
            os.ftruncate(self._lock, 0)
            os.pwrite(self._lock, f"{os.getpid()}\n".encode(), 0)
            self._sweep()
        except OSError as error:
            raise StorageError(f"run folder {self._path} cannot be used: {error}") from error

    def _sweep(self) -> None:
        for stale in (*self._path.glob("*.sock"), *(self._path / WORKER_FOLDER).glob("*.sock")):
            stale.unlink(missing_ok=True)

    def check_model(self, model: str) -> None:
        """Make sure that applications can reach a model of this name.

        Raises:
            ConfigError: Its socket's path would be too long.
            IncompatibleError: A pipeline or an ensemble has its name.
        """
        if model in self._reserved:
            raise IncompatibleError(
                f"{model!r} is the name of a pipeline or an ensemble on this device",
                remedy="give that another name in the agent's configuration",
            )
        _check_length(self._path / socket_name(model))

    def new_socket_path(self) -> Path:
        """Where a new worker is to listen."""
        return new_socket(self._path)

    def point(self, model: str, target: Path) -> None:
        """Make a worker's socket the one that applications reach under the model's name, in one step.

        Raises:
            StorageError: The folder cannot be written.
        """
        point_link(self._path, model, target.name)

    def rest(self, model: str, until_s: float) -> None:
        """Say under the model's name that no worker is to be waited for until a monotonic time.

        Raises:
            StorageError: The folder cannot be written.
        """
        point_link(self._path, model, name_of_rest(until_s))

    def open_gap(self, model: str) -> None:
        """Say under the model's name that it is between two versions.

        Raises:
            StorageError: The folder cannot be written.
        """
        point_link(self._path, model, GAP)

    def unpoint(self, model: str) -> None:
        """No worker serves the model any more."""
        (self._path / socket_name(model)).unlink(missing_ok=True)

    def close(self) -> None:
        """Remove what is ours and let another agent use the folder."""
        self._sweep()
        (self._path / PID_FILE).unlink(missing_ok=True)
        os.close(self._lock)


def new_socket(run_dir: Path) -> Path:
    """Where in a run folder something new is to listen."""
    return run_dir / WORKER_FOLDER / _worker_socket()


def point_link(run_dir: Path, name: str, target: str) -> None:
    """Make what has a name in the worker folder the one that applications reach under a name, in one step.

    Raises:
        StorageError: The folder cannot be written.
    """
    link = run_dir / socket_name(name)
    draft = link.with_name(f".{link.name}.{secrets.token_hex(4)}")
    try:
        draft.symlink_to(Path(WORKER_FOLDER) / target)
        draft.replace(link)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise StorageError(f"{link} cannot be written: {error}") from error


def _worker_socket() -> str:
    return f"{secrets.token_hex(4)}.sock"


def _check_length(path: Path) -> None:
    size = len(os.fsencode(path))
    if size > SOCKET_PATH_MAX_BYTES:
        raise ConfigError(
            f"socket path {path} has {size} bytes, at most {SOCKET_PATH_MAX_BYTES} are possible",
            remedy=_REMEDY,
        )
