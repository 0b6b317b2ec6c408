"""The applications that are connected to a worker: who may ask next, and what came out.

Guarantees: whatever one client sends, or stops sending, ends at most its own connection; one request of each ready
client is served in turn; no send or receive blocks; clients, frames and shared memory are bounded.
Owned by the worker's one thread.
"""

from __future__ import annotations

import array
import contextlib
import functools
import os
import select
import socket
import time
from typing import TYPE_CHECKING, Any

import msgspec

from contract.errors import (
    InputError,
    LitefleetError,
    MessageError,
    OverloadError,
)
from edge_agent.inference import protocol
from edge_agent.inference.answering import ChangedError
from edge_agent.inference.area import Area, adopt_area
from edge_agent.inference.notice import Notice

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from edge_agent.inference.answering import Answering, Shortcut
    from edge_agent.inference.counts import Counts

MAX_CLIENTS = 32
_TOO_MANY = OverloadError(
    f"{MAX_CLIENTS} clients are connected already",
    remedy="close connections that are not used, or share one between threads",
)
_LONG_AGO = 1 << 31
"""Half of the sequences there are: one that is smaller by more has begun anew."""
_RECEIVE_BYTES = 64
"""Longer than any frame of a client, so that a longer record shows by its length."""


class _Client:
    """One connection.

    Attributes:
        area: None until the client has attached one.
        notice: Where it may ask in shared memory, and finds answers; None for one that does neither.
        posted: Sequence of the last request that was found in shared memory, new or not.
        said: Sequence of the last request with tensors that came over the socket.
        early: Sequence of a request that was answered before its frame was received; 0 for none.
    """

    __slots__ = ("area", "early", "inputs", "notice", "outputs", "posted", "said", "shortcut", "socket")

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.area: Area | None = None
        self.inputs: list[npt.NDArray[Any]] = []
        self.outputs: list[npt.NDArray[np.float32]] = []
        self.shortcut: Shortcut | None = None
        self.notice: Notice | None = None
        self.posted = self.said = self.early = 0


