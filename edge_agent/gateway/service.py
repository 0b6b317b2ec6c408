"""Answers requests of the Open Inference Protocol by asking through the SDK.

Guarantees: every expected failure becomes a response that says why; asks like any application, so that switches and
restarts of workers fail no request, and workers count these requests as they count all others. Keeps nothing of what
it was asked but counts.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Container, Sequence
from pathlib import Path

from contract.errors import InputError, LitefleetError, NotFoundError, OverloadError
from contract.identifiers import parse_model
from edge_agent.capabilities import agent_version
from edge_agent.gateway import responses
from edge_agent.gateway.attendants import Attendants, Guest
from edge_agent.gateway.plans import plan_of
from edge_agent.gateway.requests import InferRequest, check_fit, feed_arrays, parse_infer
from edge_agent.gateway.responses import Response
from edge_agent.gateway.routes import Kind, Route, parse_route
from edge_agent.gateway.settings import GatewaySettings
from edge_agent.gateway.shortcut import Client, Shortcut
from edge_agent.gateway.tally import ModelTally
from edge_agent.gateway.wire import Request
from edge_agent.inference.asking import Inference, is_agent_alive
from edge_agent.inference.async_client import AsyncAgent, AsyncModel
from edge_agent.inference.protocol import Welcome, socket_name
from edge_agent.overload import Cause, Totals

_READY_S = 1.0
"""How long a worker may take to greet when it is asked whether it is ready."""
_SUFFIX = socket_name("")

logger = logging.getLogger(__name__)


class Service:
    """Everything behind the paths.

    Args:
        fleet: The SDK; closed by its owner.
        settings: Deadline.
    """

    def __init__(self, fleet: AsyncAgent, settings: GatewaySettings) -> None:
        self._fleet = fleet
        self._deadline_s = settings.deadline_s
        self._tallies: dict[str, ModelTally] = {}
        self._shortcut = Shortcut(fleet, settings.deadline_s, self._tallies, self)
        self._attendants = Attendants(fleet, self._shortcut.plans, settings)

    def begin(self, request: Request, client: Client) -> bool:
        """Begin what was answered in the same words before; see ``edge_agent.gateway.shortcut.Shortcut``."""
        return self._shortcut.begin(request, client)

    def attend(self, request: Request, head: bytes, guest: Guest) -> bool:
        """Have a client served by an attendant; see ``edge_agent.gateway.attendants.Attendants``."""
        return self._attendants.attend(request, head, guest)

    def end(self) -> None:
        """Have every client come back from its attendant."""
        self._attendants.end()

    async def answer(self, request: Request) -> Response:
        """Answer a request; never raises for what a client can do."""
        try:
            route = parse_route(request.method, request.target)
            if route.kind is Kind.INFER:
                return await self._infer(route, request)
            return await self._look(route)
        except LitefleetError as error:
            return responses.error_response(error)

    def sweep(self) -> None:
        """Let workers go that are no longer asked."""
        self._attendants.sweep()

    def refused(self) -> Totals:
        """How many requests of each model were refused since the gateway began, because too many others waited."""
        return {
            name: {Cause.WAITING: tally.refused} for name, tally in self._tallies.items() if tally.refused
        }

    async def _look(self, route: Route) -> Response:
        if route.model:
            return await self._look_at_model(route)
        if route.kind is Kind.STATISTICS:
            return await self._statistics(self._deployed())
        if route.kind is Kind.READY:
            is_ready = await self._are_ready(self._deployed())
            return responses.json_response(200 if is_ready else 503, {"live": True, "ready": is_ready})
        if route.kind is Kind.LIVE:
            return responses.json_response(200, {"live": True})
        return responses.json_response(200, responses.server_metadata(agent_version()))

    async def _look_at_model(self, route: Route) -> Response:
        welcome = await self._model(route.model).describe()
        _check_version(route, welcome.version)
        if route.kind is Kind.MODEL_STATISTICS:
            return await self._statistics([route.model])
        if route.kind is Kind.MODEL_READY:
            is_ready = await self._are_ready([route.model])
            content = {"name": route.model, "ready": is_ready}
            return responses.json_response(200 if is_ready else 503, content)
        return responses.json_response(200, responses.model_metadata(welcome))

    async def ask_again(self, request: Request, welcome: Welcome, began: float, ends: float) -> Response:
        """See ``edge_agent.gateway.shortcut.LongWay``."""
        route = parse_route(request.method, request.target)
        lane = self._fleet.model(route.model).lane

        async def ask() -> Response:
            asked = parse_infer(request.body, request.inference_header_bytes)
            return _response(route, asked, await lane.infer_again(feed_arrays(asked, welcome), ends))

        try:
            return await self._count(self._tallies[route.model], began, ask())
        except LitefleetError as error:
            return responses.error_response(error)

    async def _infer(self, route: Route, request: Request) -> Response:
        began = time.monotonic()
        model = self._model(route.model)
        tally = self._tallies.setdefault(route.model, ModelTally())
        return await self._count(tally, began, self._ask(route, model, request))

    async def _count(self, tally: ModelTally, began: float, answer: Awaitable[Response]) -> Response:
        try:
            response = await answer
        except LitefleetError as error:
            tally.count_failure(time.monotonic() - began, is_overload=isinstance(error, OverloadError))
            raise
        tally.count_answer(time.monotonic() - began, time.time())
        return response

    async def _ask(self, route: Route, model: AsyncModel, request: Request) -> Response:
        asked = parse_infer(request.body, request.inference_header_bytes)
        deadline_s = min(self._deadline_s, asked.timeout_s or self._deadline_s)
        ends = time.monotonic() + deadline_s
        welcome = await model.describe(deadline_s=deadline_s)
        known = model.lane.known
        _check_version(route, welcome.version)
        check_fit(asked, welcome)
        what = feed_arrays(asked, welcome)
        inference = await model.infer(what, deadline_s=ends - time.monotonic())
        response = _response(route, asked, inference)
        if known is not None and known[0] and known[1] is welcome:
            self._plan(request, asked, route.model, known[0], welcome)
        return response

    def _plan(self, request: Request, asked: InferRequest, model: str, worker: str, welcome: Welcome) -> None:
        """Remember how requests in the same words are sent."""
        if request.inference_header_bytes:
            plan = plan_of(asked, model, worker, welcome)
            if plan is not None:
                text = bytes(request.body[: request.inference_header_bytes])
                self._shortcut.plans.keep(request.target, text, plan)

    def _model(self, name: str) -> AsyncModel:
        """The model, when it is there: a name from outside leaves nothing behind, and waits for no deployment."""
        run_dir = self._fleet.run_dir
        if not os.path.lexists(f"{run_dir}/{socket_name(parse_model(name))}") and is_agent_alive(run_dir):
            raise NotFoundError(f"model {name!r} is not deployed on this device")
        return self._fleet.model(name, deadline_s=self._deadline_s)

    def _deployed(self) -> list[str]:
        """Names of the models that the run folder leads to."""
        return sorted(path.name.removesuffix(_SUFFIX) for path in _links(self._fleet.run_dir))

    async def _are_ready(self, names: Sequence[str]) -> bool:
        """Whether the agent runs, and each of these models greets."""
        if not is_agent_alive(self._fleet.run_dir):
            return False
        found = await asyncio.gather(
            *(self._fleet.model(name).wait(_READY_S) for name in names), return_exceptions=True
        )
        for error in found:
            if isinstance(error, BaseException) and not isinstance(error, LitefleetError):
                raise error
        return all(error is None or isinstance(error, OverloadError) for error in found)

    async def _statistics(self, names: Sequence[str]) -> Response:
        entries = [
            (self._tallies.get(name, ModelTally()) + self._attendants.tally(name)).as_statistics(
                name, (await self._model(name).describe()).version
            )
            for name in names
        ]
        return responses.json_response(200, {"model_stats": entries})


def _links(run_dir: Path) -> list[Path]:
    return [path for path in run_dir.glob(f"*{_SUFFIX}") if path.is_symlink()]


def _response(route: Route, asked: InferRequest, inference: Inference) -> Response:
    _check_version(route, inference.version)
    _check_outputs(asked, inference.outputs)
    return responses.inference_response(route.model, asked, inference)


def _check_version(route: Route, version: str) -> None:
    if route.version and route.version != version:
        raise NotFoundError(
            f"version {route.version!r} of {route.model} is not active on this device, {version} is"
        )


def _check_outputs(asked: InferRequest, outputs: Container[str]) -> None:
    """Whether the version that answered has the outputs of the one that was looked at."""
    gone = [name for name in asked.wanted or () if name not in outputs]
    if gone:
        raise InputError(f"{gone[0]!r} is no output of the version that is active now")
