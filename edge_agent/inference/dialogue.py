"""An application's side of one conversation with a worker: what is said and understood, and the memory shared.

Guarantees: knows no socket, so the synchronous and the asynchronous SDK speak with the same words; a frame that does
not belong where it stands is an error, never an answer. Used by one task or thread at a time.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from contract.errors import AgentUnavailableError, MessageError
from edge_agent.inference import protocol
from edge_agent.inference.area import Area, create_area
from edge_agent.inference.feed import Feed, feed_of
from edge_agent.inference.notice import Notice
from edge_agent.inference.stored import StoredReader

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge_agent.inference.asking import What

_WORDS_MAX = (1 << 32) - 1
_BRIEF_BYTES = 1 << 16
"""Outputs of up to so many bytes are copied in a few microseconds."""


class WorkerGoneError(AgentUnavailableError):
    """There is no worker at the other end, or it is ending, or not ready: connect and ask again.

    Attributes:
        refusal: What it said instead of a greeting; None when it said nothing.
    """

    def __init__(self, message: str, *, refusal: protocol.Failure | None = None) -> None:
        super().__init__(message)
        self.refusal = refusal


class Dialogue:
    """A conversation that has begun.

    Attributes:
        welcome: What the worker serves.
        room_bytes: For an image; -1 until an area was offered and accepted.
        is_waiting: Whether a request is out and its answer is not in.
    """

    def __init__(self, greeting: bytes | memoryview) -> None:
        """Begin.

        Args:
            greeting: The worker's first frame.

        Raises:
            WorkerGoneError: It takes no more clients, or cannot answer any now.
            MessageError: It is no greeting.
        """
        welcome = protocol.parse_welcome(greeting)
        if isinstance(welcome, protocol.Failure):
            raise WorkerGoneError(welcome.message, refusal=welcome)
        self.welcome = welcome
        self.room_bytes = -1
        self.is_waiting = False
        self._offered_bytes = -1
        one = welcome.inputs[0] if len(welcome.inputs) == 1 else None
        self._own_shape = one.shape if one else None
        self._own_dtype = np.dtype(one.dtype.value) if one else None
        self._sequence = 0
        self._last_result = b""
        self._reader: StoredReader | None = None
        self._notice: Notice | None = None
        self._is_stored = False

    def feed_of(self, what: What) -> Feed:
        """Decide how a request is sent.

        Raises:
            InputError: It is nothing that the model takes.
        """
        if type(what) is np.ndarray and what.shape == self._own_shape and what.dtype == self._own_dtype:
            return Feed((what,), None, 0)  # what ``feed_of`` finds too, in a third of the time
        return feed_of(what, self.welcome)

    def offer(self, image_bytes: int) -> tuple[bytes, int]:
        """Make memory for the tensors and an image of so many bytes; once per conversation.

        Returns:
            The frame to send, and the descriptor to send with it, which the caller closes.

        Raises:
            AgentUnavailableError: There is no memory.
        """
        self._offered_bytes = math.ceil(image_bytes / protocol.AREA_STEP_BYTES) * protocol.AREA_STEP_BYTES
        try:
            self._area: Area
            self._area, descriptor = create_area(max(1, self.welcome.tensor_bytes + self._offered_bytes))
        except OSError as error:
            raise AgentUnavailableError(f"no memory to share with the worker: {error}") from error
        self._inputs = [self._area.tensor(place) for place in self.welcome.inputs]
        self._outputs = {place.name: self._area.tensor(place) for place in self.welcome.outputs}
        self._is_brief = sum(place.size_bytes() for place in self.welcome.outputs) <= _BRIEF_BYTES
        self._read_by_own_welcome()
        return self.words_of_offer(), descriptor

    def words_of_offer(self) -> bytes:
        """The frame that goes with the memory, also to the worker that comes after this one."""
        return protocol.encode_attach(takes_stored=self.welcome.stored is not None)

    def _read_by_own_welcome(self) -> None:
        stored = self.welcome.stored
        if stored is not None:
            self._reader = StoredReader(stored, next(iter(self._outputs.values())))
            self._notice = Notice(self._area, stored.notice_offset)

    def conclude_offer(self, frame: bytes | memoryview) -> None:
        """Take the worker's answer to the memory.

        Raises:
            AgentUnavailableError: The worker refuses it.
            MessageError: It is no such answer.
        """
        refusal = protocol.parse_attached(frame)
        if refusal is not None:
            raise AgentUnavailableError(f"the worker refuses the shared memory: {refusal.message}")
        self.room_bytes = self._offered_bytes

    def follow(self, before: Dialogue) -> bool:
        """Go on in the memory of a conversation that is over; False where this worker needs another one.

        Args:
            before: With memory that its worker had accepted.
        """
        ours, theirs = self.welcome, before.welcome
        if (ours.inputs, ours.outputs) != (theirs.inputs, theirs.outputs):
            return False
        if (ours.takes_images, ours.takes_files) != (theirs.takes_images, theirs.takes_files):
            return False
        if ours.tensor_bytes != theirs.tensor_bytes:
            return False
        self._sequence = before._sequence  # no answer that was posted to that one is one to this
        self._area, self._inputs, self._outputs = before._area, before._inputs, before._outputs
        self._is_brief, self._last_result = before._is_brief, before._last_result
        self._offered_bytes = self.room_bytes = before.room_bytes
        self._read_by_own_welcome()
        return True

    def request(self, feed: Feed) -> bytes:
        """Put a request's tensors into the memory that was offered.

        Returns:
            The frame to send.
        """
        if feed.tensors:
            for view, tensor in zip(self._inputs, feed.tensors, strict=True):
                view[...] = tensor
            return self.request_of_sinks()
        self._sequence = self._sequence % _WORDS_MAX + 1
        if feed.image is not None:
            request = protocol.Request(self._sequence, *feed.image.shape)
            self._area.image(self.welcome.tensor_bytes, feed.image.shape)[...] = feed.image
        else:
            request = protocol.Request(self._sequence, file_bytes=len(feed.file))
            self._area.put(self.welcome.tensor_bytes, feed.file)
        self.is_waiting = True
        return protocol.encode_request(request)

    def request_with(self, pieces: Iterable[memoryview]) -> bytes:
        """Put a request's tensors, each as the bytes it has in memory, into the shared memory.

        Args:
            pieces: Of every input, in the model's order, as many bytes as it has.

        Returns:
            The frame to send.
        """
        for place, piece in zip(self.welcome.inputs, pieces, strict=True):
            self._area.put(place.offset, piece)
        return self.request_of_sinks()

    def sinks(self) -> list[memoryview]:
        """Where the bytes of every input lie in the memory that was accepted, in the model's order."""
        return [self._area.part(place.offset, place.size_bytes()) for place in self.welcome.inputs]

    def request_of_sinks(self) -> bytes:
        """The frame of a request whose tensors are in ``sinks`` already."""
        self._sequence = self._sequence % _WORDS_MAX + 1
        self.is_waiting = True
        if self._notice is not None:
            self._notice.ask(self._sequence)
        return protocol.encode_request_of_tensors(self._sequence)

    def is_posted(self) -> bool:
        """Whether the answer to the request is in shared memory; it will be said, too."""
        return self._notice is not None and self._notice.is_of(self._sequence)

    def posted(self) -> bytes:
        """The answer that ``is_posted``."""
        return self._notice.read() if self._notice is not None else b""

    def understand(self, frame: bytes | memoryview) -> protocol.Result | protocol.Failure:
        """Take the answer to the request.

        Raises:
            MessageError: It is none.
        """
        answer = protocol.parse_answer(frame)
        if answer.sequence != self._sequence and answer.sequence:
            raise MessageError(f"the worker answered request {answer.sequence}, not {self._sequence}")
        self.is_waiting = False
        if isinstance(answer, protocol.Failure):
            self._last_result = b""
            return answer
        self._last_result = bytes(frame)
        return self._complete(answer)

    def _complete(self, answer: protocol.Result) -> protocol.Result:
        """Find the classes of an output that lies there as it is stored."""
        self._is_stored = answer.is_stored
        if not answer.is_stored:
            return answer
        if self._reader is None:
            raise MessageError("the worker left an output that it has not described")
        return protocol.Result(
            answer.sequence, answer.is_draining, answer.latency_s, self._reader.read(), is_stored=True
        )

    def last_answer(self) -> protocol.Result | protocol.Failure | None:
        """The last answer once more, to rehearse what will be done with the next; None where it is not worth it."""
        if not self._last_result or not self._is_brief:
            return None
        self.posted()  # the way to the next one
        answer = protocol.parse_answer(self._last_result)
        return self._complete(answer) if isinstance(answer, protocol.Result) else answer

    def read_bytes(self, names: Iterable[str]) -> list[bytes]:
        """Copies of the bytes of some of the last answer's outputs."""
        if self._is_stored:
            outputs = self.read_outputs()
            return [outputs[name].tobytes() for name in names]
        return [self._outputs[name].tobytes() for name in names]

    def read_outputs(self) -> dict[str, npt.NDArray[np.float32]]:
        """Copies of the last answer's outputs."""
        if self._is_stored and self._reader is not None:
            return {name: self._reader.real() for name in self._outputs}
        return {name: view.copy() for name, view in self._outputs.items()}
