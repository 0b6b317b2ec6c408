"""The models that a pipeline or an ensemble asks, reached through the SDK like any application reaches them.

Guarantees: switches and restarts of workers fail no request; an answer of another version than the one that was
announced is noticed, so that no answer carries the name of a version that did not give it; no wait outlasts the
request's time. Owned by one thread.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from contract.errors import DeadlineError, InputError, NotFoundError
from edge_agent.inference import protocol
from edge_agent.inference.answering import ChangedError
from edge_agent.inference.asking import GREETING_S, Inference, What, worker_of
from edge_agent.inference.client import Model
from edge_agent.inference.protocol import Welcome


class Members:
    """Models by name.

    Args:
        owner: Pipeline or ensemble.
        run_dir: Run folder of the agent.
        names: Of the models.
        deadline_s: Longest time for a whole request, seconds.
    """

    def __init__(self, owner: str, run_dir: Path, names: Iterable[str], deadline_s: float) -> None:
        self.owner = owner
        self._run_dir = run_dir
        self._deadline_s = deadline_s
        self._models = {name: Model(run_dir, name, deadline_s) for name in names}
        self._announced: Mapping[str, str] = {}
        self._announced_links: tuple[str, ...] = ()

    def links(self) -> tuple[str, ...]:
        """Which worker answers for each model now, empty for none; it changes with every switch and restart."""
        return tuple(worker_of(self._run_dir / protocol.socket_name(name)) for name in self._models)

    def announce(self, links: tuple[str, ...], least: int) -> dict[str, Welcome]:
        """Ask every model that is there what it serves; this is what answers are held to from now on.

        Args:
            links: As read just before.
            least: How many must be there.

        Returns:
            By model, in the order of the settings.

        Raises:
            NotFoundError: Fewer are deployed.
            AgentUnavailableError: A worker does not greet.
        """
        self.close()
        missing = [name for name, link in zip(self._models, links, strict=True) if not link]
        if len(self._models) - len(missing) < least:
            names = ", ".join(repr(name) for name in missing)
            raise NotFoundError(
                f"{self.owner} needs {names}, not deployed on this device",
                remedy="roll out what is missing to this device",
            )
        found = {
            name: model.describe(deadline_s=GREETING_S)
            for name, model in self._models.items()
            if name not in missing
        }
        self._announced = {name: welcome.version for name, welcome in found.items()}
        self._announced_links = links
        return found

    def begin(self) -> float:
        """Monotonic time at which a request that begins now has to end."""
        return time.monotonic() + self._deadline_s

    def ask(self, name: str, what: What, ends: float) -> Inference:
        """Ask a model.

        Raises:
            ChangedError: Another version than announced is active, and answered or refused.
            DeadlineError: No time is left, or no answer came in time.
            LitefleetError: As ``edge_agent.inference.client.Model.infer``.
        """
        left_s = ends - time.monotonic()
        if left_s <= 0:
            raise DeadlineError(f"{self.owner} had no time left for {name} within {self._deadline_s:g} s")
        try:
            answer = self._models[name].infer(what, deadline_s=left_s)
        except (InputError, NotFoundError) as error:
            if self.links() != self._announced_links:
                raise ChangedError from error
            raise
        if answer.version != self._announced[name]:
            raise ChangedError
        return answer

    def close(self) -> None:
        """Let every worker go."""
        for model in self._models.values():
            model.close()
