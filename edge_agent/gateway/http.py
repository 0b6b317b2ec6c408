"""HTTP/1.1 for a few local clients, and the only module that imports h11.

Guarantees: h11 reads heads and chunks, so that only what the standard allows gets through; a body of known length goes
straight into its own memory, and a head that is byte for byte the last one of its connection is not read again. Heads,
bodies, connections and times are bounded before anything is kept; who exceeds them gets an error and loses the
connection, and nobody else does. Requests of one connection are answered one after the other. Does not know what is
asked.

Why not a web framework: docs/adr/0031.
"""

from __future__ import annotations

import asyncio
import enum
import logging
import socket
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import h11

from contract.errors import LitefleetError, OverloadError, TooLargeError
from edge_agent.gateway.responses import Response, error_response, failed_response
from edge_agent.gateway.routes import HttpError
from edge_agent.gateway.wire import Head, Request, check_headers, count, encode, is_last_request

if TYPE_CHECKING:
    from edge_agent.gateway.attendants import Back, Death
    from edge_agent.gateway.server import Gateway

HEAD_MAX_BYTES = 16384
BUFFER_BYTES = 1 << 16
_LINGER_S = 2.0
"""How long a client that was refused in the middle of its body is listened to, so that it can read the answer."""
_RELUCTANT = 16
"""After how many like requests a client is lent once more whom its attendant could not serve."""
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Known:
    """A head that was read and taken, with a body of known length after it."""

    content: bytes
    head: Head
    size: int


class Phase(enum.Enum):
    """What a connection is doing."""

    HEAD = enum.auto()
    BODY = enum.auto()
    CHUNKS = enum.auto()
    WORK = enum.auto()
    LENT = enum.auto()
    WRITE = enum.auto()
    LINGER = enum.auto()


