"""MobileNetV2 224 to static int8, against TFLiteConverter: time, size, accuracy and memory, both sides in one run.

Every run is a process of its own: the packager with its libraries, TFLiteConverter in the environment that the
packager makes for Keras models (``LITEFLEET_BENCH_TENSORFLOW`` names another Python that has TensorFlow). Both start
from the same trained network, one from the float .tflite file and the other from the SavedModel, and calibrate on the
same 100 images. "Work" is what stands between inputs in memory and the int8 file in memory; "whole process" counts
start, imports, reading, the packager's checks in child processes, and writing, too.

The network is a trained one: ``_mobilenet_trained.py`` says from what. Accuracy is top-1 on the 10,000 images of the
test set of Fashion-MNIST, on which nothing was trained, calibrated or chosen. Each turn calibrates both sides with
another 100 images of the training set, because what a converter makes depends on them: the difference is the mean over
the turns. Its noise is the half width of its 95 % interval over the images; that sets differ, too, is not allowed for.
The difference counts whichever side is better.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert.interpreter import Interpreter
from PIL import Image

from contract.manifest import Resize
from packager.lanes import lane_count, work_in_lanes
from packager.preprocess import Fitting, Geometry, plan_preprocessing
from packager.quiet import native_output_hidden
from packager.tasks.classification import classified_images
from packager.tasks.labelled_images import load_labelled_images, load_labels
from packager.tasks.top1 import Top1
from tests.benchmarks.harness import Row, at_most, median_ratio, versions_of
from tests.benchmarks.packager._mobilenet_trained import (
    CALIBRATIONS,
    MAKER,
    TIMEOUT_S,
    tensorflow_python,
    trained_mobilenet,
)
from tests.benchmarks.packager.evaluating import compare
from tests.support.packager_builders import DIGITS

EVALUATIONS = 5
OURS = "_mobilenet_packager"
SIZE = 224
MIB = 1 << 20


@dataclass(frozen=True)
class Side:
    """One way to make int8: its command, and what each run of it took."""

    command: tuple[str, ...]
    made: Path
    found: list[dict[str, Any]]

    def run(self) -> None:
        """Once more, in a new process."""
        started = time.perf_counter()
        done = subprocess.run(self.command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        report = json.loads(done.stdout.splitlines()[-1])
        self.found.append({**report, "process_s": time.perf_counter() - started})

    def values(self, key: str) -> list[float]:
        """One number of every run."""
        return [float(one[key]) for one in self.found]


def rows() -> list[Row]:
    """Run both in turns."""
    python = tensorflow_python()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        trained = trained_mobilenet(python)
        with np.load(trained / "images.npz") as stored:
            calibrations, images, classes = stored["calibrations"], stored["test"], stored["test_classes"]
        np.save(folder / "calibration.npy", _enlarge(calibrations[0]))
        ours, bare, theirs = _sides(python, trained, folder)
        models = [(trained / "float.tflite").read_bytes()]
        for turn, calibration in enumerate(calibrations):
            np.save(folder / "calibration.npy", _enlarge(calibration))
            for side in (ours, theirs) if turn % 2 else (theirs, ours):
                side.run()
            bare.run()
            models += [ours.made.read_bytes(), theirs.made.read_bytes()]
        right = _right(models, images, classes)
        made = _rows(ours, bare, theirs, right)
        normalized = ours.made.with_suffix(".normalized").read_bytes()
    return [*made, *compare("MobileNetV2 224", normalized, _task(), EVALUATIONS)]


def _task() -> Top1:
    """The digits example's evaluation images as ``pack --resize stretch --mean 127.5 --std 127.5`` brings them."""
    recipe = plan_preprocessing(Geometry(SIZE, SIZE, 3), (127.5,), (127.5,), fitting=Fitting(Resize.STRETCH))
    labels = load_labels(DIGITS / "labels.txt", 10)
    samples = load_labelled_images(DIGITS / "evaluation", (SIZE, SIZE, 3), 10, labels, recipe)
    return classified_images(samples, recipe, 10)


