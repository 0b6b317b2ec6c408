"""HTTP for the fetching process: the agent's only door to urllib3.

Guarantees: every wait has a time-out, nothing is retried behind the caller's back, redirects are not followed (the
operator named the server; a redirect may lead anywhere), bodies come in blocks of at most 64 KiB as they arrive and
are never decompressed. A body that trickles slower than ``MIN_BYTES_PER_SECOND`` is given up: the next try resumes.
Every failure of the network is a DownloadError. Does not check digests or sizes.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import urllib3

from contract.errors import DownloadError

BLOCK_BYTES = 1 << 16
CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 20.0
"""Between two arrivals; longer than a mobile network's usual stall, shorter than a user's patience."""
STALL_WINDOW_S = 60.0
MIN_BYTES_PER_SECOND = 64
"""Below the slowest GPRS coding scheme's payload (CS-1, 1 kB/s, 3GPP TS 43.064) by far: only a stalled or hostile
sender is slower."""

_CONTENT_RANGE = re.compile(r"bytes (\d{1,15})-(\d{1,15})/(?:\d{1,15}|\*)")


@dataclass(frozen=True)
class Answer:
    """A response whose body is still to come.

    Attributes:
        status: HTTP status.
        start: First byte's position in the whole; 0 unless the answer is partial (206), -1 when it does not say.
        blocks: The body.
    """

    status: int
    start: int
    blocks: Iterator[bytes]


class Http:
    """GET over one pool of connections. Close it at the end."""

    def __init__(
        self, *, read_timeout_s: float = READ_TIMEOUT_S, stall_window_s: float = STALL_WINDOW_S
    ) -> None:
        """Nothing is connected yet.

        Args:
            read_timeout_s: Longest wait for the next bytes, s.
            stall_window_s: Over which the lowest rate is measured, s.
        """
        timeout = urllib3.Timeout(connect=CONNECT_TIMEOUT_S, read=read_timeout_s)
        self._pool = urllib3.PoolManager(timeout=timeout, retries=False, maxsize=1)
        self._stall_window_s = stall_window_s

    def close(self) -> None:
        """Close the connections."""
        self._pool.clear()

    @contextmanager
    def get(self, url: str, *, start: int = 0) -> Iterator[Answer]:
        """Ask for a resource, from a byte on.

        Args:
            url: Where it is.
            start: The first byte wanted; above 0 a server may ignore it and answer 200 with everything.

        Raises:
            DownloadError: Not connected, cut off, or too slow; also while the blocks are read.
        """
        headers = {"Accept-Encoding": "identity", "User-Agent": "litefleet-agent"}
        if start:
            headers["Range"] = f"bytes={start}-"
        try:
            response = self._pool.request("GET", url, headers=headers, preload_content=False, redirect=False)
        except urllib3.exceptions.HTTPError as error:
            raise DownloadError(f"{url} cannot be reached: {_cause(error)}") from error
        try:
            yield Answer(response.status, _start_of(response), self._blocks(response, url))
        finally:
            response.close()

    def _blocks(self, response: urllib3.BaseHTTPResponse, url: str) -> Iterator[bytes]:
        window_start, window_bytes = time.monotonic(), 0
        try:
            while block := response.read1(BLOCK_BYTES, decode_content=False):
                yield block
                window_bytes += len(block)
                elapsed = time.monotonic() - window_start
                if elapsed >= self._stall_window_s:
                    if window_bytes < elapsed * MIN_BYTES_PER_SECOND:
                        raise DownloadError(f"{url} sends less than {MIN_BYTES_PER_SECOND} bytes a second")
                    window_start, window_bytes = time.monotonic(), 0
        except urllib3.exceptions.HTTPError as error:
            raise DownloadError(f"{url} was cut off: {_cause(error)}") from error


def _start_of(response: urllib3.BaseHTTPResponse) -> int:
    if response.status != 206:
        return 0
    match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    return int(match[1]) if match else -1


def _cause(error: Exception) -> str:
    """What a person wants to know of a urllib3 failure, without the objects that its texts hold."""
    reason = error.__cause__ or error.__context__
    text = str(reason) if isinstance(reason, OSError) and str(reason) else str(error)
    return text[:200]
