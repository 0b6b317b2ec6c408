"""An application's end of one connection to a worker: the socket, and the memory they share.

Guarantees: no send or receive waits longer than asked; foreign socket errors come out as ``WorkerGoneError``, which
means that asking again is right, or as an error that says why it is not. Owned by one thread at a time.
"""

from __future__ import annotations

import array
import math
import os
import select
import socket
import struct
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt

from contract.errors import AccessError, AgentUnavailableError, ConfigError, DeadlineError, MessageError
from edge_agent.inference import protocol
from edge_agent.inference.area import Area, create_area
from edge_agent.inference.feed import Feed

_Extras = list[tuple[int, int, "array.array[int]"]]
_TIMEVAL = struct.Struct("@ll")
_TIMEOUT_STEP_S = 0.1
_WORDS_MAX = (1 << 32) - 1


class WorkerGoneError(AgentUnavailableError):
    """There is no worker at the other end, or it is ending: connect and ask again."""


class Connection:
    """Connected and greeted.

    Attributes:
        welcome: What the worker serves.
        room_bytes: For an image; -1 until ``attach``.
        is_waiting: Whether a request is out and its answer is not in.
    """

    def __init__(self, path: Path, timeout_s: float) -> None:
        """Connect.

        Raises:
            WorkerGoneError: Nobody listens there, or the worker takes no more clients.
            DeadlineError: No greeting in time.
            AccessError: This user may not connect.
            ConfigError: The path is too long for a socket.
        """
        self.room_bytes = -1
        self.is_waiting = False
        self._is_quick = False
        self._may_spin = protocol.may_spin(len(os.sched_getaffinity(0)))
        self._sequence = 0
        self._timeout_s = 0.0
        self._name = path.stem
        self._frame = memoryview(bytearray(protocol.FRAME_MAX_BYTES))
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self._set_timeout(timeout_s)
            self._reach(path)
            greeting = protocol.parse_welcome(self._receive())
        except BaseException:
            self._socket.close()
            raise
        if isinstance(greeting, protocol.Failure):
            self._socket.close()
            raise WorkerGoneError(greeting.message)
        self.welcome = greeting
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)

    def attach(self, image_bytes: int) -> None:
        """Share memory for the tensors and an image of so many bytes; once per connection.

        Raises:
            WorkerGoneError: The worker is gone.
            DeadlineError: No answer in time.
            AgentUnavailableError: The worker refuses the memory, or there is none.
        """
        room = math.ceil(image_bytes / protocol.AREA_STEP_BYTES) * protocol.AREA_STEP_BYTES
        try:
            area, descriptor = create_area(max(1, self.welcome.tensor_bytes + room))
        except OSError as error:
            raise AgentUnavailableError(f"no memory to share with the worker: {error}") from error
        try:
            rights: _Extras = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))]
            self._send(protocol.encode_attach(), rights)
        finally:
            os.close(descriptor)
        refusal = protocol.parse_attached(self._receive())
        if refusal is not None:
            raise AgentUnavailableError(f"the worker refuses the shared memory: {refusal.message}")
        self._area: Area = area
        self._inputs = [area.tensor(place) for place in self.welcome.inputs]
        self._outputs = {place.name: area.tensor(place) for place in self.welcome.outputs}
        self.room_bytes = room

    def ask(self, feed: Feed, timeout_s: float) -> protocol.Result | protocol.Failure:
        """Send a request and wait for its answer.

        Raises:
            WorkerGoneError: The worker is gone.
            DeadlineError: No answer in time.
        """
        self._set_timeout(timeout_s)
        self._sequence = self._sequence % _WORDS_MAX + 1
        request = protocol.Request(self._sequence)
        if feed.image is not None:
            request = protocol.Request(self._sequence, *feed.image.shape)
            self._area.image(self.welcome.tensor_bytes, feed.image.shape)[...] = feed.image
        else:
            for view, tensor in zip(self._inputs, feed.tensors, strict=True):
                view[...] = tensor
        self.is_waiting = True
        self._send(protocol.encode_request(request))
        if self._is_quick:
            self._linger()
        answer = protocol.parse_answer(self._receive())
        if answer.sequence not in {self._sequence, 0}:
            raise MessageError(f"the worker answered request {answer.sequence}, not {self._sequence}")
        self.is_waiting = False
        self._is_quick = (
            self._may_spin and isinstance(answer, protocol.Result) and answer.latency_s < protocol.SPIN_S
        )
        return answer

    def read_outputs(self) -> dict[str, npt.NDArray[np.float32]]:
        """Copies of the last answer's outputs."""
        return {name: view.copy() for name, view in self._outputs.items()}

    def close(self) -> None:
        """Let the worker go; the memory is unmapped when the last view of it is gone."""
        self._socket.close()

    def _reach(self, path: Path) -> None:
        try:
            self._socket.connect(os.fspath(path))
        except (ConnectionError, FileNotFoundError) as error:
            raise WorkerGoneError(f"nobody answers at {path}: {error}") from error
        except BlockingIOError as error:
            raise self._late() from error
        except PermissionError as error:
            raise AccessError(
                f"this user may not use {path}", remedy="add it to the group that owns the agent's run_dir"
            ) from error
        except OSError as error:  # the one left: a path longer than a socket's address
            raise ConfigError(f"{path} is no usable socket path: {error}") from error

    def _send(self, frame: bytes, extras: _Extras | None = None) -> None:
        try:
            if extras is None:
                self._socket.send(frame)
            else:
                self._socket.sendmsg([frame], extras)
        except OSError as error:
            raise WorkerGoneError(f"the worker of {self._name} is gone: {error}") from error

    def _receive(self) -> memoryview:
        try:
            size = self._socket.recv_into(self._frame)
        except BlockingIOError as error:
            raise self._late() from error
        except OSError as error:
            raise WorkerGoneError(f"the worker of {self._name} is gone: {error}") from error
        if not size:
            raise WorkerGoneError(f"the worker of {self._name} has closed the connection")
        return self._frame[:size]

    def _linger(self) -> None:
        """Stay awake for an answer that will be there in a moment, as the last one was."""
        ends = time.perf_counter() + protocol.SPIN_S
        while not self._poll.poll(0) and time.perf_counter() < ends:
            os.sched_yield()  # the worker may be waiting for this very core

    def _late(self) -> DeadlineError:
        return DeadlineError(f"{self._name} gave no answer within {self._timeout_s:g} s")

    def _set_timeout(self, timeout_s: float) -> None:
        """Let the kernel bound every wait: one system call per receive, and none here while the value stays."""
        rounded = max(1, math.ceil(timeout_s / _TIMEOUT_STEP_S)) * _TIMEOUT_STEP_S
        if rounded != self._timeout_s:
            self._timeout_s = rounded
            value = _TIMEVAL.pack(int(rounded), round(rounded % 1 * 1e6))
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, value)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, value)
