"""A worker without its loop, and applications that post in shared memory what they like; the model is a real one."""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from edge_agent.inference import protocol
from edge_agent.inference.area import Area, create_area
from edge_agent.inference.clients import Clients
from edge_agent.inference.counts import Counts
from edge_agent.inference.model import LoadedModel
from edge_agent.inference.notice import Notice
from edge_agent.inference.protocol import Failure, Request, Result
from edge_agent.inference.runtime import find_runtime
from edge_agent.inference.slot import load_slot
from tests.support.inference_slots import images_of, slot_of, tensor_of

SIDE = 8


class Interrupted(LoadedModel):
    """A model during whose answers something happens."""

    meanwhile: Callable[[], object] = staticmethod(bool)

    def shortcut(
        self, inputs: Sequence[Any], outputs: Sequence[Any], *, takes_stored: bool
    ) -> Callable[[], Any] | None:
        shortcut = super().shortcut(inputs, outputs, takes_stored=takes_stored)
        if shortcut is None:
            return None

        def answer() -> Any:
            self.meanwhile()
            return shortcut()

        return answer


def a_model() -> Interrupted:
    return Interrupted(load_slot(slot_of("1.0.0")), find_runtime(), 1)


def listening(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(str(path))
    listener.listen()
    return listener


class Worker:
    """What a worker has, without its loop: the test says when it looks where."""

    def __init__(self, path: Path) -> None:
        self.model = a_model()
        self._path = path
        self._outside: list[Client] = []
        self.counts = Counts()
        self._poll = select.epoll()
        self.clients = Clients(self.model, listening(path), self._poll, self.counts)

    def let_in(self, area: Area | None = None, *, takes_stored: bool = True) -> Client:
        """A client that has shared memory, perhaps with others before."""
        client = Client(self._path)
        self._outside.append(client)
        self.clients.accept()
        client.attach(self.model.welcome, area, takes_stored=takes_stored)
        self.look_at_sockets()
        assert protocol.parse_attached(client.hear()) is None
        return client

    def look_at_sockets(self) -> None:
        for descriptor, _ in self._poll.poll(0):
            if descriptor in self.clients:
                self.clients.serve(descriptor)

    def close(self) -> None:
        for client in self._outside:
            client.close()
        self.clients.close()
        self._poll.close()


class Client:
    """An application that says and posts what it likes."""

    def __init__(self, path: Path, timeout_s: float = 0.0) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.settimeout(timeout_s)
        self._socket.connect(str(path))

    def attach(self, welcome: protocol.Welcome, area: Area | None, *, takes_stored: bool) -> None:
        self.hear()
        self.area, descriptor = create_area(welcome.tensor_bytes + SIDE * SIDE)
        if area is not None:
            self.area.put(0, area.take(0, area.size_bytes))
        self._room = welcome.tensor_bytes
        socket.send_fds(self._socket, [protocol.encode_attach(takes_stored=takes_stored)], [descriptor])
        os.close(descriptor)
        assert welcome.stored is not None
        self.notice = Notice(self.area, welcome.stored.notice_offset)
        self.input = self.area.tensor(welcome.inputs[0])

    def put(self, digit: int) -> None:
        self.input[...] = tensor_of(images_of(digit)[0])

    def put_image(self, digit: int) -> None:
        self.area.put(self._room, images_of(digit)[0].tobytes())

    def say(self, request: Request) -> None:
        self._socket.send(protocol.encode_request(request))

    def hear(self) -> bytes:
        """What the worker has said; empty where that is nothing."""
        try:
            return self._socket.recv(protocol.FRAME_MAX_BYTES)
        except BlockingIOError:
            return b""

    def answer(self) -> Result | Failure:
        return protocol.parse_answer(self.hear())

    def close(self) -> None:
        self._socket.close()
