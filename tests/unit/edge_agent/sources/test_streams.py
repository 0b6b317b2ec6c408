"""Streams against a double of OpenCV: what opens them, what they are called, and how long they are tried."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from contract.errors import ConfigError, NotFoundError
from edge_agent.inference.sources.doors import Frame, SpentError
from edge_agent.inference.sources.settings import Source
from edge_agent.inference.sources.streams import (
    PAUSES,
    TRIES_MAX,
    OpencvStream,
    StreamOpener,
    check_backend,
    how_to_install,
    shown_name,
)

PIPELINE = "videotestsrc ! appsink"


def a_source(url: str, *, gstreamer: bool = False) -> Source:
    return Source(model="m", kind="opencv", url=url, gstreamer=gstreamer)


class RecordedOpencv:
    """What ``cv2`` offers: a file of two red frames, 1000 a second."""

    CAP_ANY, CAP_FFMPEG, CAP_GSTREAMER, CAP_PROP_FPS, COLOR_BGR2RGB = 0, 1900, 1800, 5, 4
    __version__, __file__ = "4.6.0", "/usr/lib/cv2.so"

    def __init__(self, *, is_open: bool = True, backends: tuple[int, ...] = (1800, 1900)) -> None:
        self.is_open = is_open
        self.videoio_registry = SimpleNamespace(hasBackend=lambda number: number in backends)
        self.left = 2
        self.opened: list[tuple[Any, ...]] = []

    def VideoCapture(self, *what: Any) -> Any:  # noqa: N802 - the library's name
        self.opened.append(what)
        return self

    def isOpened(self) -> bool:  # noqa: N802 - the library's name
        return self.is_open

    def get(self, _what: int) -> float:
        return 1000.0

    def read(self) -> tuple[bool, Any]:
        self.left -= 1
        return self.left >= 0, np.dstack([np.zeros((2, 2, 2), np.uint8), np.full((2, 2), 255, np.uint8)])

    def cvtColor(self, pixels: Any, code: int) -> Any:  # noqa: N802 - the library's name
        assert code == self.COLOR_BGR2RGB
        return pixels[:, :, ::-1]

    def release(self) -> None: ...


def test_a_video_is_read_as_rgb_until_its_end() -> None:
    stream = OpencvStream(Source(model="m", kind="opencv", url="/a.mp4"), RecordedOpencv())
    frame = stream.grab(1.0)
    assert frame is not None
    assert np.asarray(frame.load())[0, 0].tolist() == [255, 0, 0]
    assert (stream.grab(0.0) or stream.grab(1.0)) is not None
    with pytest.raises(NotFoundError, match="no more frames"):
        stream.grab(1.0)
    stream.close()


@pytest.mark.parametrize(
    ("source", "backend"),
    [
        (a_source("rtsp://user:secret@camera/1"), RecordedOpencv.CAP_FFMPEG),
        (a_source("http://camera/stream"), RecordedOpencv.CAP_FFMPEG),
        (a_source(PIPELINE, gstreamer=True), RecordedOpencv.CAP_GSTREAMER),
        (
            a_source("rtspsrc location=rtsp://camera/1 ! appsink", gstreamer=True),
            RecordedOpencv.CAP_GSTREAMER,
        ),
        (a_source("/data/a.mp4"), RecordedOpencv.CAP_ANY),
        (a_source("/dev/video0"), RecordedOpencv.CAP_ANY),
    ],
)
def test_one_backend_opens_an_address_since_others_would_log_its_password(
    source: Source, backend: int
) -> None:
    library = RecordedOpencv()
    OpencvStream(source, library).close()
    assert library.opened == [(source.url, backend)]


def test_what_cannot_be_opened_is_told_without_its_password() -> None:
    library = RecordedOpencv(is_open=False)
    with pytest.raises(NotFoundError) as caught:
        OpencvStream(a_source("rtsp://user:secret@camera:554/1?key=secret"), library)
    assert caught.value.summary() == "OpenCV cannot open rtsp://camera:554/1"
    with pytest.raises(NotFoundError) as caught:
        OpencvStream(a_source(PIPELINE, gstreamer=True), library)
    assert "gst-launch-1.0" in caught.value.remedy


@pytest.mark.parametrize(
    ("pipeline", "shown"),
    [
        (
            "videotestsrc is-live=true ! video/x-raw,width=32 ! appsink",
            "videotestsrc ! video/x-raw ! appsink",
        ),
        (
            "rtspsrc location=rtsp://user:secret@camera:554/1?key=secret user-id=user user-pw=secret ! appsink",
            "rtspsrc location=rtsp://camera:554/1 ! appsink",
        ),
        (
            "rtspsrc user-pw = secret location = rtsp://camera/1 ! appsink",
            "rtspsrc location=rtsp://camera/1 ! appsink",
        ),
        ('rtspsrc user-pw="my secret ! secret" ! appsink', "rtspsrc ! appsink"),
        ('rtspsrc user-pw="secret ! appsink', "a GStreamer pipeline"),
    ],
)
def test_a_pipeline_is_shown_without_settings_that_could_be_secret(pipeline: str, shown: str) -> None:
    assert shown_name(a_source(pipeline, gstreamer=True)) == shown


@pytest.mark.parametrize(
    ("source", "has", "says", "remedy"),
    [
        (
            a_source(PIPELINE, gstreamer=True),
            1900,
            "4.6.0 (/usr/lib/cv2.so) is built without GStreamer",
            "python3-opencv",
        ),
        (a_source("rtsp://camera/1"), 1800, "is built without FFmpeg", "gstreamer = true"),
    ],
)
def test_an_opencv_without_what_the_source_needs_is_refused_at_once(
    source: Source, has: int, says: str, remedy: str
) -> None:
    library = RecordedOpencv(backends=(has,))
    with pytest.raises(ConfigError) as caught:
        check_backend(source, library)
    assert says in str(caught.value)
    assert remedy in caught.value.remedy


def test_an_opencv_that_has_it_is_taken() -> None:
    check_backend(a_source("rtsp://camera/1"), RecordedOpencv(backends=(RecordedOpencv.CAP_FFMPEG,)))
    check_backend(a_source("/data/a.mp4"), RecordedOpencv(backends=()))


def test_what_to_install_is_what_the_source_needs() -> None:
    assert how_to_install(a_source("rtsp://camera/1")) == "pip install opencv-python-headless"
    assert how_to_install(a_source(PIPELINE, gstreamer=True)).startswith("apt install python3-opencv ")


class Camera:
    """A stream that is away until it is switched on."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.is_on = False
        self.tried_s: list[float] = []
        self.opener = StreamOpener(self.open, lambda: self.now_s)

    def open(self) -> Camera:
        self.tried_s.append(self.now_s)
        if not self.is_on:
            raise NotFoundError("away", remedy="switch it on")
        return self

    def try_for(self, seconds: float) -> None:
        for _ in range(round(seconds)):
            with pytest.raises(NotFoundError, match="away") as caught:
                self.opener()
            assert caught.value.remedy == "switch it on"
            self.now_s += 1

    def grab(self, timeout_s: float) -> Frame | None:
        raise NotImplementedError

    def close(self) -> None: ...


def test_a_stream_that_is_away_is_tried_after_growing_pauses_and_found_when_it_is_back() -> None:
    camera = Camera()
    camera.try_for(150)
    gaps = [later - sooner for sooner, later in zip(camera.tried_s, camera.tried_s[1:], strict=False)]
    assert max(gaps[:2]) <= 3
    assert min(gaps[5:]) >= PAUSES.cap_s / 2
    assert max(gaps) <= PAUSES.cap_s + 1

    camera.is_on = True
    camera.now_s += PAUSES.cap_s
    assert camera.opener() is camera
    camera.is_on = False
    tried = len(camera.tried_s)
    camera.try_for(3)
    assert len(camera.tried_s) >= tried + 2, "the pauses begin anew"


def test_a_stream_that_stays_away_ends_its_process_so_that_nothing_grows() -> None:
    camera = Camera()
    while len(camera.tried_s) < TRIES_MAX - 1:
        camera.try_for(1)
    camera.now_s += PAUSES.cap_s
    with pytest.raises(SpentError, match=f"away, {TRIES_MAX} times in a row"):
        camera.opener()
