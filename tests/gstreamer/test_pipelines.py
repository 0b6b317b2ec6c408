"""GStreamer pipelines and RTSP through Debian's own OpenCV, with a real worker on Debian's own numpy.

Run by scripts/test-gstreamer in an environment made as a user of Raspberry Pi OS would; anywhere else these tests fail.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge_agent.inference.pool import Pool
from tests.support.inference_slots import a_pool, serve, short_folder, wait_until
from tests.support.rtsp_camera import an_rtsp_camera
from tests.support.source_process import Log, a_source, answers, digits_of, size_of
from tests.support.tools import free_port

AWAY_S = 60.0
LIVE = "videotestsrc is-live=true num-buffers=40 ! video/x-raw,framerate=20/1 ! videoconvert ! appsink"
RTSP = (
    "rtspsrc location=rtsp://user:secret@127.0.0.1:{port}/cam user-pw=secret protocols=tcp latency=100 "
    "! rtpjpegdepay ! jpegdec ! videoconvert ! video/x-raw,format=BGR ! appsink drop=true max-buffers=1"
)


@pytest.fixture
def run_dir() -> Iterator[Path]:
    with short_folder() as folder:
        yield folder


@pytest.fixture
def pool(run_dir: Path) -> Iterator[Pool]:
    with a_pool(run_dir) as (pool, _):
        yield pool


def test_this_is_debians_opencv_with_gstreamer_and_numpy_1() -> None:
    assert str(cv2.__file__).startswith("/usr/lib/python3/")
    assert cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER)
    assert np.__version__.startswith("1.")


def test_a_pipeline_is_answered_and_begun_again_when_it_ends(
    pool: Pool, run_dir: Path, tmp_path: Path
) -> None:
    serve(pool)
    results = tmp_path / "results.jsonl"
    sinks = [{"kind": "file", "path": str(results)}]
    with a_source(run_dir, kind="opencv", url=LIVE, gstreamer=True, rate_hz=50, sinks=sinks) as source:
        log = Log(source)
        wait_until(lambda: log.has("gives no more frames"), "the end", AWAY_S)
        known = len(answers(results))
        assert known > 0
        wait_until(lambda: len(answers(results)) > known, "answers of the next round", AWAY_S)
    assert answers(results)[0]["source"] == "videotestsrc ! video/x-raw ! videoconvert ! appsink"


@pytest.mark.parametrize("gstreamer", [True, False], ids=["pipeline", "address"])
def test_an_rtsp_camera_is_answered_and_found_again_after_it_was_away(
    pool: Pool, run_dir: Path, tmp_path: Path, *, gstreamer: bool
) -> None:
    serve(pool)
    results, port = tmp_path / "results.jsonl", free_port()
    settings: dict[str, Any] = {
        "kind": "opencv",
        "url": RTSP.format(port=port) if gstreamer else f"rtsp://user:secret@127.0.0.1:{port}/cam",
        "gstreamer": gstreamer,
        "rate_hz": 20,
        "sinks": [{"kind": "file", "path": str(results)}],
    }
    with a_source(run_dir, **settings) as source:
        log = Log(source)
        wait_until(lambda: log.has("OpenCV cannot open"), "the camera's absence", AWAY_S)
        with an_rtsp_camera(port, 7):
            wait_until(lambda: len(answers(results)) >= 10, "answers", AWAY_S)
            threads, _ = size_of(source)
        wait_until(lambda: log.has("gives no more frames"), "the stream's end", AWAY_S)
        known = len(answers(results))
        with an_rtsp_camera(port, 3):
            wait_until(lambda: len(answers(results)) >= known + 10, "answers after it came back", AWAY_S)
            assert size_of(source)[0] <= threads + 8
    assert set(digits_of(results)[:known]) == {"7"}
    assert digits_of(results)[-1] == "3"
    assert not log.has("secret")


def test_a_pipeline_that_is_wrong_is_told_once_with_where_to_look(pool: Pool, run_dir: Path) -> None:
    serve(pool)
    url = "videotestsrc ! no-such-element ! appsink"
    with a_source(run_dir, kind="opencv", url=url, gstreamer=True) as source:
        log = Log(source)
        wait_until(
            lambda: log.has("OpenCV cannot open videotestsrc ! no-such-element ! appsink - gst-launch-1.0"),
            "a word",
        )
        wait_until(
            lambda: sum("unable to start pipeline" in line for line in log.lines) >= 3, "three tries", AWAY_S
        )
        assert sum("source of digits" in line for line in log.lines) == 1
