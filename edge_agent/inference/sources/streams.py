"""Streams, pipelines and video files through OpenCV. Its only importer.

Guarantees: an address is opened with FFmpeg and a pipeline with GStreamer, and with nothing else: OpenCV would try one
back-end after the other, and some of them write the whole address, password included, to the log. A stream that is away
is tried again after growing pauses. After ``TRIES_MAX`` failures in a row, or when OpenCV hangs, only another process
goes on: OpenCV 4.6 does not free all of a pipeline that cannot be started, and no thread that hangs in it can be ended.
Names in logs and answers hold no user, password, query or other setting.
"""

from __future__ import annotations

import random
import re
import shlex
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from contract.errors import ConfigError, NotFoundError
from edge_agent.backoff import Backoff
from edge_agent.inference.sources.doors import Frame, SpentError
from edge_agent.inference.sources.grabbing import Grab, load_library
from edge_agent.inference.sources.settings import Source

PAUSES = Backoff(base_s=1.0, cap_s=30.0)
"""Between failures to open: a camera that starts is found soon, one that is switched off costs two tries a minute."""
TRIES_MAX = 20
"""Failures to open, in a row, within one process: some six minutes. A failed pipeline was seen to keep up to four
threads and two descriptors (OpenCV 4.6.0, GStreamer 1.22.0)."""
PATIENCE_S = 90.0
"""OpenCV gives FFmpeg up after 30 s without a byte, opening and reading (cap_ffmpeg_impl.hpp), and rtspsrc gives up
after 20 s (its tcp-timeout; seen with a stopped server). Another pipeline may wait for ever."""
_PYPI = "pip install opencv-python-headless"
_DEBIAN = (
    "apt install python3-opencv gstreamer1.0-plugins-base gstreamer1.0-plugins-good, and install the agent into a "
    "venv made with --system-site-packages: pip install 'litefleet[agent]' 'numpy<2'"
)
_ELEMENT = re.compile(r"!|[A-Za-z][\w-]*")
_CAPS = re.compile(r"[a-z]+/[\w.-]+(?=,|$)")
_ORIGINS = frozenset(("device", "host", "location", "port", "uri"))


class OpencvStream:
    """What OpenCV opens: RTSP, HTTP, a GStreamer pipeline, a device, a file at the pace it was filmed.

    Args:
        source: The address.
        library: ``cv2``.
    """

    def __init__(self, source: Source, library: Any) -> None:
        self._library = library
        self._name = shown_name(source)
        self._stream = library.VideoCapture(source.url, getattr(library, backend_of(source)))
        if not self._stream.isOpened():
            self._stream.release()
            raise NotFoundError(
                f"OpenCV cannot open {self._name}",
                remedy="gst-launch-1.0 with the same pipeline says why" if source.gstreamer else "",
            )
        is_file = backend_of(source) == "CAP_ANY"
        fps = float(self._stream.get(library.CAP_PROP_FPS)) if is_file else 0.0
        self._period_s = 1 / fps if fps > 0 else 0.0
        self._due_s = time.monotonic()

    def grab(self, timeout_s: float) -> Frame | None:
        """See ``Grab``. A stream is waited for longer than that: it hangs until OpenCV gives it up."""
        pause_s = self._due_s - time.monotonic()
        if pause_s > 0:
            time.sleep(min(pause_s, timeout_s))
        if pause_s > timeout_s:
            return None
        self._due_s += self._period_s
        ok, pixels = self._stream.read()
        if not ok:
            raise NotFoundError(f"{self._name} gives no more frames")
        library = self._library
        return Frame(
            self._name, lambda: np.asarray(library.cvtColor(pixels, library.COLOR_BGR2RGB), np.uint8)
        )

    def close(self) -> None:
        """See ``Grab``."""
        self._stream.release()


class StreamOpener:
    """Opens a stream, and spares it while it is away.

    Args:
        open_stream: Opens it; NotFoundError when it is away.
        now_s: The monotonic time, seconds.
    """

    def __init__(self, open_stream: Callable[[], Grab], now_s: Callable[[], float] = time.monotonic) -> None:
        self._open = open_stream
        self._now_s = now_s
        self._failures = 0
        self._due_s = 0.0
        self._trouble = ("", "")

    def __call__(self) -> Grab:
        """The stream, opened.

        Raises:
            NotFoundError: It is away, or was a moment ago.
            SpentError: It was away too often for this process.
        """
        if self._failures and self._now_s() < self._due_s:
            # Not the old one: an error that is raised again keeps where it was raised each time.
            raise NotFoundError(self._trouble[0], remedy=self._trouble[1])
        try:
            stream = self._open()
        except NotFoundError as error:
            self._failures += 1
            if self._failures >= TRIES_MAX:
                raise SpentError(
                    f"{error}, {TRIES_MAX} times in a row; what OpenCV keeps of each is freed with this process",
                    remedy=error.remedy,
                ) from error
            self._trouble = (str(error), error.remedy)
            chance = random.uniform(0.5, 1.0)  # noqa: S311 - spreads load only
            self._due_s = self._now_s() + PAUSES.delay_s(self._failures, chance)
            raise
        self._failures = 0
        return stream


def backend_of(source: Source) -> str:
    """OpenCV's name of the one back-end that opens a source; ``CAP_ANY`` only for what is on this machine."""
    if source.gstreamer:
        return "CAP_GSTREAMER"
    return "CAP_FFMPEG" if "://" in source.url else "CAP_ANY"


def opencv_opener(source: Source) -> Callable[[], Grab]:
    """How the stream of an ``opencv`` source is opened.

    Raises:
        ConfigError: There is no OpenCV, or it is built without what this source needs.
    """
    library = load_library("cv2", how_to_install(source))
    check_backend(source, library)
    return StreamOpener(partial(OpencvStream, source, library))


def how_to_install(source: Source) -> str:
    """What a source needs of OpenCV, as commands."""
    return _DEBIAN if source.gstreamer else _PYPI


def check_backend(source: Source, library: Any) -> None:
    """See that OpenCV has the back-end that opens a source.

    Raises:
        ConfigError: It is built without it.
    """
    name = backend_of(source)
    if name == "CAP_ANY" or library.videoio_registry.hasBackend(getattr(library, name)):
        return
    raise ConfigError(
        f"OpenCV {library.__version__} ({library.__file__}) is built without "
        f"{'GStreamer' if source.gstreamer else 'FFmpeg'}",
        remedy=f"pip uninstall it where it is from PyPI; {_DEBIAN}"
        if source.gstreamer
        else f"{_PYPI}, or a GStreamer pipeline and gstreamer = true",
    )


def shown_name(source: Source) -> str:
    """What logs and answers call a source: an address without secrets, or the elements of a pipeline."""
    if not source.gstreamer:
        return _without_secrets(source.url)
    try:
        words = shlex.split(re.sub(r"\s*=\s*", "=", source.url))
    except ValueError:  # a quote that is not closed
        return "a GStreamer pipeline"
    shown: list[str] = []
    for word in words:
        key, equals, value = word.partition("=")
        caps = _CAPS.match(word)
        if caps is not None:
            shown.append(caps[0])
        elif _ELEMENT.fullmatch(word):
            shown.append(word)
        elif equals and key in _ORIGINS:
            shown.append(f"{key}={_without_secrets(value)}")
    return " ".join(shown)


def _without_secrets(url: str) -> str:
    """An address without the user, password and query that RTSP addresses carry."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return url
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path.partition('?')[0]}"
