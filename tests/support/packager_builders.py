"""Sound pieces of a pack run for tests; each test spoils one thing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from PIL import Image

from contract.profile import DelegateName, Precision, Profile
from firmware_profiles import load_profile
from packager.calibration import load_calibration
from packager.description import ModelDescription, SignatureDescription, TensorDescription
from packager.evaluate import Evaluation, Model, collect, conclude
from packager.gate import Measurement, Reference
from packager.images import ImageSet
from packager.plan import ProfilePlan, Rung
from packager.preprocess import Geometry, plan_preprocessing
from packager.tasks.classification import classified_images
from packager.tasks.labelled_images import LabelledImages, load_labelled_images, load_labels
from packager.tasks.prepared_images import PreparedImages
from packager.tasks.task import Task
from packager.tasks.top1 import Top1

DIGITS = Path(__file__).resolve().parents[2] / "examples" / "digits"
XNNPACK = DelegateName.XNNPACK


class Silent:
    """Progress that only remembers what was told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def start(self, label: str, total: int | None) -> None:
        """A step begins."""

    def advance(self, count: int) -> None:
        """Some more units are done."""

    def tell(self, line: str) -> None:
        """Keep a line."""
        self.lines.append(line)


def profile(profile_id: str = "generic-x86-64", **changes: Any) -> Profile:
    """A shipped profile with some fields changed."""
    return msgspec.structs.replace(load_profile(profile_id), **changes)


def description(**changes: Any) -> ModelDescription:
    """A model like the digits one."""
    signature = SignatureDescription(
        inputs=(TensorDescription(name="image", shape=(1, 8, 8, 1), dtype="float32"),),
        outputs=(TensorDescription(name="probabilities", shape=(1, 10), dtype="float32"),),
    )
    sound = ModelDescription(
        signatures={"serving_default": signature},
        operators=("CONV_2D", "SOFTMAX"),
        quantized_tensors=0,
        half_tensors=0,
    )
    return msgspec.structs.replace(sound, **changes)


def signature(
    image: dict[str, Any] | None = None, scores: dict[str, Any] | None = None
) -> dict[str, SignatureDescription]:
    """The signatures of ``description`` with one tensor changed."""
    found = description().signatures["serving_default"]
    return {
        "serving_default": SignatureDescription(
            inputs=(msgspec.structs.replace(found.inputs[0], **(image or {})),),
            outputs=(msgspec.structs.replace(found.outputs[0], **(scores or {})),),
        )
    }


def measurement(**changes: Any) -> Measurement:
    """A variant that passes every gate."""
    sound = {
        "size_bytes": 100_000,
        "value": 0.99,
        "samples": 500,
        "peak_memory_bytes": 262_144,
        "latency_ms_p50": 0.02,
    }
    return Measurement(**(sound | changes))


def reference(**changes: Any) -> Reference:
    """A float model that is right in 99 of 100 cases."""
    sound: dict[str, Any] = {"metric": "accuracy", "float_value": 0.99, "float_bytes": 400_000}
    return Reference(**(sound | changes))


def plan(precisions: Sequence[Precision], **changes: Any) -> ProfilePlan:
    """A profile whose ladder is these precisions on XNNPACK."""
    return ProfilePlan(profile(**changes), tuple(Rung(precision, XNNPACK) for precision in precisions))


def evaluation(margin: Sequence[float], spread: float = 1.0) -> Evaluation:
    """An evaluation with these leads of the best score; all answers are class 0."""
    return Evaluation(
        value=1.0,
        classes=(1.0,),
        scores=np.zeros(len(margin)),
        margin=np.array(margin, dtype=np.float32),
        spread=(spread,),
        useless=0,
    )


def evaluate(
    model: Model, task: Task, advance: Callable[[int], None], helpers: Sequence[Model] = ()
) -> Evaluation:
    """Run a model over all samples and compute the metrics."""
    return conclude(task, collect(model, task, advance, helpers))


def classified(
    values: Sequence[int], classes: Sequence[int], labels: tuple[str, ...] = (), count: int = 3
) -> Top1:
    """A task of single grey pixels that are fed as they are."""
    pixels = np.array(values, dtype=np.uint8).reshape(-1, 1, 1, 1)
    images = ImageSet(pixels, ("",) * len(values), "0" * 64)
    samples = LabelledImages(images, np.array(classes, dtype=np.int64), labels)
    return classified_images(samples, plan_preprocessing(Geometry(1, 1, 1), (0.0,), (1.0,)), count)


def digits_task() -> Top1:
    """The digits example's 500 evaluation images."""
    labels = load_labels(DIGITS / "labels.txt", 10)
    samples = load_labelled_images(DIGITS / "evaluation", (8, 8, 1), 10, labels)
    return classified_images(samples, plan_preprocessing(Geometry(8, 8, 1), (0.0,), (255.0,)), 10)


def digits_calibration() -> PreparedImages:
    """The digits example's 200 calibration images."""
    images = load_calibration(DIGITS / "calibration", (8, 8, 1))
    return PreparedImages(images, plan_preprocessing(Geometry(8, 8, 1), (0.0,), (255.0,)))


def write_image(path: Path, size: tuple[int, int] = (8, 8), mode: str = "L", value: int = 7) -> Path:
    """A plain image, (width, height), in Pillow's mode; makes its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    colour: Any = value if len(Image.new(mode, (1, 1)).getbands()) == 1 else (value,) * len(mode)
    Image.new(mode, size, colour).save(path)
    return path
