"""Sinks on this board: a file, a Python function, a program, a GPIO line. The only importer of gpiod.

Guarantees: what a sink cannot do is a LitefleetError and ends nothing; what it writes is bounded.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from contract.errors import ConfigError, DeviceError, StorageError
from edge_agent.inference.sources.results import encode_result, is_wanted
from edge_agent.inference.sources.settings import Sink as Settings

_MODE = 0o640


class FileSink:
    """JSON lines. ``results.jsonl`` becomes ``results.jsonl.1`` when it is full, ``.1`` becomes ``.2`` and so on."""

    def __init__(self, sink: Settings) -> None:
        self._path = Path(sink.path)
        self._max_bytes = sink.max_bytes
        self._keep = sink.keep
        self._fsync = sink.fsync
        self._descriptor = -1

    def write(self, result: dict[str, Any]) -> None:
        """See ``Sink``."""
        line = encode_result(result) + b"\n"
        try:
            if self._descriptor < 0:
                self._open()
            size = os.fstat(self._descriptor).st_size
            if size and size + len(line) > self._max_bytes:
                self._rotate()
                self._open()
                size = 0
            self._write(line, size)
        except OSError as error:
            self.close()
            raise StorageError(f"cannot write {self._path}: {error.strerror}") from error

    def _write(self, line: bytes, size: int) -> None:
        """Write a whole line, or nothing of it."""
        if os.write(self._descriptor, line) != len(line):
            os.ftruncate(self._descriptor, size)
            raise OSError(28, "no space left on device")
        if self._fsync:
            os.fdatasync(self._descriptor)

    def _open(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._descriptor = os.open(self._path, flags, _MODE)

    def _rotate(self) -> None:
        self.close()
        if not self._keep:
            self._path.unlink()
            return
        for number in range(self._keep - 1, 0, -1):
            with contextlib.suppress(FileNotFoundError):
                self._numbered(number).replace(self._numbered(number + 1))
        self._path.replace(self._numbered(1))

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")

    def close(self) -> None:
        """See ``Sink``."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class CallbackSink:
    """A Python function of the user's, called in the source's process with each answer as a mapping."""

    def __init__(self, sink: Settings) -> None:
        self._name = sink.function
        module, _, name = sink.function.partition(":")
        try:
            function = getattr(importlib.import_module(module), name)
        except Exception as error:
            raise ConfigError(
                f"{sink.function} cannot be loaded: {error!r}",
                remedy="install its package into the agent's environment, or set PYTHONPATH",
            ) from error
        if not callable(function):
            raise ConfigError(f"{sink.function} is no function")
        self._function: Callable[[dict[str, Any]], object] = function

    def write(self, result: dict[str, Any]) -> None:
        """See ``Sink``."""
        try:
            self._function(result)
        except Exception as error:
            raise DeviceError(f"{self._name} failed: {error!r}") from error

    def close(self) -> None:
        """See ``Sink``."""


class HookSink:
    """A program, run with one answer as JSON on its standard input; one at a time, and not for longer than agreed."""

    def __init__(self, sink: Settings) -> None:
        self._command = list(sink.command)
        self._timeout_s = sink.timeout_s

    def write(self, result: dict[str, Any]) -> None:
        """See ``Sink``."""
        try:
            done = subprocess.run(
                self._command,
                input=encode_result(result) + b"\n",
                stdout=subprocess.DEVNULL,
                timeout=self._timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise DeviceError(f"{self._command[0]} took longer than {self._timeout_s:g} s") from error
        except OSError as error:
            raise DeviceError(f"{self._command[0]} cannot be run: {error.strerror}") from error
        if done.returncode:
            raise DeviceError(f"{self._command[0]} ended with {done.returncode}")

    def close(self) -> None:
        """See ``Sink``."""


class Line(Protocol):
    """A GPIO line that was requested as an output."""

    def set(self, *, is_active: bool) -> None:
        """Set it."""

    def release(self) -> None:
        """Set it inactive, and free it."""


class GpioSink:
    """A GPIO line, active while the last answer is wanted.

    Args:
        sink: Which answers are wanted.
        line: The line, inactive.
    """

    def __init__(self, sink: Settings, line: Line) -> None:
        self._labels = sink.labels
        self._min_score = sink.min_score
        self._line = line

    def write(self, result: dict[str, Any]) -> None:
        """See ``Sink``."""
        try:
            self._line.set(is_active=is_wanted(result, self._labels, self._min_score))
        except OSError as error:
            raise DeviceError(f"the GPIO line cannot be set: {error.strerror}") from error

    def close(self) -> None:
        """See ``Sink``."""
        self._line.release()


class GpiodLine:
    """A line through libgpiod 2.

    Args:
        sink: Names the chip and the line.
        library: ``gpiod``.

    Raises:
        ConfigError: There is no such line, or it may not be used.
    """

    def __init__(self, sink: Settings, library: Any) -> None:
        self._number = sink.line
        self._active = library.line.Value.ACTIVE
        self._inactive = library.line.Value.INACTIVE
        settings = library.LineSettings(
            direction=library.line.Direction.OUTPUT,
            active_low=sink.active_low,
            output_value=self._inactive,
        )
        try:
            self._request = library.request_lines(
                sink.chip, consumer="litefleet", config={sink.line: settings}
            )
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"line {sink.line} of {sink.chip} cannot be used: {error}",
                remedy="see gpioinfo; let the agent's user into the group gpio",
            ) from error

    def set(self, *, is_active: bool) -> None:
        """See ``Line``."""
        self._request.set_value(self._number, self._active if is_active else self._inactive)

    def release(self) -> None:
        """See ``Line``."""
        self._request.set_value(self._number, self._inactive)
        self._request.release()


def open_gpio(sink: Settings) -> GpioSink:
    """The sink of a GPIO line.

    Raises:
        ConfigError: gpiod is not there, or the line is not.
    """
    try:
        library = importlib.import_module("gpiod")
    except ImportError as error:
        raise ConfigError(
            f"gpiod cannot be used: {error}",
            remedy="pip install 'gpiod>=2', or a sink of kind hook that sets the line",
        ) from error
    return GpioSink(sink, GpiodLine(sink, library))
