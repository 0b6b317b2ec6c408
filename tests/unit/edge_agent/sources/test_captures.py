"""Cameras against doubles of their libraries, the slot, the control channel, images."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
import pytest
from PIL import Image

from contract.errors import ConfigError, InputError, NotFoundError
from edge_agent.inference.sources import cameras, images
from edge_agent.inference.sources.build import open_capture
from edge_agent.inference.sources.control import Control, read_settings
from edge_agent.inference.sources.doors import Frame
from edge_agent.inference.sources.grabbing import CameraCapture, load_library
from edge_agent.inference.sources.images import decode_camera, list_images, load_image
from edge_agent.inference.sources.settings import Source
from edge_agent.inference.sources.slot import LatestSlot
from edge_agent.inference.sources.tally import Counts, decode_counts


def fourcc(code: str) -> int:
    return int.from_bytes(code.encode(), "little")


def a_jpeg() -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (4, 2), (255, 0, 0)).save(stream, "JPEG")
    return stream.getvalue()


class RecordedV4l2:
    """What ``linuxpy.video.device`` offers of a UVC camera that gives two frames and is then unplugged."""

    def __init__(self, formats: tuple[str, ...] = ("YUYV", "MJPG")) -> None:
        self.offered = formats
        self.asked: list[tuple[int, int, str]] = []
        self.closed = 0

    def Device(self, path: str, *, blocking: bool) -> SimpleNamespace:  # noqa: N802 - the library's name
        assert (path, blocking) == ("/dev/video0", False)
        return SimpleNamespace(open=lambda: None, close=self._close)

    def _close(self) -> None:
        self.closed += 1

    def VideoCapture(self, device: Any) -> Any:  # noqa: N802 - the library's name
        assert device.close == self._close
        return self

    def formats(self) -> list[Any]:
        return [SimpleNamespace(pixel_format=fourcc(code)) for code in self.offered]

    def set_format(self, width: int, height: int, code: str) -> None:
        self.asked.append((width, height, code))

    def open(self) -> None: ...

    def close(self) -> None: ...

    def __iter__(self) -> Iterator[Any]:
        for _ in range(2):
            yield SimpleNamespace(
                data=bytearray(a_jpeg()), pixel_format=fourcc(self.asked[-1][2]), width=4, height=2
            )
        raise OSError(19, "No such device")


def a_v4l2(library: object) -> CameraCapture:
    source = Source(model="m", kind="v4l2", width=320, height=240)
    return CameraCapture(lambda: cameras.V4l2Camera(source, library))


def test_a_camera_is_asked_for_jpeg_and_opened_again_after_it_was_unplugged() -> None:
    library = RecordedV4l2()
    capture = a_v4l2(library)
    frame = capture.read(1.0)
    assert frame is not None
    assert frame.name == "/dev/video0"
    content = frame.load()
    assert isinstance(content, bytes)
    assert np.asarray(Image.open(io.BytesIO(content))).shape == (2, 4, 3)
    capture.read(1.0)
    with pytest.raises(NotFoundError, match="No such device"):
        capture.read(1.0)
    assert capture.read(1.0) is not None
    capture.close()
    assert library.asked == [(320, 240, "MJPG")] * 2
    assert library.closed == 2


def test_a_camera_without_a_format_that_is_read_is_refused_and_closed() -> None:
    library = RecordedV4l2(("H264",))
    with pytest.raises(NotFoundError, match="offers H264"):
        a_v4l2(library).read(1.0)
    assert library.closed == 1


@pytest.mark.parametrize(
    ("kind", "remedy"), [("v4l2", "pip install linuxpy"), ("picamera2", "apt install python3-picamera2")]
)
def test_a_library_that_is_missing_is_named_with_its_remedy(
    kind: Literal["v4l2", "picamera2"], remedy: str
) -> None:
    with pytest.raises(ConfigError, match="cannot be used: No module named") as caught:
        open_capture(Source(model="m", kind=kind))
    assert caught.value.remedy.startswith(remedy)


@pytest.mark.parametrize(
    "says",
    [
        "ImportError('numpy.core.multiarray failed to import')",
        "ValueError('numpy.dtype size changed, may indicate binary incompatibility')",
    ],
)
def test_a_library_for_another_numpy_is_told_with_the_numpy_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str
) -> None:
    (tmp_path / "for_numpy_1.py").write_text(f"raise {says}")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match="for_numpy_1 cannot be used: numpy") as caught:
        load_library("for_numpy_1", "pip install it")
    assert "pip install 'litefleet[agent]' 'numpy<2'" in caught.value.remedy


class RecordedPicamera:
    """What ``picamera2`` offers."""

    def __init__(self, number: int) -> None:
        if number:
            raise IndexError("list index out of range")
        self.calls: list[str] = []

    def create_video_configuration(self, **settings: Any) -> dict[str, Any]:
        assert settings["main"] == {"size": (640, 480), "format": "BGR888"}
        return settings

    def configure(self, settings: dict[str, Any]) -> None: ...

    def start(self) -> None: ...

    def capture_array(self, stream: str) -> Any:
        assert stream == "main"
        return np.full((480, 640, 3), 7, np.uint8)

    def stop(self) -> None:
        self.calls.append("stop")

    def close(self) -> None:
        self.calls.append("close")


def test_a_raspberry_pi_camera_gives_rgb_and_a_missing_one_is_told() -> None:
    library = SimpleNamespace(Picamera2=RecordedPicamera)
    camera = cameras.Picamera(Source(model="m", kind="picamera2"), library)
    frame = camera.grab(1.0)
    assert frame is not None
    assert np.asarray(frame.load()).shape == (480, 640, 3)
    camera.close()
    assert camera._camera.calls == ["stop", "close"]
    with pytest.raises(NotFoundError, match="camera 1 cannot be used"):
        cameras.Picamera(Source(model="m", kind="picamera2", camera=1), library)


def test_buffers_of_every_format_become_rgb_or_gray() -> None:
    # ITU-R BT.601: 81 90 240 is red, 145 54 34 green; limited range.
    yuyv = bytes([81, 90, 81, 240, 145, 54, 145, 34])
    pixels = np.asarray(decode_camera(yuyv, "YUYV", 2, 2))
    assert np.abs(pixels[0].astype(int) - [255, 0, 0]).max() <= 2
    assert np.abs(pixels[1].astype(int) - [0, 255, 0]).max() <= 2
    assert np.asarray(decode_camera(bytes(range(6)), "RGB3", 2, 1))[0, 1].tolist() == [3, 4, 5]
    assert np.asarray(decode_camera(bytes(range(6)), "BGR3", 2, 1))[0, 0].tolist() == [2, 1, 0]
    assert np.asarray(decode_camera(bytes(range(4)), "GREY", 2, 2)).tolist() == [[0, 1], [2, 3]]


@pytest.mark.parametrize(
    ("code", "content", "fault"),
    [
        ("YUYV", b"123", "cut off"),
        ("YUYV", b"1" * 64, "cut off"),
        ("H264", b"", "H264, which is not read"),
        ("MJPG", b"\xff\xd8", "cannot be read as an image"),
    ],
)
def test_buffers_that_are_cut_off_or_unknown_are_refused(code: str, content: bytes, fault: str) -> None:
    with pytest.raises(InputError, match=fault):
        decode_camera(content, code, 3, 1)


def test_a_jpeg_stays_as_it_is_for_the_worker_to_decode(tmp_path: Path) -> None:
    Image.new("RGB", (30, 20)).save(tmp_path / "image.jpg")
    content = (tmp_path / "image.jpg").read_bytes()
    assert load_image(tmp_path / "image.jpg") == content
    assert images.decode_payload(content, "a message") == content
    assert decode_camera(content, "MJPG", 30, 20) == content


def test_an_image_of_too_many_pixels_is_refused_before_it_is_decoded() -> None:
    stream = io.BytesIO()
    Image.new("1", (9_300, 9_300)).save(stream, "PNG")
    with pytest.raises(InputError, match="9300 x 9300 pixels, more than"):
        images.decode_image(stream.getvalue(), "a bomb")


def test_an_array_that_would_be_unpickled_is_refused() -> None:
    stream = io.BytesIO()
    np.save(stream, np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match=r"\.npy"):
        images.decode_payload(stream.getvalue(), "a message")


def test_images_are_found_in_the_order_of_their_paths(tmp_path: Path) -> None:
    for name in ("b/a.png", "a/a.jpg", "Z.PNG", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    assert [str(path.relative_to(tmp_path)) for path in list_images(tmp_path)] == [
        "Z.PNG",
        "a/a.jpg",
        "b/a.png",
    ]


@pytest.mark.parametrize(
    ("mode", "shape"),
    [("L", (2, 3)), ("1", (2, 3)), ("RGB", (2, 3, 3)), ("RGBA", (2, 3, 3)), ("P", (2, 3, 3))],
)
def test_images_come_as_gray_or_rgb(tmp_path: Path, mode: str, shape: tuple[int, ...]) -> None:
    Image.new(mode, (3, 2)).save(tmp_path / "image.png")
    pixels = load_image(tmp_path / "image.png")
    assert isinstance(pixels, np.ndarray)
    assert pixels.shape == shape
    assert pixels.dtype == np.uint8


def a_frame(name: str) -> Frame:
    return Frame(name, lambda: 0)


def test_the_slot_holds_the_newest_frame_alone() -> None:
    slot = LatestSlot()
    assert slot.take() is None
    assert slot.wait_idle(0.0)
    assert [slot.put(a_frame(name)) for name in "abc"] == [False, True, True]
    frame = slot.take()
    assert frame is not None
    assert frame.name == "c"
    assert slot.take() is None
    assert not slot.wait_idle(0.0)
    slot.finish()
    assert slot.wait_idle(0.0)
    slot.close()


def test_orders_are_obeyed_rubbish_is_not_and_the_end_of_input_is_the_end() -> None:
    reading, writing = os.pipe()
    hearing, telling = os.pipe()
    control = Control(reading, telling)
    os.write(writing, b'{"rate_share": 0.5}\n{"rate_share": 7}\nrubbish\n{"rate')
    assert not control.wait(0.01)
    assert control.rate_share == 0.5
    os.write(writing, b'_share": 0.25}\n')
    assert not control.wait(0.01)
    assert control.rate_share == 0.25
    control.tell(Counts(captured=3))
    assert decode_counts(os.read(hearing, 4096)) == Counts(captured=3)
    for _ in range(2000):
        control.tell(Counts())  # nobody reads: thrown away, not waited for
    os.close(hearing)
    control.tell(Counts())
    os.close(writing)
    assert control.wait(5.0)
    for descriptor in (reading, telling):
        os.close(descriptor)


def test_settings_are_the_first_line_and_the_orders_after_it_stay() -> None:
    reading, writing = os.pipe()
    os.write(writing, b'{"model": "digits"}\n{"rate_share": 0.5}\n{"mod')
    assert read_settings(reading) == b'{"model": "digits"}'

    control = Control(reading)
    assert not control.wait(0.01)
    assert control.rate_share == 0.5

    os.close(writing)
    assert read_settings(reading) == b""
    os.close(reading)