class Connection(asyncio.BufferedProtocol):
    """One client.

    Attributes:
        phase: What it is doing.
        is_idle: Whether it rests between two requests.
        ends: Time of the event loop at which ``expire`` is due.
    """

    def __init__(self, gateway: Gateway) -> None:
        self.phase = Phase.HEAD
        self.is_idle = True
        self.ends = 0.0
        self._gateway = gateway
        self._limits = gateway.settings
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._h11 = _new_parser()
        self._head: Head | None = None
        self._known: _Known | None = None
        self._alike = 0
        self._body = bytearray()
        self._filled = 0
        self._reserved = 0
        self._rest = b""
        self._is_last = False
        self._has_ended = False
        self._task: asyncio.Task[None] | None = None

    # The transport's calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See ``asyncio.BufferedProtocol``."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - it is a stream's
        self._transport = transport
        transport.set_write_buffer_limits(high=0)
        self._rest_until_next()
        if not self._gateway.admit(self):
            self._refuse(OverloadError("too many connections are open", remedy="close some, or try again"))
            if self._gateway.is_flooded:
                self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """See ``asyncio.BufferedProtocol``."""
        del exc
        if self.phase is not Phase.WORK:  # a body in work takes memory until it is answered
            self._release()
        self._gateway.forget(self)

    def eof_received(self) -> bool:
        """A client that has said its last word still gets its answer."""
        self._has_ended = self.phase in {Phase.WORK, Phase.WRITE}
        return self._has_ended

    def get_buffer(self, sizehint: int) -> memoryview:
        """See ``asyncio.BufferedProtocol``."""
        del sizehint
        if self.phase is Phase.BODY:
            return memoryview(self._body)[self._filled :]
        return self._gateway.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """See ``asyncio.BufferedProtocol``."""
        if self.phase is Phase.BODY:
            self._filled += nbytes
            if self._filled == len(self._body):
                self._start_work()
        elif self.phase in {Phase.HEAD, Phase.CHUNKS}:
            self._take(self._gateway.buffer[:nbytes])
        elif self.phase is not Phase.LINGER:
            # The next request, before the answer: the rest of it waits with the system.
            self._rest += self._gateway.buffer[:nbytes]
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Called when the client has taken all of an answer."""
        if self.phase is Phase.WRITE:
            self._finish_response()

    # Reading.

    def _take(self, content: memoryview) -> None:
        known = self._known if self.is_idle else None
        if self.is_idle:
            self.is_idle = False
            self.ends = self._loop.time() + self._limits.receive_timeout_s
        try:
            if known is not None and content[: len(known.content)] == known.content:
                self._alike += 1
                self._begin_again(known, content[len(known.content) :])
                return
            came = bytes(content)
            is_first = self._h11.their_state is h11.IDLE and not self._h11.trailing_data[0]
            self._h11.receive_data(came)
            self._read_events(came if is_first else b"")
        except h11.RemoteProtocolError as error:
            self._refuse(HttpError(error.error_status_hint, f"this is no proper HTTP request: {error}"))
        except LitefleetError as error:
            self._refuse(error)

    def _read_events(self, came: bytes) -> None:
        while self.phase in {Phase.HEAD, Phase.CHUNKS}:
            event = self._h11.next_event()
            if isinstance(event, h11.Request):
                self._begin(event, came)
            elif isinstance(event, h11.Data):
                self._add_chunk(event.data)
            elif isinstance(event, h11.EndOfMessage):
                self._rest = self._h11.trailing_data[0]
                self._start_work()
            else:
                return

    def _begin(self, head: h11.Request, came: bytes) -> None:
        """Decide from the head how much will come, and whether to take it.

        Args:
            head: As read.
            came: All that came of this request until now; empty when it came in pieces.
        """
        headers = dict(head.headers)
        check_headers(headers, is_local=bool(self._limits.socket))
        self._head = Head(
            method=head.method.decode("ascii"),
            target=head.target.decode("ascii"),
            inference_header_bytes=count(headers.get(b"inference-header-content-length")),
            is_last=is_last_request(head.http_version, head.headers),
        )
        if b"transfer-encoding" in headers:
            self._reserve(self._limits.max_body_bytes)
            self.phase = Phase.CHUNKS
        else:
            size = count(headers.get(b"content-length")) or 0
            if size > self._limits.max_body_bytes:
                raise TooLargeError(
                    f"the body has {size} bytes, at most {self._limits.max_body_bytes} are taken"
                )
            self._reserve(size)
        if self._h11.they_are_waiting_for_100_continue:
            self._transport.write(_CONTINUE)
        if self.phase is Phase.HEAD:
            rest = self._h11.trailing_data[0]
            if came and b"expect" not in headers:
                content = came[: len(came) - len(rest)]
                self._known = _Known(content, self._head, size)
            self._take_rest(size, memoryview(rest))

    def _begin_again(self, known: _Known, came: memoryview) -> None:
        """Take a request whose head is the last one's: what was decided from it still holds."""
        self._head = known.head
        self._reserve(known.size)
        self._take_rest(known.size, came)

    def _take_rest(self, size: int, came: memoryview) -> None:
        """Go on without h11 for a body of known length: it would copy it twice more."""
        self._body = self._gateway.take_body(size)
        self._filled = min(size, len(came))
        self._body[: self._filled] = came[:size]
        self._rest = bytes(came[size:])
        self.phase = Phase.BODY
        if self._filled == size:
            self._start_work()

    def _reserve(self, size: int) -> None:
        if not self._gateway.reserve(size):
            raise OverloadError("the bodies of other requests take all memory there is for them")
        self._reserved = size

    def _release(self) -> None:
        self._gateway.release(self._reserved)
        self._reserved = 0

    def _add_chunk(self, content: bytes | bytearray) -> None:
        if len(self._body) + len(content) > self._limits.max_body_bytes:
            raise TooLargeError(f"the body has more than {self._limits.max_body_bytes} bytes")
        self._body += content

    # Answering.

    def _start_work(self) -> None:
        assert self._head is not None  # noqa: S101 - the phase is reached through it
        self.phase = Phase.WORK
        self.ends = float("inf")  # the service keeps its deadline
        request = self._request(self._head)
        if not self._gateway.service.begin(request, self):
            self.work(self._gateway.service.answer(request))

    def _request(self, head: Head) -> Request:
        return Request(head.method, head.target, memoryview(self._body), head.inference_header_bytes)

    def work(self, answer: Coroutine[Any, Any, Response]) -> None:
        """Respond as soon as the answer to the request in work is found."""
        self._task = self._loop.create_task(self._work(answer))

    async def _work(self, answer: Coroutine[Any, Any, Response]) -> None:
        try:
            response = await answer
        except Exception:
            # One request must not end the others: the traceback goes to the log.
            logger.exception("cannot answer %s", self._head)
            response = failed_response()
        self.respond(response)

    def respond(self, response: Response, after: Callable[[], None] | None = None) -> None:
        """Answer the request in work; nothing is sent when the client is gone.

        Args:
            response: The answer.
            after: Called when it is on its way, before another request begins.
        """
        if self._transport.is_closing():
            self._release()
        else:
            self.phase = Phase.WRITE
            self._is_last |= self._gateway.is_ending or self._head is None or self._head.is_last
            self._is_last |= self._has_ended and not self._rest
            self._transport.write(encode(response, is_last=self._is_last))
            self.ends = self._loop.time() + self._limits.receive_timeout_s
        if after is not None:
            after()
        if self.phase is Phase.WRITE and not self._transport.get_write_buffer_size():
            self._finish_response()

    def _finish_response(self) -> None:
        self._release()
        if self._alike > 0 and self._try_to_lend():
            return
        self._gateway.keep_body(self._body)
        self._body = bytearray()
        if self._is_last:
            self._transport.close()
            return
        self._rest_until_next()
        self._transport.resume_reading()
        rest, self._rest = self._rest, b""
        if rest:
            self._take(memoryview(rest))
        if self._has_ended and self.phase is not Phase.WORK:  # whatever is missing will not come
            self._transport.close()

    def _try_to_lend(self) -> bool:
        """Have an attendant serve a client that asks again what it asked, if one is free."""
        if self._is_last or self._has_ended or self._rest or self._head is None or self._known is None:
            return False
        # Now, not when it has begun: whatever comes from now on is the attendant's.
        self._transport.pause_reading()
        if not self._gateway.service.attend(self._request(self._head), self._known.content, self):
            return False
        self._gateway.keep_body(self._body)
        self._body = bytearray()
        self.phase = Phase.LENT
        self.ends = float("inf")  # the attendant sends it back
        return True

    def lend(self) -> socket.socket:
        """See ``edge_agent.gateway.attendants.Guest``."""
        client: socket.socket = self._transport.get_extra_info("socket").dup()
        client.setblocking(True)  # so is its brother, which is not read meanwhile
        return client

    def come_back(self, back: Back) -> bool:
        """See ``edge_agent.gateway.attendants.Guest``."""
        if back.is_broken:
            self._transport.abort()
        if self._transport.is_closing():
            return False
        self._alike = 0 if back.served else -_RELUCTANT
        self._rest_until_next()
        self._transport.resume_reading()
        if back.death is not None and self._known is not None:
            return self._ask_again(back.content, self._known, back.death)
        if back.content:
            self._take(memoryview(back.content))
        return False

    def _ask_again(self, content: bytes, known: _Known, death: Death) -> bool:
        """Go on with a whole request whose worker ended."""
        try:
            self._reserve(known.size)
        except LitefleetError as error:
            self._refuse(error)
            return False
        self.is_idle = False
        self._head, self._body = known.head, bytearray(content[len(known.content) :])
        self.phase, self.ends = Phase.WORK, float("inf")
        self.work(self._gateway.service.ask_again(self._request(known.head), *death))
        return True

    def _rest_until_next(self) -> None:
        if self._h11.their_state is not h11.IDLE:
            self._h11 = _new_parser()
        self._head = None
        self.phase = Phase.HEAD
        self.is_idle = True
        self.ends = self._loop.time() + self._limits.idle_timeout_s

    def _refuse(self, error: LitefleetError) -> None:
        """Answer in the middle of a request; what still comes is thrown away for a moment, then the connection ends."""
        self._release()
        self._body = bytearray()
        self._is_last = True
        self.is_idle = False  # nobody's place: it does not make room for another
        self.phase = Phase.LINGER
        self.ends = self._loop.time() + _LINGER_S
        self._transport.write(encode(error_response(error), is_last=True))
        if self._transport.can_write_eof():
            self._transport.write_eof()

    # Ending.

    def expire(self) -> None:
        """Called when ``ends`` has come."""
        if self.phase in {Phase.WRITE, Phase.LINGER}:
            self._transport.abort()
        elif self.is_idle:
            self._transport.close()
        else:
            self._refuse(
                HttpError(408, f"the request did not arrive within {self._limits.receive_timeout_s:g} s")
            )

    def close(self) -> None:
        """End a connection that rests; one with a request in work ends after its answer."""
        if self.is_idle or self.phase is Phase.LINGER:
            self._transport.close()

    def abort(self) -> None:
        """End it whatever it does."""
        self._transport.abort()


def _new_parser() -> h11.Connection:
    return h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_MAX_BYTES)
