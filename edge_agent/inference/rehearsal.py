"""A worker's first client is itself: the whole way of a request is gone once before an application goes it.

Guarantees: takes little time, and nothing that it meets keeps a worker from serving: what is wrong with the model is
the self-test's to say. Leaves no client behind. Asks with tensors: an image may need pillow, which takes memory, and
perhaps nobody sends one.
"""

from __future__ import annotations

import array
import contextlib
import os
import select
import socket

import numpy as np

from contract.errors import LitefleetError
from edge_agent.inference import protocol
from edge_agent.inference.clients import Clients
from edge_agent.inference.dialogue import Dialogue

_RUNS_MAX = 10
"""Python adapts its code to what it meets within so many runs (PEP 659)."""
_LONGEST_S = 0.005
_RUNS_MIN = 2
"""A model of which fewer runs take ``_LONGEST_S`` is not asked at all: with one that slow a cold way does not show."""


def runs_for(run_s: float) -> int:
    """How often to ask a model before anybody else does.

    Args:
        run_s: How long it takes.
    """
    runs = _RUNS_MAX if run_s * _RUNS_MAX <= _LONGEST_S else int(_LONGEST_S / run_s)
    return runs if runs >= _RUNS_MIN else 0


def rehearse(path: str, clients: Clients, poll: select.epoll, run_s: float) -> None:
    """Connect, share memory, ask, and leave; a fresh worker's first client took 0.5 ms longer than its second one.

    Args:
        path: Where the worker listens already.
        clients: Of the worker; none is connected.
        poll: Where clients are registered.
        run_s: How long the model takes.
    """
    with (
        contextlib.suppress(LitefleetError, OSError),
        socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as own,
    ):
        own.settimeout(0)  # what it waits for was done before
        own.connect(path)
        clients.accept()
        _talk(own, clients, poll, runs_for(run_s))
    _serve(clients, poll)  # notices that the client has left


def _talk(own: socket.socket, clients: Clients, poll: select.epoll, runs: int) -> None:
    dialogue = Dialogue(own.recv(protocol.FRAME_MAX_BYTES))
    frame, descriptor = dialogue.offer(0)
    try:
        rights = array.array("i", [descriptor])
        own.sendmsg([frame], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
    finally:
        os.close(descriptor)
    _serve(clients, poll)
    dialogue.conclude_offer(own.recv(protocol.FRAME_MAX_BYTES))
    feed = {at.name: np.zeros(at.shape, at.dtype.value) for at in dialogue.welcome.inputs}
    for _ in range(runs):
        own.send(dialogue.request(dialogue.feed_of(feed)))
        clients.hear()  # all but the first, where requests may be in shared memory
        _serve(clients, poll)
        dialogue.understand(own.recv(protocol.FRAME_MAX_BYTES))


def _serve(clients: Clients, poll: select.epoll) -> None:
    """Deal with what the client has sent."""
    for descriptor, _ in poll.poll(0):
        if descriptor in clients:
            clients.serve(descriptor)
