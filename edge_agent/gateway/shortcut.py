"""The short way of a request whose words were answered before: to the worker at once, without a task.

Guarantees: whatever is not exactly as it was the last time goes the long way, and so does a request whose worker ends;
takes no turn that another waits for, and gives back what it took; the answer is the long way's, byte for byte. While
the worker works, what will be done with its answer is done once with the last one: inference leaves caches cold.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from contract.errors import LitefleetError, OverloadError
from edge_agent.gateway.plans import WORDS_MAX_BYTES, Plan, PlanBook
from edge_agent.gateway.responses import Form, Response, error_response, failed_response, fill_in
from edge_agent.gateway.tally import ModelTally
from edge_agent.gateway.wire import Request, encode
from edge_agent.inference.asking import error_of_failure
from edge_agent.inference.async_client import AsyncAgent
from edge_agent.inference.async_connection import AsyncConnection
from edge_agent.inference.dialogue import Dialogue, WorkerGoneError
from edge_agent.inference.lane import Lane
from edge_agent.inference.protocol import Failure, Result, Welcome

logger = logging.getLogger(__name__)


class Client(Protocol):
    """Who asked."""

    def respond(self, response: Response, after: Callable[[], None] | None = None) -> None:
        """Take the answer; ``after`` is called when it is on its way, before another request begins."""

    def work(self, answer: Coroutine[Any, Any, Response]) -> None:
        """Wait for the answer."""


class LongWay(Protocol):
    """Goes on with a request whose worker ended."""

    async def ask_again(self, request: Request, welcome: Welcome, began: float, ends: float) -> Response:
        """Answer a request that has a turn already; never raises for what can happen to it.

        Args:
            request: As it came.
            welcome: Of the worker that ended.
            began: Monotonic time at which the request had arrived.
            ends: Until which to wait.
        """


class Shortcut:
    """The short way to all models.

    Args:
        fleet: The SDK.
        deadline_s: Longest time a request may take.
        tallies: Of every model that there is a plan for.
        long_way: See there.

    Attributes:
        plans: For requests that may take it.
    """

    def __init__(
        self, fleet: AsyncAgent, deadline_s: float, tallies: Mapping[str, ModelTally], long_way: LongWay
    ) -> None:
        self.plans = PlanBook()
        self._fleet = fleet
        self._deadline_s = deadline_s
        self._tallies = tallies
        self._long_way = long_way

    def begin(self, request: Request, client: Client) -> bool:
        """Send a request to its worker, if nothing about it is new; the client will be called back.

        Returns:
            Whether it is on its way.
        """
        plan = self._find(request)
        if plan is None:
            return False
        lane = self._fleet.model(plan.model).lane
        connection = lane.take(plan.worker)
        if connection is None:
            return False
        content = request.body[request.inference_header_bytes :]
        try:
            pieces = [content[first:after] for first, after in plan.places]
            connection.send(connection.dialogue.request_with(pieces))
        except WorkerGoneError:
            lane.give_back(connection, is_good=False)
            return False
        began = time.monotonic()
        ends = began + min(self._deadline_s, plan.timeout_s or self._deadline_s)
        tally = self._tallies[plan.model]
        trip = _Trip(self, request, plan.form, lane, connection, client, began, ends, tally, self._long_way)
        connection.await_answer(trip, ends, trip.rehearse, is_alone=lane.is_alone)
        return True

    def rehearse(self, request: Request) -> None:
        """Do with a request what will be done with the next one, but for sending it."""
        plan = self._find(request)
        if plan is not None:
            self._fleet.model(plan.model).lane.has(plan.worker)

    def _find(self, request: Request) -> Plan | None:
        end = request.inference_header_bytes
        if end is None or end > WORDS_MAX_BYTES or request.method != "POST":
            return None
        plan = self.plans.find(request.target, bytes(request.body[:end]))
        return plan if plan is not None and len(request.body) - end == plan.content_bytes else None


def response_to(form: Form, answer: Result | Failure, dialogue: Dialogue) -> Response:
    """A worker's answer as a response; raises the error that a failure stands for."""
    if isinstance(answer, Failure):
        raise error_of_failure(answer)
    return fill_in(form, answer, dialogue.read_bytes(form.outputs))


@dataclass
class _Trip:
    """A request on its short way: who waits for its answer."""

    shortcut: Shortcut
    request: Request
    form: Form
    lane: Lane
    connection: AsyncConnection
    client: Client
    began: float
    ends: float
    tally: ModelTally
    long_way: LongWay
    is_over: bool = False
    is_draining: bool = False
    failure: LitefleetError | None = None

    def done(self) -> bool:
        """See ``edge_agent.inference.async_connection.Waiter``."""
        return self.is_over

    def rehearse(self) -> None:
        """Do with the last answer what will be done with the next, and with the request what the next will need."""
        answer = self.connection.dialogue.last_answer()
        if answer is not None:
            encode(self._response(answer), is_last=False)
        self.shortcut.rehearse(self.request)

    def set_result(self, frame: bytes, /) -> None:
        """Answer."""
        self.is_over = True
        try:
            answer = self.connection.dialogue.understand(frame)
            self.is_draining = answer.is_draining
            response = self._response(answer)
        except LitefleetError as error:
            self.failure, response = error, error_response(error)
        except Exception:
            # One request must not end the others: the traceback goes to the log.
            logger.exception("cannot answer %s", self.request.target)
            response = failed_response()
        self.client.respond(response, self._settle)

    def _settle(self) -> None:
        """What can wait until the answer is on its way."""
        self.connection.conclude()
        self.lane.give_back(self.connection, is_good=not self.is_draining)
        self._count()

    def set_exception(self, error: LitefleetError, /) -> None:
        """Go the long way from a worker that ended; otherwise answer with the error."""
        self.is_over = True
        self.connection.give_up()
        if isinstance(error, WorkerGoneError):
            welcome = self.connection.dialogue.welcome
            self.client.work(self.long_way.ask_again(self.request, welcome, self.began, self.ends))
            return
        self.lane.give_back(self.connection, is_good=False)
        self.failure = error
        self.client.respond(error_response(error), self._count)

    def _response(self, answer: Result | Failure) -> Response:
        return response_to(self.form, answer, self.connection.dialogue)

    def _count(self) -> None:
        taken_s = time.monotonic() - self.began
        if self.failure is None:
            self.tally.count_answer(taken_s, time.time())
        else:
            self.tally.count_failure(taken_s, is_overload=isinstance(self.failure, OverloadError))
