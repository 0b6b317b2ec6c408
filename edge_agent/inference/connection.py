"""An application's end of one connection to a worker: a socket that a thread waits at.

Guarantees: no send or receive waits longer than asked; foreign socket errors come out as ``WorkerGoneError``, which
means that asking again is right, or as an error that says why it is not. Owned by one thread at a time.
"""

from __future__ import annotations

import array
import contextlib
import math
import os
import select
import socket
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from contract.errors import AgentUnavailableError, DeadlineError, LitefleetError
from edge_agent.inference import protocol
from edge_agent.inference.area import Descriptor
from edge_agent.inference.asking import rehearse, unreachable, worker_of
from edge_agent.inference.dialogue import Dialogue, WorkerGoneError
from edge_agent.inference.expecting import Expectation
from edge_agent.inference.feed import Feed
from edge_agent.inference.notice import LOOKS
from edge_agent.inference.patience import Patience

_Extras = list[tuple[int, int, "array.array[int]"]]
_TIMEVAL = struct.Struct("@ll")
_TIMEOUT_STEP_S = 0.1
_COOLS_S = 150e-6
"""What was rehearsed is rehearsed again after this: a core whose caches neighbours use too forgets it. An answer then
took 36 to 40 microseconds from its arrival to the caller, not 43 to 74 (own measurement, medians of three runs)."""
_SELECT_END = 1024
"""Descriptors from here on are not for select(2), which alone takes its time-out in microseconds."""


class Memory(NamedTuple):
    """What an application shares with a worker, for the connection to the next one.

    Attributes:
        dialogue: For which it was made; it is over.
        descriptor: Of it.
    """

    dialogue: Dialogue
    descriptor: Descriptor