class Clients:
    """All connections of a worker.

    Args:
        model: What answers.
        listener: Bound and listening.
        poll: Where connections are registered; the owner hands their events to ``serve``.
        counts: Where requests are counted.

    Attributes:
        last_s: How long the last answer took.
    """

    def __init__(self, model: Answering, listener: socket.socket, poll: select.epoll, counts: Counts) -> None:
        self._model = model
        self._listener = listener
        self._poll = poll
        self._counts = counts
        self.last_s = 0.0
        self._last: _Client | None = None
        self._clients: dict[int, _Client] = {}
        self._received = bytearray(_RECEIVE_BYTES)
        self._frame = memoryview(self._received)
        self._is_draining = False
        listener.setblocking(False)
        poll.register(listener, select.EPOLLIN)

    def __len__(self) -> int:
        return len(self._clients)

    def __contains__(self, descriptor: int) -> bool:
        return descriptor in self._clients

    def accept(self) -> None:
        """Take one new client, or tell it that there are too many; nothing while draining."""
        if self._is_draining:
            return
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return  # it left again, or this process has no descriptor to spare: the next event tries again
        connection.setblocking(False)
        if len(self._clients) >= MAX_CLIENTS:
            self._counts.count_refusal()
            with connection, contextlib.suppress(OSError):
                connection.send(refusal_of(_TOO_MANY))
            return
        client = _Client(connection)
        self._clients[connection.fileno()] = client
        self._poll.register(connection, select.EPOLLIN)
        welcome = msgspec.structs.replace(self._model.welcome, answered=self._counts.answered)
        self._send(client, protocol.encode_welcome(welcome))

    def serve(self, descriptor: int) -> None:
        """Deal with one frame of a client that has something to say."""
        client = self._clients[descriptor]
        try:
            if client.area is None:
                self._attach(client)
            else:
                self._answer(client, client.area)
        except (OSError, ChangedError):
            self._drop(client)
        except (MessageError, InputError) as error:
            self._send(client, refusal_of(error))
            self._drop(client)

    def replace(self, model: Answering) -> None:
        """Let another one answer from now on, with the same welcome."""
        self._model = model
        for client in self._clients.values():
            if client.area is not None:
                client.shortcut = self._shortcut_of(client)

    def drain(self) -> None:
        """Take no new clients; tell the others with their next answer to go elsewhere."""
        self._is_draining = True
        self._poll.unregister(self._listener)
        self._listener.close()

    def close(self) -> None:
        """End every connection."""
        for client in list(self._clients.values()):
            self._drop(client)
        self._listener.close()

    def _attach(self, client: _Client) -> None:
        frame, extras, _, _ = client.socket.recvmsg(
            _RECEIVE_BYTES, socket.CMSG_SPACE(array.array("i").itemsize)
        )
        descriptors = _descriptors(extras)
        if not frame:
            _close_all(descriptors)
            self._drop(client)
            return
        if not protocol.is_attach(frame) or len(descriptors) != 1:
            _close_all(descriptors)
            raise MessageError("the first frame of a client brings its shared memory")
        welcome = self._model.welcome
        room = protocol.IMAGE_MAX_BYTES if welcome.takes_images else 0
        client.area = adopt_area(
            descriptors[0],
            least_bytes=max(1, welcome.tensor_bytes),
            most_bytes=welcome.tensor_bytes + room + protocol.AREA_STEP_BYTES,
        )
        client.inputs = [client.area.tensor(place) for place in welcome.inputs]
        client.outputs = [client.area.tensor(place) for place in welcome.outputs]
        if welcome.stored is not None and protocol.takes_stored(frame):
            client.notice = Notice(client.area, welcome.stored.notice_offset)
            client.posted = client.notice.take(0)  # of the worker before this one, or said at the socket, too
        client.shortcut = self._shortcut_of(client)
        self._send(client, protocol.encode_attached())

    def _shortcut_of(self, client: _Client) -> Shortcut | None:
        takes_stored = client.notice is not None
        return self._model.shortcut(client.inputs, client.outputs, takes_stored=takes_stored)

    def hear(self) -> bool:
        """Answer a request that the client answered last has put into shared memory; its frame still comes.

        Whoever calls this has dealt with what was said at the sockets, so no client goes before its turn. While
        draining there is nothing to hear: a client that knows of it goes on in the same memory with the next worker.
        Nor is there while the frame of the one before is still to come: else nobody could tell it from a new request.

        Returns:
            Whether there was one.
        """
        client = self._last
        if client is None or client.notice is None or client.shortcut is None:
            return False
        if client.early or self._is_draining:
            return False
        sequence = client.notice.take(client.posted)
        if not sequence:
            return False
        client.posted = sequence
        if 0 <= client.said - sequence < _LONG_AGO:
            return False  # it was said first
        began = time.perf_counter()
        client.early = sequence
        try:
            self._respond(client, sequence, client.shortcut, began)
        except ChangedError:
            self._drop(client)
        return True

    def _answer(self, client: _Client, area: Area) -> None:
        size = client.socket.recv_into(self._received)
        began = time.perf_counter()
        if not size:
            self._drop(client)
            return
        frame = self._frame[:size]
        shortcut = client.shortcut
        if shortcut is None or not (sequence := protocol.sequence_of_tensors(frame)):
            request = protocol.parse_request(frame)
            sequence = request.sequence
            shortcut = functools.partial(self._infer, client, area, request)
        elif sequence == client.early:
            client.early = 0
            return
        else:
            client.said = sequence
        self._respond(client, sequence, shortcut, began)

    def _respond(self, client: _Client, sequence: int, shortcut: Shortcut, began: float) -> None:
        try:
            classes = shortcut()
        except LitefleetError as error:
            if not isinstance(error, InputError):
                self._counts.count_error()
            self._send(client, refusal_of(error, sequence, is_draining=self._is_draining))
            return
        latency_s = time.perf_counter() - began
        words = protocol.encode_result(sequence, latency_s, classes, is_draining=self._is_draining)
        self._last = client
        if classes is None and client.notice is not None:
            client.notice.post(sequence, words)
        self._send(client, words)
        self.last_s = latency_s
        self._counts.count_answer(latency_s)  # nobody waits for it

    def _infer(
        self, client: _Client, area: Area, request: protocol.Request
    ) -> list[tuple[int, float, bytes]]:
        model = self._model
        size = (request.height, request.width) if request.height else None
        if size:
            if not model.welcome.takes_images:
                raise InputError(f"{model.welcome.model} takes tensors, not images")
            start = model.welcome.tensor_bytes
            fault = protocol.image_fault(request, area.size_bytes - start)
            if fault:
                raise InputError(fault)
            outputs = model.infer_image(area.image(start, (request.height, request.width, request.channels)))
        elif request.file_bytes:
            outputs, size = model.infer_file(_file_of(model.welcome, area, request))
        else:
            outputs = model.infer(client.inputs)
        for view, output in zip(client.outputs, model.finish(outputs, size), strict=True):
            view[...] = output
        return model.classify(outputs)

    def _send(self, client: _Client, frame: bytes) -> None:
        """Send, or drop a client that does not read what it asked for."""
        try:
            client.socket.send(frame)
        except OSError:
            self._drop(client)

    def _drop(self, client: _Client) -> None:
        if self._clients.pop(client.socket.fileno(), None) is not None:
            if self._last is client:
                self._last = None
            self._poll.unregister(client.socket)
            client.socket.close()


def _file_of(welcome: protocol.Welcome, area: Area, request: protocol.Request) -> bytes:
    """A copy of a request's image file, which nobody can change while it is decoded.

    Raises:
        InputError: The model takes none, or it is not there.
    """
    if not welcome.takes_files:
        raise InputError(f"{welcome.model} takes no image files")
    start = welcome.tensor_bytes
    fault = protocol.file_fault(request.file_bytes, area.size_bytes - start)
    if fault:
        raise InputError(fault)
    return area.take(start, request.file_bytes)


def refusal_of(error: LitefleetError, sequence: int = 0, *, is_draining: bool = False) -> bytes:
    """The frame that tells a client of an error; see ``protocol.Failure``."""
    return protocol.encode_failure(
        protocol.Failure(
            code=error.code,
            message=": ".join(filter(None, (str(error), "; ".join(error.faults)))),
            remedy=error.remedy,
            sequence=sequence,
            is_draining=is_draining,
        )
    )


def _descriptors(extras: list[tuple[int, int, bytes]]) -> list[int]:
    found = array.array("i")
    for _, _, content in extras:  # no socket option asks the kernel for anything but SCM_RIGHTS
        found.frombytes(content[: len(content) - len(content) % found.itemsize])
    return list(found)


def _close_all(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
