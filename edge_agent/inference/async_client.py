"""The SDK for asyncio: the same questions and answers as ``edge_agent.inference.client``, without blocking.

Guarantees: what the synchronous SDK guarantees; besides, no thread is started but to read a path, several requests may
be under way at a time, and what is asked beyond the bounds is refused and counted instead of piling up. Cancelling a
request is safe: no later request gets its answer. Belongs to the event loop that first uses it.

Example:
    >>> async with connect_async() as fleet:  # doctest: +SKIP
    ...     model = fleet.model("digits")
    ...     answers = await asyncio.gather(*(model.infer(image) for image in images))
"""

from __future__ import annotations

import asyncio
from os import PathLike
from pathlib import Path
from types import TracebackType

from contract.identifiers import parse_model
from edge_agent.inference.asking import DEFAULT_DEADLINE_S, Inference, What, is_path, load_what, run_folder
from edge_agent.inference.lane import Lane
from edge_agent.inference.protocol import Welcome

CONNECTIONS = 4
"""A worker serves one request after the other: the second connection hides what asking costs, more hide hiccups."""
MAX_WAITING = 64


def connect_async(
    run_dir: str | Path | None = None, *, connections: int = CONNECTIONS, max_waiting: int = MAX_WAITING
) -> AsyncAgent:
    """The agent of this device, for asyncio.

    Args:
        run_dir: Its run folder; by default ``$LITEFLEET_RUN_DIR``, else ``/run/litefleet``.
        connections: Most requests to a model that are with its worker at a time, at least 1.
        max_waiting: Most requests to a model that wait for their turn; more are refused.
    """
    return AsyncAgent(run_folder(run_dir), max(1, connections), max_waiting)


class AsyncAgent:
    """The agent of this device. An asynchronous context manager that lets its workers go."""

    def __init__(self, run_dir: Path, connections: int, max_waiting: int) -> None:
        self.run_dir = run_dir
        self._connections = connections
        self._max_waiting = max_waiting
        self._lanes: dict[str, Lane] = {}

    async def __aenter__(self) -> AsyncAgent:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let every worker go; requests under way are finished."""
        for lane in self._lanes.values():
            lane.close()
        self._lanes.clear()

    def model(self, name: str, *, deadline_s: float = DEFAULT_DEADLINE_S) -> AsyncModel:
        """A model; connects with the first question.

        Args:
            name: Model name.
            deadline_s: How long its requests may take, unless they say otherwise.

        Raises:
            ManifestError: No model can have this name.
        """
        if name not in self._lanes:
            self._lanes[name] = Lane(self.run_dir, parse_model(name), self._connections, self._max_waiting)
        return AsyncModel(self._lanes[name], deadline_s)


class AsyncModel:
    """A model of this device, whichever version is active. All of an agent's handles of a model share its bounds.

    Attributes:
        name: Model name.
        lane: The way of all its requests; for the gateway, applications have no use for it.
    """

    def __init__(self, lane: Lane, deadline_s: float) -> None:
        self.name = lane.name
        self.lane = lane
        self._deadline_s = deadline_s

    @property
    def refused(self) -> int:
        """How many requests to this model found too many others waiting."""
        return self.lane.refused

    async def infer(self, what: What | PathLike[str], *, deadline_s: float | None = None) -> Inference:
        """Ask.

        Args:
            what: As for ``edge_agent.inference.client.Model.infer``.
            deadline_s: How long it may take, waiting and retries included.

        Raises:
            InputError: It is not what the model takes; the text says what that is.
            InferenceError: The runtime failed, or the model gave NaN.
            DeadlineError: No answer in time.
            OverloadError: Too many requests wait already.
            AgentUnavailableError: The agent does not run, or its worker did not come back in time.
            NotFoundError: The model is not deployed.
        """
        ends = self._end(deadline_s)
        asked = await asyncio.to_thread(load_what, what) if is_path(what) else load_what(what)
        return await self.lane.infer(asked, ends)

    async def wait(self, wait_s: float = 0.0) -> None:
        """Wait until the model can be asked; see ``edge_agent.inference.client.Agent.model``.

        Raises:
            LitefleetError: As ``infer``.
        """
        await self.lane.greet(self._end(wait_s))

    async def describe(self, *, deadline_s: float | None = None) -> Welcome:
        """What the active version takes and gives.

        Raises:
            LitefleetError: As ``infer``.
        """
        return await self.lane.welcome(self._end(deadline_s))

    def _end(self, deadline_s: float | None) -> float:
        return asyncio.get_running_loop().time() + (self._deadline_s if deadline_s is None else deadline_s)
