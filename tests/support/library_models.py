"""Models of every kind that task libraries read, packed into every precision."""

from __future__ import annotations

import dataclasses
import wave
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from contract.bundle import BundleReader
from contract.manifest import Manifest, Resize, Variant
from contract.profile import Precision
from packager.app import PackRequest, pack
from packager.preprocess import Fitting
from packager.rules import Allowance, Rules
from tests.support import task_data
from tests.support.packager_builders import Silent, profile
from tests.support.packager_rgb import rgb_digits, write_rgb_images
from tests.support.vision_folders import pictures_of, write_coco, write_images, write_labels, write_masks
from tests.support.vision_models import SEGMENTER, detector_with_postprocessing
from tests.support.vision_shapes import LABELS as SHAPES

DIGITS = tuple(
    f"digit {number}: {name}"
    for number, name in enumerate(["zéro", "un", "deux", "trois", "四", "五", "six", "sept", "huit", "neuf"])
)
SIDE = 48
"""Of the pictures, as of the models: no library resizes them."""
_RULES = Rules(max_drop=Allowance(0.1), min_samples=30, recovery_trials=0)


@dataclass(frozen=True)
class Library:
    """What was packed.

    Attributes:
        manifest: Of the release.
        variants: By precision.
        files: Model file of each precision.
        samples: Where the evaluation samples are.
    """

    manifest: Manifest
    variants: Mapping[Precision, Variant]
    files: Mapping[Precision, Path]
    samples: Path


def write_samples(folder: Path) -> None:
    """Models and samples of all kinds."""
    (folder / "digits.tflite").write_bytes(rgb_digits())
    (folder / "digits.txt").write_text("\n".join(DIGITS), encoding="utf-8")
    for kind in ("calibration", "evaluation"):
        target = write_rgb_images(folder / "digits" / kind, kind, 15)
        for number, label in enumerate(DIGITS):
            (target / str(number)).rename(target / label)
    (folder / "detector.tflite").write_bytes(detector_with_postprocessing())
    (folder / "segmenter.tflite").write_bytes(SEGMENTER.read_bytes())
    pictures = pictures_of(40, 20_000, height=SIDE, width=SIDE)
    write_coco(folder / "boxes", pictures)
    write_masks(folder / "masks", pictures)
    write_images(folder / "pictures", pictures_of(40, 30_000, height=SIDE, width=SIDE))
    write_labels(folder / "shapes.txt")
    write_labels(folder / "segments.txt", ("nothing", *SHAPES))
    task_data.main(folder)


def requests_in(folder: Path) -> Iterator[PackRequest]:
    """What is asked for: image classifiers with three kinds of normalising, and the other kinds."""
    pictures: dict[str, Any] = {
        "calibration": folder / "pictures",
        "fitting": Fitting(resize=Resize.STRETCH),
    }
    digits = PackRequest(
        model=folder / "digits.tflite",
        name="digits",
        version="1.0.0",
        profiles=(profile(ladder=tuple(Precision)),),
        evaluation=folder / "digits" / "evaluation",
        calibration=folder / "digits" / "calibration",
        labels=folder / "digits.txt",
        baseline=None,
        rules=_RULES,
        mean=(0.0,),
        std=(255.0,),
        output=folder / "dist",
        is_reported=False,
    )
    yield digits
    yield dataclasses.replace(digits, name="centred", mean=(127.5,), std=(127.5,))
    per_channel: dict[str, Any] = {"mean": (123.675, 116.28, 103.53), "std": (58.395, 57.12, 57.375)}
    yield dataclasses.replace(digits, name="channels", **per_channel)
    yield dataclasses.replace(
        digits,
        **pictures,
        name="detector",
        model=folder / "detector.tflite",
        task="detection",
        task_options={"min_score": 0.05},
        evaluation=folder / "boxes",
        labels=folder / "shapes.txt",
    )
    yield dataclasses.replace(
        digits,
        **pictures,
        name="segmenter",
        model=folder / "segmenter.tflite",
        task="segmentation",
        evaluation=folder / "masks",
        labels=folder / "segments.txt",
    )
    yield dataclasses.replace(digits, name="embedder", task="embedding", labels=None)
    yield dataclasses.replace(
        digits,
        name="sounds",
        model=task_data.MODELS / "sounds.tflite",
        task="audio-classification",
        task_options={"sample_rate": task_data.RATE_HZ},
        evaluation=folder / "sounds-evaluation",
        calibration=folder / "sounds-calibration",
        labels=folder / "sounds.txt",
    )


def pack_all(folder: Path) -> dict[str, Library]:
    """Pack every kind into every precision; by name."""
    write_samples(folder)
    found = {}
    for request in requests_in(folder):
        result = pack(request, Silent())
        assert not result.faults, (request.name, result.faults)
        with BundleReader(result.bundles[0]) as reader:
            variants = {variant.precision: variant for variant in reader.manifest.variants}
            files = {precision: folder / f"{request.name}-{precision.value}.tflite" for precision in variants}
            for precision, path in files.items():
                path.write_bytes(reader.read_artifact(variants[precision].artifact.sha256))
            found[request.name] = Library(reader.manifest, variants, files, request.evaluation)
        assert set(variants) == set(Precision), request.name
    return found


def pixels_of(path: Path) -> Any:
    """(H, W, 3) uint8 of an image file."""
    from PIL import Image

    return np.asarray(Image.open(path).convert("RGB"))


def values_of(path: Path) -> Any:
    """(N,) float32 from -1 to 1 of a WAV file with 16 bits."""
    with wave.open(str(path)) as file:
        return np.frombuffer(file.readframes(file.getnframes()), np.int16) / np.float32(1 << 15)
