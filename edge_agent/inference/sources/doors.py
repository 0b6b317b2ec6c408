"""The one interface of all captures, and the one of all sinks.

Guarantees: nothing but types.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from contract.errors import TransientError
from edge_agent.inference.asking import What


class SpentError(TransientError):
    """This process can do no more, and another can: the source ends, and the agent starts it again."""


@dataclass(frozen=True)
class Frame:
    """One input.

    Attributes:
        name: What people call it: a path, a topic, a camera.
        load: Decodes it: an image (H, W) or (H, W, 3) uint8, 0-255, gray or RGB, a tensor, or a JPEG's bytes.
            InputError when it is none. Called once, and only for a frame that is answered: dropped ones are never
            decoded.
        done: Called once it was answered, or can never be.
    """

    name: str
    load: Callable[[], What]
    done: Callable[[], None] = lambda: None


class Capture(Protocol):
    """Where frames come from. One thread calls all methods, except for ``close``, which comes after its end."""

    @property
    def waits(self) -> bool:
        """Whether its frames wait by themselves: it is read only when the one before was answered."""

    @property
    def patience_s(self) -> float:
        """How long one read may take, seconds; after that it hangs, and the source ends. Infinite for any time."""

    def read(self, timeout_s: float) -> Frame | None:
        """The newest frame; None when there is none within this time, seconds.

        Raises:
            SpentError: Only another process can read on.
            LitefleetError: There is nothing to read from; it is read again later.
        """

    def close(self) -> None:
        """Free everything. The last call."""


class Sink(Protocol):
    """Where answers go. One thread calls all methods."""

    def write(self, result: dict[str, Any]) -> None:
        """Take an answer; see ``edge_agent.inference.sources.results``.

        Raises:
            TransientError: It may be tried again.
            LitefleetError: It is lost.
        """

    def close(self) -> None:
        """Free everything. The last call."""