def _rows(ours: Side, bare: Side, theirs: Side, right: npt.NDArray[np.bool_]) -> list[Row]:
    versions = versions_of("litert-quantizer", "ai-edge-litert") | {
        "tensorflow": theirs.found[0]["tensorflow"]
    }
    name, count = "MobileNetV2 224 to static int8", len(right[0])
    mine, reference = right[1::2].astype(float), right[2::2].astype(float)
    apart, noise = difference_of(mine - reference)
    size, other = ours.made.stat().st_size, theirs.made.stat().st_size

    def ratio(what: str, key: str, against: Side, goal: float | None) -> Row:
        return Row(
            f"{name}: {what}",
            median_ratio(ours.values(key), against.values(key)),
            "ratio",
            CALIBRATIONS,
            None if goal is None else at_most(goal),
            1.0,
            versions,
        )

    def median(what: str, key: str, unit: str, scale: float, against: Side) -> Row:
        mine, other = (statistics.median(side.values(key)) * scale for side in (ours, against))
        return Row(f"{name}: {what}", mine, unit, CALIBRATIONS, None, other, versions)

    return [
        ratio("work / TFLiteConverter's", "work_s", theirs, 0.35),
        median("work", "work_s", "s", 1.0, theirs),
        ratio("whole process / TFLiteConverter's", "process_s", theirs, None),
        median("whole process", "process_s", "s", 1.0, theirs),
        ratio("work / bare litert-quantizer's", "work_s", bare, 1.0),
        ratio("peak memory / bare litert-quantizer's", "peak_bytes", bare, 1.5),
        median("peak memory, beside the bare quantizer", "peak_bytes", "MiB", 1 / MIB, bare),
        median("peak memory, beside TFLiteConverter", "peak_bytes", "MiB", 1 / MIB, theirs),
        Row(
            f"{name}: bytes apart from TFLiteConverter's",
            100 * abs(size / other - 1),
            "percent",
            1,
            at_most(3.0),
        ),
        Row(f"{name}: bytes", size, "bytes", 1, None, other, versions),
        Row(
            f"{name}: top-1 apart from TFLiteConverter's",
            100 * abs(apart),
            "points",
            count,
            at_most(100 * noise),
        ),
        Row(
            f"{name}: top-1 of the float model", 100 * right[0].mean(), "percent", count, None, None, versions
        ),
        *(
            Row(
                f"{name}: top-1, calibration {turn}", 100 * one, "percent", count, None, 100 * other, versions
            )
            for turn, (one, other) in enumerate(
                zip(mine.mean(axis=1), reference.mean(axis=1), strict=True), start=1
            )
        ),
    ]


def difference_of(apart: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Mean of a difference, and half of its 95 % interval over the images.

    Args:
        apart: (calibration set, image): -1, 0 or 1.
    """
    means = apart.mean(axis=0)
    return float(means.mean()), 1.96 * float(means.std(ddof=1) / np.sqrt(len(means)))


def _sides(python: Sequence[str], trained: Path, folder: Path) -> tuple[Side, Side, Side]:
    calibration, model = str(folder / "calibration.npy"), str(trained / "float.tflite")
    made = [folder / f"{name}.tflite" for name in ("ours", "bare", "theirs")]
    own = sys.executable, "-m", f"tests.benchmarks.packager.{OURS}"
    ours = Side((*own, "packager", model, calibration, str(made[0])), made[0], [])
    ours.run()  # the first run warms the disk's cache, and writes the file that the bare quantizer takes
    ours.found.clear()
    normalized = str(made[0].with_suffix(".normalized"))
    bare = Side((*own, "bare", normalized, calibration, str(made[1])), made[1], [])
    theirs = Side((*python, str(MAKER), "quantize", str(trained), calibration, str(made[2])), made[2], [])
    return ours, bare, theirs


def _right(
    models: Sequence[bytes], images: npt.NDArray[np.float32], classes: npt.NDArray[np.int64]
) -> npt.NDArray[np.bool_]:
    """(model, image): whether the model's best class is the image's; an image is enlarged once for all models."""
    lanes = [[_best_class(content) for content in models] for _ in range(lane_count(len(images)))]

    def judge(lane: Sequence[Callable[[Any], int]], small: npt.NDArray[np.float32]) -> list[int]:
        large = _enlarge(small[np.newaxis])
        return [best(large) for best in lane]

    best = np.array(list(work_in_lanes(lanes, judge, images)))
    found: npt.NDArray[np.bool_] = np.equal(best.T, classes)
    return found


def _best_class(content: bytes) -> Callable[[npt.NDArray[np.float32]], int]:
    with native_output_hidden():
        model = Interpreter(model_content=content, num_threads=1)
        model.allocate_tensors()
    source, sink = model.get_input_details()[0], model.get_output_details()[0]
    scale, zero_point = source["quantization"]
    limits = np.iinfo(source["dtype"]) if scale else None

    def run(image: npt.NDArray[np.float32]) -> int:
        if limits is not None:
            image = np.clip(np.rint(image / scale) + zero_point, limits.min, limits.max).astype(limits.dtype)
        model.set_tensor(source["index"], image)
        model.invoke()
        return int(np.argmax(model.get_tensor(sink["index"])))

    return run


def _enlarge(images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(N, 28, 28, 1) to (N, 224, 224, 3)."""
    shape = SIZE, SIZE
    large = [
        np.asarray(Image.fromarray(image[..., 0]).resize(shape, Image.Resampling.BILINEAR))
        for image in images
    ]
    return np.repeat(np.stack(large)[..., np.newaxis], 3, axis=3)