class Connection:
    """Connected; ``greet`` comes first, then as many ``ask`` as there are requests.

    Attributes:
        dialogue: What is said on it, once the worker has greeted.
        worker: Which worker the model's name led to.
    """

    dialogue: Dialogue

    def __init__(self, path: Path, timeout_s: float, memory: Memory | None = None) -> None:
        """Connect.

        Args:
            path: The model's socket in the run folder.
            timeout_s: How long to wait for a worker that many connect to; 0 for not at all.
            memory: To share with this worker too, which takes it before the first request; closed with the connection.

        Raises:
            WorkerGoneError: Nobody listens there.
            DeadlineError: Too many connect to the worker.
            AccessError: This user may not connect.
            ConfigError: The path is too long for a socket.
        """
        self._expectation = Expectation()
        self._descriptor = memory.descriptor if memory else None
        self._before = memory.dialogue if memory else None
        self._timeout_s = 0.0
        self._name = path.stem
        self._is_owed = False
        self._frame = memoryview(bytearray(protocol.FRAME_MAX_BYTES))
        self.worker = worker_of(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)
        try:
            if timeout_s:
                self._set_timeout(timeout_s)
                self._reach(path)
            else:
                self._socket.setblocking(False)
                self._reach(path)
                self._socket.setblocking(True)
            if self._descriptor is not None and self._before is not None:
                self._send_memory(self._before.words_of_offer(), self._descriptor)
        except BaseException:
            self.close()
            raise

    def greet(self, timeout_s: float) -> bool:
        """Take the worker's greeting.

        Returns:
            Whether the memory that it was connected with is of use to it; where not, only a new connection is.

        Raises:
            WorkerGoneError: It takes no more clients, or is gone.
            DeadlineError: No greeting in time.
        """
        self._set_timeout(timeout_s)
        self.dialogue = Dialogue(self._receive())
        self._patience = Patience(len(os.sched_getaffinity(0)), self.dialogue.welcome.threads)
        return self._before is None or self.dialogue.follow(self._before)

    def ask(self, feed: Feed, timeout_s: float) -> protocol.Result | protocol.Failure:
        """Send a request and wait for its answer; with the first one goes the memory for all of them.

        Args:
            feed: The request; it fits into the memory, where that is shared already.
            timeout_s: How long to wait.

        Raises:
            WorkerGoneError: The worker is gone.
            DeadlineError: No answer in time.
            AgentUnavailableError: The worker refuses the memory, or there is none.
        """
        if self.dialogue.room_bytes < 0:
            return self._ask_first(feed, timeout_s)
        return self._exchange(self.dialogue.request(feed), timeout_s, self._rehearse)

    def share(self, timeout_s: float) -> None:
        """Share memory for the tensors, so that they can be put there before a request; once per connection.

        Args:
            timeout_s: How long to wait.

        Raises:
            WorkerGoneError: The worker is gone.
            DeadlineError: No answer in time.
            AgentUnavailableError: The worker refuses the memory, or there is none.
        """
        self._set_timeout(timeout_s)
        self._offer(0)
        self.dialogue.conclude_offer(self._receive())

    def ask_in_place(
        self, timeout_s: float, rehearse: Callable[[], None], *, is_alone: bool
    ) -> protocol.Result | protocol.Failure:
        """Ask with what lies in the dialogue's ``sinks``; raises as ``ask``.

        Args:
            timeout_s: How long to wait.
            rehearse: Called shortly before the answer is expected, to do with the last one what will be done with it.
            is_alone: Whether no other request is under way, so that there is a processor to stay awake on for it.
        """
        return self._exchange(self.dialogue.request_of_sinks(), timeout_s, rehearse if is_alone else None)

    @property
    def is_quiet(self) -> bool:
        """Whether the worker neither said anything nor closed the connection, while nobody asked."""
        try:
            self._hear_what_is_owed()
        except LitefleetError:
            return False
        return not self._poll.poll(0)

    def _exchange(
        self, frame: bytes, timeout_s: float, rehearse: Callable[[], None] | None
    ) -> protocol.Result | protocol.Failure:
        if not self._timeout_s - _TIMEOUT_STEP_S < timeout_s <= self._timeout_s:
            self._set_timeout(timeout_s)
        began = time.perf_counter()
        self._send(frame)
        if self._before is not None:
            self._hear_of_memory()
        asleep_s = self._expectation.asleep_s() if rehearse is not None else None
        is_awake = asleep_s is not None and self._patience.try_awake()
        if is_awake and rehearse is not None:
            self._linger(asleep_s or 0.0, rehearse)
        answer = self._answer()
        self._expectation.note(time.perf_counter() - began)
        return self.dialogue.understand(answer)

    def _answer(self) -> bytes | memoryview:
        """The answer, where it is first: in shared memory or at the socket."""
        if self.dialogue.is_posted() and not self._is_owed:
            self._is_owed = True
            return self.dialogue.posted()
        self._hear_what_is_owed()
        return self._receive()

    def _hear_what_is_owed(self) -> None:
        """Take from the socket the answer that was found in shared memory before it was said."""
        if self._is_owed:
            self._is_owed = False
            self._receive()

    def _ask_first(self, feed: Feed, timeout_s: float) -> protocol.Result | protocol.Failure:
        """Share memory and ask at once: after a switch this is the request that takes longest."""
        ends = time.monotonic() + timeout_s
        self._set_timeout(timeout_s)
        self._offer(feed.image_bytes)
        request = self.dialogue.request(feed)
        with contextlib.suppress(WorkerGoneError):  # a worker that refuses the memory says so and leaves
            self._send(request)
        try:
            answer = self._receive()
        except WorkerGoneError:
            # Where it left the request unread, the system tells that before its last word.
            answer = self._receive()
        self.dialogue.conclude_offer(answer)
        self._set_timeout(ends - time.monotonic())
        return self.dialogue.understand(self._receive())

    def _offer(self, image_bytes: int) -> None:
        frame, descriptor = self.dialogue.offer(image_bytes)
        self._descriptor = Descriptor(descriptor)
        self._send_memory(frame, self._descriptor)

    def _hear_of_memory(self) -> None:
        """Take the worker's answer to the memory that was brought along."""
        self._before = None
        try:
            self.dialogue.conclude_offer(self._receive())
        except WorkerGoneError:
            raise
        except AgentUnavailableError as error:
            raise WorkerGoneError(str(error)) from error  # it may take one that is made for it

    def close(self) -> None:
        """Let the worker go; the memory is unmapped when the last view of it is gone."""
        self._socket.close()
        if self._descriptor is not None:
            self._descriptor.close()

    def end(self) -> Memory | None:
        """Let a worker go that has answered; what was shared with it may be shared with the next one."""
        descriptor, self._descriptor = self._descriptor, None
        self.close()
        return None if descriptor is None else Memory(self.dialogue, descriptor)

    def _reach(self, path: Path) -> None:
        try:
            self._socket.connect(os.fspath(path))
        except BlockingIOError as error:
            raise self._late() from error
        except OSError as error:
            raise unreachable(path, error) from error

    def _send_memory(self, frame: bytes, descriptor: Descriptor) -> None:
        rights = array.array("i", [descriptor.number])
        self._send(frame, [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])

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

    def _rehearse(self) -> None:
        rehearse(self.dialogue)

    def _linger(self, asleep_s: float, rehearse: Callable[[], None]) -> None:
        """Sleep, then stay awake for an answer that will be there in a moment, as the last ones were."""
        self._hear_what_is_owed()  # while the worker works
        if asleep_s:
            if self._socket.fileno() >= _SELECT_END:
                return
            lies_down = time.perf_counter()
            if not select.select((self._socket,), (), (), asleep_s)[0]:
                rehearse()
                self._expectation.note_late(time.perf_counter() - lies_down - asleep_s)
        began = time.perf_counter()
        ends = began + self._expectation.awake_s()
        again = began + _COOLS_S if asleep_s else ends
        has_come, looks = False, 0
        while not has_come and (now := time.perf_counter()) < ends:
            if now > again:
                rehearse()
                again = now + _COOLS_S
            looks += 1
            has_come = self.dialogue.is_posted() or (not looks % LOOKS and bool(self._poll.poll(0)))
        self._patience.note(has_come=has_come)

    def _late(self) -> DeadlineError:
        return DeadlineError(f"{self._name} gave no answer within {self._timeout_s:g} s")

    def _set_timeout(self, timeout_s: float) -> None:
        """Let the kernel bound every wait: one system call per receive, and none here while the value stays."""
        rounded = max(1, math.ceil(timeout_s / _TIMEOUT_STEP_S)) * _TIMEOUT_STEP_S
        if rounded != self._timeout_s:
            self._timeout_s = rounded
            bound_waits(self._socket, rounded, rounded)


def bound_waits(connected: socket.socket, receive_s: float, send_s: float) -> None:
    """Have the kernel end every wait at a blocking socket with ``BlockingIOError`` after a time."""
    for option, wait_s in ((socket.SO_RCVTIMEO, receive_s), (socket.SO_SNDTIMEO, send_s)):
        value = _TIMEVAL.pack(int(wait_s), round(wait_s % 1 * 1e6))
        connected.setsockopt(socket.SOL_SOCKET, option, value)
