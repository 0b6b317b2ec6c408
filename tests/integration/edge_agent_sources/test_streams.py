"""Streams through the real OpenCV with a real worker: RTSP over real sockets, and files."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge_agent.inference.client import connect
from edge_agent.inference.pool import Pool
from edge_agent.inference.sources.control import Control
from edge_agent.inference.sources.doors import Frame, SpentError
from edge_agent.inference.sources.settings import Source as Settings
from edge_agent.inference.sources.source import Source
from tests.support.inference_slots import images_of, serve, wait_until
from tests.support.rtsp_camera import an_rtsp_camera
from tests.support.source_process import Log, a_source, answers, digits_of, ended, size_of
from tests.support.tools import free_port

AWAY_S = 45.0
"""A stream that comes back is found after a pause of 30 s at most; FFmpeg looks at it for a few more."""


@pytest.mark.slow
def test_an_rtsp_camera_is_answered_and_found_again_after_it_was_away(
    pool: Pool, run_dir: Path, tmp_path: Path
) -> None:
    serve(pool)
    results, port = tmp_path / "results.jsonl", free_port()
    settings: dict[str, Any] = {
        "kind": "opencv",
        "url": f"rtsp://user:secret@127.0.0.1:{port}/cam?key=secret",
        "rate_hz": 20,
        "sinks": [{"kind": "file", "path": str(results)}],
    }
    with a_source(run_dir, **settings) as source:
        log = Log(source)
        wait_until(
            lambda: log.has(f"OpenCV cannot open rtsp://127.0.0.1:{port}/cam\n"), "the camera's absence"
        )
        with an_rtsp_camera(port, 7):
            wait_until(lambda: len(answers(results)) >= 10, "answers", AWAY_S)
            size = size_of(source)
        wait_until(lambda: log.has("gives no more frames"), "the stream's end")
        known, seen = len(answers(results)), len(log.lines)
        wait_until(lambda: log.has("OpenCV cannot open", seen), "another try")
        with an_rtsp_camera(port, 3):
            wait_until(lambda: len(answers(results)) >= known + 10, "answers after it came back", AWAY_S)
            threads, descriptors = size_of(source)
        assert source.stdin is not None
        source.stdin.close()
        assert source.wait(20) == 0
    assert set(digits_of(results)[:known]) == {"7"}
    assert digits_of(results)[-1] == "3"
    assert threads <= size[0]
    assert descriptors <= size[1]
    assert not log.has("secret")
    assert answers(results)[0]["source"] == f"rtsp://127.0.0.1:{port}/cam"


def test_a_stream_that_ends_again_and_again_is_opened_again(
    pool: Pool, run_dir: Path, tmp_path: Path
) -> None:
    serve(pool)
    results, port = tmp_path / "results.jsonl", free_port()
    sinks = [{"kind": "file", "path": str(results)}]
    url = f"rtsp://127.0.0.1:{port}/cam"
    with (
        an_rtsp_camera(port, 7, frames=50),
        a_source(run_dir, kind="opencv", url=url, rate_hz=50, sinks=sinks) as source,
    ):
        log = Log(source)
        wait_until(lambda: sum("gives no more frames" in line for line in log.lines) >= 2, "two ends", AWAY_S)
        wait_until(lambda: len(answers(results)) > 50, "answers of two streams", AWAY_S)
    assert set(digits_of(results)) == {"7"}


def test_a_video_file_is_answered_over_and_over(pool: Pool, run_dir: Path, tmp_path: Path) -> None:
    serve(pool)
    video, results = tmp_path / "digits.avi", tmp_path / "results.jsonl"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"MJPG"), 25.0, (64, 64))
    for digit in range(10):
        pixels = images_of(digit)[0].repeat(8, 0).repeat(8, 1)
        writer.write(np.dstack([pixels] * 3))
    writer.release()
    sinks = [{"kind": "file", "path": str(results)}]
    with a_source(run_dir, kind="opencv", url=str(video), rate_hz=100, sinks=sinks) as source:
        # The newest frame wins, so the first round may lose some.
        wait_until(lambda: digits_of(results).count("9") >= 3, "three rounds")
        counts, errors = ended(source)
    assert set(digits_of(results)) == {str(digit) for digit in range(10)}
    assert counts.failed == 0
    assert f"{video} gives no more frames" in errors


def test_a_pipeline_for_an_opencv_without_gstreamer_is_refused_with_what_to_install(run_dir: Path) -> None:
    with a_source(run_dir, kind="opencv", url="videotestsrc ! appsink", gstreamer=True) as source:
        _, errors = source.communicate(timeout=20)
    assert source.returncode == 1
    assert f"OpenCV {cv2.__version__} ({cv2.__file__}) is built without GStreamer - " in errors
    assert "apt install python3-opencv" in errors
    assert errors.count("\n") == 1


class StuckCapture:
    """Reads for ever, as some drivers do, or until it is spent."""

    waits = False

    def __init__(self, patience_s: float, error: Exception | None = None) -> None:
        self.patience_s = patience_s
        self._error = error
        self._release = threading.Event()
        self.closed = False

    def read(self, timeout_s: float) -> Frame | None:  # noqa: ARG002 - it hangs longer
        if self._error is not None:
            raise self._error
        self._release.wait()
        return None

    def release(self) -> None:
        self._release.set()

    def close(self) -> None:
        self.closed = True


def fed(run_dir: Path, capture: StuckCapture) -> None:
    """Run a source of this capture here, until it ends by itself."""
    reading, writing = os.pipe()
    try:
        with connect(run_dir) as agent:
            Source(agent, Settings(model="digits", rate_hz=100), capture, [], Control(reading)).run()
    finally:
        capture.release()
        os.close(reading)
        os.close(writing)


def test_a_capture_that_hangs_in_its_library_ends_the_source(pool: Pool, run_dir: Path) -> None:
    serve(pool)
    capture = StuckCapture(0.2)
    began_s = time.monotonic()
    with pytest.raises(SpentError, match="folder source hangs: no answer for"):
        fed(run_dir, capture)
    assert time.monotonic() - began_s < 20
    assert not capture.closed, "a library that is still in use is not freed"


def test_a_capture_that_is_spent_ends_the_source_and_is_closed(pool: Pool, run_dir: Path) -> None:
    serve(pool)
    capture = StuckCapture(60.0, SpentError("away too often"))
    with pytest.raises(SpentError, match="away too often"):
        fed(run_dir, capture)
    assert capture.closed
