"""A folder of images is answered over and over; real worker, real child process."""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from contract.errors import InputError
from edge_agent import connect
from edge_agent.inference.pool import Pool
from edge_agent.inference.sources import Source, list_images, load_image, wait_for_end_of_input
from tests.support.inference_slots import ROOT, images_of, serve, wait_until


class Clock:
    """Waits for real, and ends after a number of waits."""

    def __init__(self, waits: int) -> None:
        self.left = waits
        self.pause = threading.Event()

    def __call__(self, seconds: float) -> bool:
        self.pause.wait(min(seconds, 0.05))
        self.left -= 1
        return self.left < 0


@contextlib.contextmanager
def a_source(run_dir: Path, folder: Path, rate_hz: float) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "edge_agent.inference.sources", "--run-dir", str(run_dir)]
    command += ["--model", "digits", "--folder", str(folder), "--rate-hz", str(rate_hz)]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for digit in range(3):
        path = tmp_path / "images" / str(digit) / "a.png"
        path.parent.mkdir(parents=True)
        Image.fromarray(images_of(digit)[0]).save(path)
    return tmp_path / "images"


def requests(pool: Pool) -> int:
    return sum(window.requests for window in pool.take_windows())


def test_images_are_answered_from_the_first_deployment_on_until_input_ends(
    pool: Pool, run_dir: Path, folder: Path
) -> None:
    with a_source(run_dir, folder, 200.0) as source:
        assert source.stderr is not None
        assert "not deployed" in source.stderr.readline()
        serve(pool)
        wait_until(lambda: requests(pool) > 5, "answers")
        serve(pool, "1.1.0")
        wait_until(
            lambda: any(w.version == "1.1.0" and w.requests > 5 for w in pool.take_windows()), "answers"
        )

        _, errors = source.communicate(timeout=20)

        assert source.returncode == 0
        assert errors == "source of digits: well again\n"


def test_the_end_of_input_ends_a_source_that_never_found_its_model(run_dir: Path, folder: Path) -> None:
    with a_source(run_dir, folder, 1.0) as source:
        assert source.stderr is not None
        assert "no litefleet agent" in source.stderr.readline()

        source.communicate(timeout=20)

        assert source.returncode == 0


def test_trouble_is_told_when_it_changes_and_never_ends_the_source(
    pool: Pool, run_dir: Path, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    serve(pool)
    (folder / "1" / "a.png").write_bytes(b"no image")

    with connect(run_dir) as agent:
        Source(agent, "digits", folder, 1000.0, Clock(9)).run()

    texts = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(texts) == 6  # three rounds: cannot be read, well again
    assert "cannot be read as an image" in texts[0]
    assert "well again" in texts[1]
    assert requests(pool) == 6


def test_an_empty_folder_is_told_once_and_looked_at_again(
    pool: Pool, run_dir: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    serve(pool)

    with connect(run_dir) as agent:
        Source(agent, "digits", tmp_path / "nothing", 1000.0, Clock(5)).run()

    assert [record.getMessage() for record in caplog.records if record.name.endswith("sources")] == [
        f"source of digits: no images in {tmp_path / 'nothing'}"
    ]


def test_images_are_found_in_the_order_of_their_paths(folder: Path) -> None:
    (folder / "notes.txt").write_bytes(b"")
    (folder / "folder.png").mkdir()
    Image.new("L", (2, 2)).save(folder / "Z.PNG")

    assert [str(path.relative_to(folder)) for path in list_images(folder)] == [
        "0/a.png",
        "1/a.png",
        "2/a.png",
        "Z.PNG",
    ]


@pytest.mark.parametrize(
    ("mode", "shape"),
    [("L", (2, 3)), ("1", (2, 3)), ("RGB", (2, 3, 3)), ("RGBA", (2, 3, 3)), ("P", (2, 3, 3))],
)
def test_images_come_as_gray_or_rgb(tmp_path: Path, mode: str, shape: tuple[int, ...]) -> None:
    Image.new(mode, (3, 2)).save(tmp_path / "image.png")

    pixels = load_image(tmp_path / "image.png")

    assert pixels.shape == shape
    assert pixels.dtype == np.uint8


def test_a_file_that_is_no_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")

    with pytest.raises(InputError, match="cannot be read as an image"):
        load_image(tmp_path / "a.png")


def test_input_that_only_talks_does_not_end_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading) as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        os.write(writing, b"hello")

        assert not wait_for_end_of_input(0.05)

        os.close(writing)
        assert wait_for_end_of_input(5.0)
