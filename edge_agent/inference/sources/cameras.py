"""Cameras: V4L2 through linuxpy, picamera2, and whatever OpenCV opens. The only importer of the three.

Guarantees: none of them is needed by anything else: a library that is not there is a ConfigError with its remedy. A
camera that goes away is a NotFoundError, and is opened again with the next read. Each ``open_`` function takes what
it uses of its library as an argument, so that it can be tried against a recorded camera.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Protocol

import numpy as np

from contract.errors import ConfigError, LitefleetError, NotFoundError
from edge_agent.inference.sources.doors import Frame
from edge_agent.inference.sources.images import decode_camera
from edge_agent.inference.sources.settings import Source

WANTED_FORMATS = ("MJPG", "YUYV", "RGB3", "BGR3", "GREY")
"""Best first: compressed frames fit through USB at full rate, and dropped ones are never decoded."""
_REMEDIES = {
    "cv2": "pip install opencv-python-headless",
    "linuxpy.video.device": "pip install linuxpy",
    "picamera2": "apt install python3-picamera2 on Raspberry Pi OS, and a venv made with --system-site-packages",
}


class Grab(Protocol):
    """An open camera."""

    def grab(self, timeout_s: float) -> Frame | None:
        """The next frame; None when none came within this time. OSError or NotFoundError when it is gone."""

    def close(self) -> None:
        """Free it."""


class CameraCapture:
    """A camera that is opened when it is there, and again when it comes back.

    Args:
        open_camera: Opens it.
    """

    waits = False

    def __init__(self, open_camera: Callable[[], Grab]) -> None:
        self._open = open_camera
        self._camera: Grab | None = None

    def read(self, timeout_s: float) -> Frame | None:
        """See ``Capture``."""
        try:
            if self._camera is None:
                self._camera = self._open()
            return self._camera.grab(timeout_s)
        except (OSError, LitefleetError) as error:
            self.close()
            if isinstance(error, LitefleetError):
                raise
            raise NotFoundError(f"the camera cannot be used: {error}") from error

    def close(self) -> None:
        """See ``Capture``."""
        if self._camera is not None:
            camera, self._camera = self._camera, None
            camera.close()


def load_library(name: str) -> Any:
    """Import an optional library.

    Raises:
        ConfigError: It is not there, or does not load.
    """
    try:
        return importlib.import_module(name)
    except (ImportError, OSError) as error:
        raise ConfigError(
            f"{name.partition('.')[0]} cannot be used: {error}", remedy=_REMEDIES[name]
        ) from error


def choose_format(offered: list[str]) -> str:
    """The pixel format to ask a camera for.

    Raises:
        NotFoundError: It offers none that is read.
    """
    for wanted in WANTED_FORMATS:
        if wanted in offered:
            return wanted
    raise NotFoundError(f"the camera offers {', '.join(offered) or 'nothing'}, none of which is read")


class V4l2Camera:
    """A camera under ``/dev/video*``, streaming through mapped memory.

    Args:
        source: Names the device and the wanted size; the driver may choose a near one, and frames say which.
        library: ``linuxpy.video.device``.
    """

    def __init__(self, source: Source, library: Any) -> None:
        self._name = source.device
        self._device = library.Device(source.device, blocking=False)
        try:
            self._device.open()
            self._capture = library.VideoCapture(self._device)
            offered = [_fourcc(each.pixel_format) for each in self._capture.formats()]
            self._capture.set_format(source.width, source.height, choose_format(offered))
            self._capture.open()
            self._frames: Iterator[Any] = iter(self._capture)
        except BaseException:
            self._device.close()
            raise

    def grab(self, timeout_s: float) -> Frame | None:  # noqa: ARG002 - the driver's own pace
        """See ``Grab``."""
        frame = next(self._frames, None)
        if frame is None:
            raise NotFoundError(f"{self._name} gives no more frames")
        load = partial(
            decode_camera, bytes(frame.data), _fourcc(frame.pixel_format), frame.width, frame.height
        )
        return Frame(self._name, load)

    def close(self) -> None:
        """See ``Grab``."""
        self._capture.close()
        self._device.close()


def _fourcc(pixel_format: Any) -> str:
    """A V4L2 pixel format, a number, as its four characters."""
    return int(pixel_format).to_bytes(4, "little").decode("ascii", "replace").strip()


class Picamera:
    """A camera on the ribbon of a Raspberry Pi.

    Args:
        source: Number of the camera and wanted size.
        library: ``picamera2``.
    """

    def __init__(self, source: Source, library: Any) -> None:
        self._name = f"camera {source.camera}"
        try:
            self._camera = library.Picamera2(source.camera)
            # picamera2's BGR888 is R, G, B in memory (its manual, clause 4.2.2.2).
            main = {"size": (source.width, source.height), "format": "BGR888"}
            self._camera.configure(self._camera.create_video_configuration(main=main, buffer_count=3))
            self._camera.start()
        except (RuntimeError, IndexError) as error:
            raise NotFoundError(f"{self._name} cannot be used: {error}") from error

    def grab(self, timeout_s: float) -> Frame | None:  # noqa: ARG002 - the camera's own pace
        """See ``Grab``."""
        pixels = np.asarray(self._camera.capture_array("main"), np.uint8)
        return Frame(self._name, lambda: pixels)

    def close(self) -> None:
        """See ``Grab``."""
        self._camera.stop()
        self._camera.close()


class OpencvStream:
    """What OpenCV opens: RTSP, HTTP, a GStreamer pipeline, a file at the pace it was filmed.

    Args:
        source: The address.
        library: ``cv2``.
    """

    def __init__(self, source: Source, library: Any) -> None:
        self._library = library
        self._name = _without_secrets(source.url)
        self._stream = (
            library.VideoCapture(source.url, library.CAP_GSTREAMER)
            if source.gstreamer
            else library.VideoCapture(source.url)
        )
        if not self._stream.isOpened():
            self._stream.release()
            raise NotFoundError(
                f"OpenCV cannot open {self._name}",
                remedy="use an OpenCV that is built with GStreamer, which the wheels on PyPI are not: see the line "
                "GStreamer of cv2.getBuildInformation()"
                if source.gstreamer
                else "",
            )
        is_file = "://" not in source.url and not source.gstreamer
        fps = float(self._stream.get(library.CAP_PROP_FPS)) if is_file else 0.0
        self._period_s = 1 / fps if fps > 0 else 0.0
        self._due_s = time.monotonic()

    def grab(self, timeout_s: float) -> Frame | None:
        """See ``Grab``."""
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


def _without_secrets(url: str) -> str:
    """An address for logs and answers: without the user and password that RTSP addresses carry."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return url
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path.partition('?')[0]}"


def open_v4l2(source: Source) -> Grab:
    """The camera of a ``v4l2`` source."""
    return V4l2Camera(source, load_library("linuxpy.video.device"))


def open_picamera(source: Source) -> Grab:
    """The camera of a ``picamera2`` source."""
    return Picamera(source, load_library("picamera2"))


def open_opencv(source: Source) -> Grab:
    """The stream of an ``opencv`` source."""
    return OpencvStream(source, load_library("cv2"))
