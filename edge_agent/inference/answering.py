"""What a worker's clients are answered by: a loaded model, or several models of this device under one name.

Guarantees: nothing; says what ``edge_agent.inference.clients`` calls.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from edge_agent.inference.protocol import Welcome

    Shortcut = Callable[[], Sequence[tuple[int, float, bytes]] | None]
    """Answers what lies in one client's inputs into its outputs; what ``Answering.classify`` gives, or None where the
    output lies there as it is stored."""


class ChangedError(Exception):
    """What answers is not what the greeting said any more: the client has to connect and ask again."""


class Answering(Protocol):
    """Answers one request after the other, on one thread.

    Attributes:
        welcome: What applications are told.
    """

    welcome: Welcome

    def infer(self, tensors: Sequence[npt.NDArray[Any]]) -> list[npt.NDArray[np.float32]]:
        """Answer ready inputs; may be shared memory.

        Raises:
            LitefleetError: Why there is no answer.
            ChangedError: The client has to connect and ask again.
        """

    def shortcut(
        self,
        inputs: Sequence[npt.NDArray[Any]],
        outputs: Sequence[npt.NDArray[np.float32]],
        *,
        takes_stored: bool,
    ) -> Shortcut | None:
        """A way with fewer steps for requests with ready inputs; it answers as ``infer``, ``finish``, ``classify`` do.

        Args:
            inputs: Of one client, shared with it.
            outputs: Of the same client.
            takes_stored: Whether the client can read an output as it is stored.

        Returns:
            What to call for every request, raises as ``infer``; None where there is no such way.
        """

    def infer_image(self, pixels: npt.NDArray[np.uint8]) -> list[npt.NDArray[np.float32]]:
        """Answer an image (H, W, C) uint8; only where the welcome ``takes_images``. See ``infer``."""

    def infer_file(self, content: bytes) -> tuple[list[npt.NDArray[np.float32]], tuple[int, int]]:
        """Answer an image file; its height and width in pixels too. Only where the welcome ``takes_files``."""

    def finish(
        self, outputs: Sequence[npt.NDArray[np.float32]], size: tuple[int, int] | None
    ) -> Sequence[npt.NDArray[np.float32]]:
        """The outputs as the welcome describes them.

        Args:
            outputs: Of ``infer``.
            size: Height and width of the image; None for a request with tensors.
        """

    def classify(self, outputs: Sequence[npt.NDArray[np.float32]]) -> list[tuple[int, float, bytes]]:
        """Index, score and UTF-8 label of the best classes."""
