"""What need not be found out again about a request whose words were answered before.

PURE. Rules:

1. The words are the target and the JSON. With the same words, a body of the same length and the same worker, reading
   and checking would come to the same end, and everything but the tensors' bytes is the same.
2. There is a plan only where nothing is left to check: every input is one of the model's own tensors in binary, and
   every output is wanted in binary. A BOOL's bytes are checked each time, and an id makes a request one of its own.
3. Bytes on the wire are little-endian, and so is every board there is a profile for.
"""

from __future__ import annotations

from typing import NamedTuple

from contract.tensor import DType
from edge_agent.gateway.requests import InferRequest
from edge_agent.gateway.responses import Form, form_of
from edge_agent.inference.protocol import Welcome

WORDS_MAX_BYTES = 4096
"""Longest words that a plan is kept for."""
MAX_PLANS = 16


class Plan(NamedTuple):
    """How a request is sent and answered.

    Attributes:
        model: Which is asked.
        worker: Which of its workers the request was checked against.
        timeout_s: The longest that the sender waits; None when it does not say.
        places: Where each of the model's inputs begins and ends after the JSON, in bytes; in the model's order.
        content_bytes: Bytes after the JSON.
        form: Of the answer.
    """

    model: str
    worker: str
    timeout_s: float | None
    places: tuple[tuple[int, int], ...]
    content_bytes: int
    form: Form


def plan_of(asked: InferRequest, model: str, worker: str, welcome: Welcome) -> Plan | None:
    """The plan for requests like one; None where each has to be looked at.

    Args:
        asked: A request that fits the welcome.
        model: Which it asked.
        worker: Who said the welcome.
        welcome: What it serves.
    """
    found: dict[str, tuple[int, int]] = {}
    used = 0
    takes = {place.name: place for place in welcome.inputs}
    for given in asked.inputs:
        place = takes.get(given.name)
        size = -1 if given.content is None else len(given.content)
        if place is None or given.dtype is DType.BOOL or size != place.size_bytes():
            return None
        if (given.dtype, given.shape) != (place.dtype, place.shape):
            return None  # an image
        found[given.name] = used, used + size
        used += size
    is_binary = asked.is_binary if asked.wanted is None else all(asked.wanted.values())
    if asked.id or not is_binary or len(found) < len(takes):
        return None
    places = tuple(found[place.name] for place in welcome.inputs)
    outputs = [place.name for place in welcome.outputs] if asked.wanted is None else list(asked.wanted)
    return Plan(model, worker, asked.timeout_s, places, used, form_of(model, welcome, outputs))


class PlanBook:
    """The plans of the last few different requests, at most ``MAX_PLANS`` of ``WORDS_MAX_BYTES``."""

    def __init__(self) -> None:
        self._plans: dict[tuple[str, bytes], Plan] = {}

    def __len__(self) -> int:
        return len(self._plans)

    def find(self, target: str, text: bytes) -> Plan | None:
        """The plan for these words."""
        return self._plans.get((target, text))

    def keep(self, target: str, text: bytes, plan: Plan) -> None:
        """Remember a plan, in place of the oldest one when there are too many; words that are too long are not kept."""
        if len(target) + len(text) > WORDS_MAX_BYTES:
            return
        self._plans.pop((target, text), None)
        if len(self._plans) >= MAX_PLANS:
            del self._plans[next(iter(self._plans))]
        self._plans[target, text] = plan
