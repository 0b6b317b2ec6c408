"""Cameras: V4L2 through linuxpy, and picamera2. The only importer of the two.

Guarantees: none of them is needed by anything else: a library that is not there is a ConfigError with its remedy. A
camera that goes away is a NotFoundError, and is opened again with the next read. Each class takes what it uses of its
library as an argument, so that it can be tried against a recorded camera.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from contract.errors import NotFoundError
from edge_agent.inference.sources.doors import Frame
from edge_agent.inference.sources.grabbing import Grab, load_library
from edge_agent.inference.sources.images import decode_camera
from edge_agent.inference.sources.settings import Source

WANTED_FORMATS = ("MJPG", "YUYV", "RGB3", "BGR3", "GREY")
"""Best first: compressed frames fit through USB at full rate, and dropped ones are never decoded."""


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


def v4l2_opener(source: Source) -> Callable[[], Grab]:
    """How the camera of a ``v4l2`` source is opened.

    Raises:
        ConfigError: The library is not there.
    """
    library = load_library("linuxpy.video.device", "pip install linuxpy")
    return partial(V4l2Camera, source, library)


def picamera_opener(source: Source) -> Callable[[], Grab]:
    """The same for a ``picamera2`` source."""
    library = load_library(
        "picamera2",
        "apt install python3-picamera2 on Raspberry Pi OS, and a venv made with --system-site-packages",
    )
    return partial(Picamera, source, library)
