"""Models for tests of pipelines: a detector whose image says what it finds, and classifiers to look at that."""

from __future__ import annotations

import contextlib
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from contract.manifest import Color, ImagePreprocessing, Task
from contract.results import Suppression, YoloDecoding
from contract.tensor import DType, TensorSpec
from edge_agent.inference.pool import Pool, WorkerSpec
from edge_agent.pipeline_process import pipeline_command
from edge_agent.pipelines.settings import CombinedSettings
from tests.support.inference_models import a_reshape
from tests.support.inference_slots import ROOT, START_S, a_slot, images_of, model_bytes

SIDE = 30
"""Pixels. Each row is a box: centre x, centre y, width, height, objectness, 25 scores. Even pixels are whole 255ths."""
FOUND = 6
DETECTOR = YoloDecoding(
    is_transposed=False, has_objectness=True, suppression=Suppression(max_detections=FOUND)
)


def a_detector_slot(folder: Path, *, version: str = "1.0.0", model: str = "finder") -> Path:
    """A detector that finds what the first rows of its image say; runs on the real runtime and decoder."""
    return a_slot(
        folder,
        content=a_reshape([1, SIDE, SIDE, 1], [1, SIDE, SIDE]),
        variant={"name": "float32"},
        model=model,
        version=version,
        task=Task.DETECTION,
        inputs=(TensorSpec(name="image", shape=(1, SIDE, SIDE, 1), dtype=DType.FLOAT32),),
        outputs=(TensorSpec(name="out", shape=(1, SIDE, SIDE), dtype=DType.FLOAT32),),
        labels=(),
        preprocessing=ImagePreprocessing(
            width=SIDE, height=SIDE, color=Color.GRAYSCALE, mean=(0.0,), std=(255.0,)
        ),
        postprocessing=None,
        decoding=DETECTOR,
    )


def a_digits_slot(folder: Path, *, model: str, version: str = "1.0.0", **changes: Any) -> Path:
    """A digits model (1.0.0 or 1.1.0) under another name."""
    return a_slot(folder, content=model_bytes(version), model=model, version=version, **changes)


def a_scene(
    digits: Sequence[tuple[int, int, int]], scores: Sequence[int] = (250, 240, 230)
) -> npt.NDArray[np.uint8]:
    """An image (30, 30) with digits in it, and what the detector finds: one box per digit.

    Args:
        digits: Digit, top and left of each, even pixels from row 6 and column 5 on.
        scores: 0 to 255, of each box.
    """
    scene = np.zeros((SIDE, SIDE), np.uint8)
    for row, (digit, top, left) in enumerate(digits):
        scene[top : top + 8, left : left + 8] = images_of(digit)[0]
        put_box(scene, row, (top, left, top + 8, left + 8), scores[row])
    return scene


def put_box(scene: npt.NDArray[np.uint8], row: int, box: tuple[int, int, int, int], score: int) -> None:
    """Let the detector find a box.

    Args:
        scene: Changed.
        row: Of the image that says so, 0 to 5.
        box: Top, left, bottom, right in pixels.
        score: 0 to 255.
    """
    top, left, bottom, right = box
    values = ((left + right) / 2, (top + bottom) / 2, right - left, bottom - top)
    scene[row, :4] = [round(value * 255 / SIDE) for value in values]
    scene[row, 4:7] = 255, 0, score


def put(pool: Pool, slot: Path, model: str, version: str = "1.0.0") -> None:
    """Make a slot's model the active one of its name."""
    spec = WorkerSpec(model=model, version=version, slot_dir=slot, threads=1)
    pool.activate(pool.start_candidate(spec, START_S))


@contextlib.contextmanager
def served(settings: CombinedSettings, run_dir: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The process of pipelines and ensembles, as the agent starts it; it ends with its standard input."""
    process = subprocess.Popen(
        pipeline_command(settings, run_dir), cwd=ROOT, stdin=subprocess.PIPE, stderr=subprocess.PIPE
    )
    with process:
        try:
            ends = time.monotonic() + START_S
            while not all((run_dir / f"{name}.sock").is_symlink() for name in settings.names):
                assert process.poll() is None, "it has ended"
                assert time.monotonic() < ends, "not there in time"
                threading.Event().wait(0.01)
            yield process
            assert process.stdin is not None
            process.stdin.close()
            assert process.wait(10) == 0
        finally:
            process.kill()
