"""Threads that each serve one HTTP client, for as long as it asks one model the same way.

Guarantees: an attendant answers only what a plan says, with the long way's words; whatever else comes, or does not come
in time, goes back to the event loop with every byte that was not answered, and so does a request whose worker ended. It
serves nobody while others wait for a turn, leaves one turn to them, and waits for a silent client for ``STAY_S``.

Threads: the event loop lends a client and reads nothing from it until it comes back; meanwhile its socket belongs to
the attendant, like the connection to the worker. Tallies and spare connections belong to whoever holds the lock. Why
threads: docs/adr/0057.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import socket
import threading
import time
from typing import NamedTuple, Protocol

from contract.errors import LitefleetError
from edge_agent.gateway.plans import Plan, PlanBook
from edge_agent.gateway.responses import Response, error_response, failed_response
from edge_agent.gateway.settings import GatewaySettings
from edge_agent.gateway.shortcut import response_to
from edge_agent.gateway.tally import ModelTally
from edge_agent.gateway.wire import Request, encode
from edge_agent.inference.async_client import AsyncAgent
from edge_agent.inference.connection import Connection, bound_waits
from edge_agent.inference.dialogue import WorkerGoneError
from edge_agent.inference.lane import Lane
from edge_agent.inference.protocol import Welcome

STAY_S = 0.5
"""How long an attendant waits for what comes next from its client."""
MAX_ATTENDANTS = 4
"""Threads, over all models."""
_CONNECT_S = 0.5

logger = logging.getLogger(__name__)


class Death(NamedTuple):
    """A worker that ended with a request.

    Attributes:
        welcome: It had said.
        began: Monotonic time at which the request had arrived.
        ends: Until which its client waits.
    """

    welcome: Welcome
    began: float
    ends: float


class Back(NamedTuple):
    """How a client comes back.

    Attributes:
        content: What came from it and is not answered.
        served: How many of its requests were answered.
        death: Why ``content``, a whole request, is not; None otherwise.
        is_broken: Whether an answer was cut off, so that nothing more can be said to it.
    """

    content: bytes
    served: int
    death: Death | None = None
    is_broken: bool = False


class Guest(Protocol):
    """A client that can be lent."""

    def lend(self) -> socket.socket:
        """A socket of its own that leads to the client, which blocks; raises ``OSError``."""

    def come_back(self, back: Back) -> bool:
        """Go on in the event loop: True when the turn goes on with the request whose worker ended."""


class _Stay(NamedTuple):
    """A client that was lent."""

    guest: Guest
    client: socket.socket
    head: bytes
    words: bytes
    plan: Plan
    lane: Lane


class Attendants:
    """All of them, at most ``MAX_ATTENDANTS``; they are started when they are needed, and rest until the ``end``.

    Args:
        fleet: The SDK.
        plans: Of the requests they may answer.
        settings: Bounds.
    """

    def __init__(self, fleet: AsyncAgent, plans: PlanBook, settings: GatewaySettings) -> None:
        self._fleet = fleet
        self._plans = plans
        self._settings = settings
        self._orders: queue.SimpleQueue[tuple[asyncio.AbstractEventLoop, _Stay] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._tallies: dict[str, ModelTally] = {}
        self._spares: dict[str, Connection] = {}
        self._threads = 0
        self._stays = 0
        self._is_ending = False

    # The event loop's.

    def attend(self, request: Request, head: bytes, guest: Guest) -> bool:
        """Serve a client from its next request on, if those may be like one that was just answered.

        Args:
            request: That was answered.
            head: With which it came.
            guest: The client; comes back when anything else is to be done for it.
        """
        words = bytes(request.body[: request.inference_header_bytes or 0])
        plan = self._plans.find(request.target, words)
        if plan is None or self._is_ending or self._stays >= MAX_ATTENDANTS:
            return False
        lane = self._fleet.model(plan.model).lane
        if not lane.lend():
            return False
        try:
            client = guest.lend()
        except OSError:  # no descriptor is left: it can be served as before
            lane.take_back()
            return False
        self._stays += 1
        if self._stays > self._threads:
            self._threads += 1
            threading.Thread(target=self._work, name="attendant", daemon=True).start()
        self._orders.put((asyncio.get_running_loop(), _Stay(guest, client, head, words, plan, lane)))
        return True

    def tally(self, model: str) -> ModelTally:
        """How many requests of a model they have answered."""
        with self._lock:
            return self._tallies.get(model, ModelTally()) + ModelTally()

    def sweep(self) -> None:
        """Let workers go that are no longer asked."""
        with self._lock:
            for model, spare in list(self._spares.items()):
                if self._is_ending or not self._fleet.model(model).lane.has(spare.worker):
                    del self._spares[model]
                    spare.close()

    def end(self) -> None:
        """Send every client back after its answer, or within ``STAY_S``, and end."""
        self._is_ending = True
        for _ in range(self._threads):
            self._orders.put(None)
        self.sweep()

    def _come_back(self, stay: _Stay, back: Back) -> None:
        self._stays -= 1
        if not stay.guest.come_back(back):
            stay.lane.take_back()

    # An attendant's.

    def _work(self) -> None:
        while (order := self._orders.get()) is not None:
            loop, stay = order
            try:
                with stay.client:
                    back = self._serve(stay)
                    stay.client.setblocking(False)  # as the event loop needs it
            except Exception:
                # One client must not end the others: the traceback goes to the log.
                logger.exception("cannot serve a client of %s", stay.plan.model)
                back = Back(b"", 0, is_broken=True)
            with contextlib.suppress(RuntimeError):  # the event loop has ended, and the process will
                loop.call_soon_threadsafe(self._come_back, stay, back)

    def _serve(self, stay: _Stay) -> Back:
        connection = self._connect(stay)
        if connection is None:
            return Back(b"", 0)
        bound_waits(stay.client, STAY_S, self._settings.receive_timeout_s)
        visit = _Visit(stay, connection)
        try:
            while (back := visit.receive() or self._answer(stay, visit)) is None:
                visit.served += 1
            return back
        finally:
            self._keep(stay.plan.model, connection)

    def _answer(self, stay: _Stay, visit: _Visit) -> Back | None:
        """Answer the request that was received; None when the next one may come."""
        began = time.monotonic()
        deadline_s = min(self._settings.deadline_s, stay.plan.timeout_s or self._settings.deadline_s)
        if not stay.lane.has(stay.plan.worker):
            return Back(visit.content(), visit.served)
        failure: LitefleetError | None = None
        try:
            response = visit.ask(deadline_s, is_alone=self._stays == 1)
        except WorkerGoneError:
            death = Death(visit.connection.dialogue.welcome, began, began + deadline_s)
            return Back(visit.content(), visit.served, death)
        except LitefleetError as error:
            failure, response = error, error_response(error)
        with self._lock:  # before the client can ask how many there were
            tally = self._tallies.setdefault(stay.plan.model, ModelTally())
            if failure is None:
                tally.count_answer(time.monotonic() - began, time.time())
            else:
                tally.count_failure(time.monotonic() - began, is_overload=False)
        try:
            stay.client.sendall(encode(response, is_last=self._is_ending))
        except OSError:
            return Back(b"", visit.served, is_broken=True)
        is_over = visit.is_over or self._is_ending or stay.lane.is_crowded
        return Back(b"", visit.served + 1) if is_over else None

    def _connect(self, stay: _Stay) -> Connection | None:
        """A connection to the worker of the plan, with shared memory; None where that is not so easy."""
        with self._lock:
            connection = self._spares.pop(stay.plan.model, None)
        if connection is not None:
            if connection.worker == stay.plan.worker and connection.is_quiet:
                return connection
            connection.close()
        try:
            connection = Connection(stay.lane.path, _CONNECT_S)
        except (LitefleetError, OSError):  # no worker there, or no descriptor left
            return None
        try:
            if connection.worker == stay.plan.worker and connection.greet(_CONNECT_S):
                connection.share(_CONNECT_S)
                return connection
        except LitefleetError:
            pass
        connection.close()
        return None

    def _keep(self, model: str, connection: Connection) -> None:
        """Keep one connection for the next client, so that asking now and then does not connect each time."""
        with self._lock:
            if self._is_ending or model in self._spares or connection.dialogue.is_waiting:
                connection.close()
            else:
                self._spares[model] = connection


class _Visit:
    """What an attendant knows of the client it serves; belongs to its thread.

    Attributes:
        connection: To the worker.
        served: How many requests were answered.
        is_over: Whether no more requests can be asked on the connection.
    """

    def __init__(self, stay: _Stay, connection: Connection) -> None:
        self.connection = connection
        self.served = 0
        self.is_over = False
        self._client = stay.client
        self._form = stay.plan.form
        self._lane = stay.lane
        self._worker = stay.plan.worker
        self._known = stay.head + stay.words
        self._head_bytes = len(stay.head)
        self._place = memoryview(bytearray(len(self._known)))
        places = sorted(zip(stay.plan.places, connection.dialogue.sinks(), strict=True), key=lambda it: it[0])
        self._sinks = [sink for _, sink in places]
        self._wanted = len(self._known) + stay.plan.content_bytes

    def receive(self) -> Back | None:
        """Receive the next request, its tensors straight into the shared memory; None when it is there and known."""
        filled, place, ends = 0, self._place, None
        try:
            while filled < self._head_bytes:
                came = self._client.recv_into(place[filled:])
                filled += came
                if not came or place[:filled] != self._known[:filled]:
                    return self._back(filled)
                if filled < self._head_bytes:  # a head in pieces has no more time than one piece
                    ends = ends or time.monotonic() + STAY_S
                    if time.monotonic() >= ends:
                        return self._back(filled)
            # The head says how much more there is: the system wakes up for all of it.
            pieces = [place[filled:], *self._sinks]
            filled += self._client.recvmsg_into(pieces, 0, socket.MSG_WAITALL)[0]
        except OSError:  # too late, or the client is gone: the event loop finds out
            return self._back(filled)
        return None if filled == self._wanted and place == self._known else self._back(filled)

    def content(self) -> bytes:
        """All of the request that was received."""
        return b"".join((self._place, *self._sinks))

    def ask(self, deadline_s: float, *, is_alone: bool) -> Response:
        """Ask what was received.

        Raises:
            LitefleetError: As ``Connection.ask``, or the worker's own.
        """
        try:
            answer = self.connection.ask_in_place(deadline_s, self._rehearse, is_alone=is_alone)
            self.is_over = answer.is_draining
            return response_to(self._form, answer, self.connection.dialogue)
        except LitefleetError:
            self.is_over |= self.connection.dialogue.is_waiting
            raise
        except Exception:
            # One request must not end the others: the traceback goes to the log.
            logger.exception("cannot answer a request to %s", self._lane.name)
            self.is_over = True
            return failed_response()

    def _back(self, filled: int) -> Back:
        return Back(self.content()[:filled], self.served)

    def _rehearse(self) -> None:
        """Do with the last answer what will be done with the next, and some of what the next request will need."""
        dialogue = self.connection.dialogue
        answer = dialogue.last_answer()
        if answer is not None:
            encode(response_to(self._form, answer, dialogue), is_last=False)
        self._lane.has(self._worker)
