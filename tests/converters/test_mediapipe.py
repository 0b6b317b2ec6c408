"""Task libraries read our model files unchanged: MediaPipe, and the one that Android's is built from.

Every precision of every kind of model that they know; what they find is what we measured. They live in environments of
their own (470 and 260 MB); ``make test-converters`` runs this.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contract.decoding import settle
from contract.identifiers import Version
from contract.manifest import Manifest
from contract.profile import Precision
from contract.vision import prepare_image
from packager.metadata.card import Subject, describe_model
from packager.metadata.encode import encode_card
from packager.plan import MIN_TFLITE
from packager.runtime.interpreter import LoadedModel
from tests.support.library_models import Library, pack_all, pixels_of, values_of

pytestmark = [pytest.mark.converters, pytest.mark.timeout(1800)]

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent
LIBRARIES = ("mediapipe", "tflite-support")
KINDS = {
    "digits": "classifier",
    "centred": "classifier",
    "channels": "classifier",
    "detector": "detector",
    "segmenter": "segmenter",
    "embedder": "embedder",
    "sounds": "sounds",
}
"""Of what was packed, which task of the library it is for."""
SAMPLES = 12
FLOAT_BORDER = frozenset(set(Precision) - {Precision.STATIC_INT8, Precision.STATIC_INT16})
OLD_RUNTIME = Version("2.14.0")
"""No more is in tflite-support 0.4.4, of July 2023."""


@pytest.fixture(scope="session")
def pythons() -> dict[str, Path]:
    """The interpreters of the libraries' environments, which are made on first use."""
    base = os.environ.get("LITEFLEET_TEST_CACHE") or Path.home() / ".cache" / "litefleet-tests"
    found = {}
    for library in LIBRARIES:
        folder = Path(base).resolve() / library
        folder.parent.mkdir(parents=True, exist_ok=True)
        environment = dict(os.environ)
        if library == "tflite-support":  # its newest wheels are for Python 3.11
            python = sys.executable if sys.version_info[:2] == (3, 11) else shutil.which("python3.11")
            assert python, "tflite-support needs Python 3.11"
            environment["PYTHON"] = python
        make = [str(ROOT / "scripts" / "make-environment"), str(folder), str(HERE / f"{library}.txt")]
        if not (folder / "ready").is_file():
            subprocess.run(make, check=True, timeout=900, env=environment)
        found[library] = folder / "bin" / "python"
    return found


@pytest.fixture(scope="session")
def packed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Library]:
    return pack_all(tmp_path_factory.mktemp("libraries"))


def ask(python: Path, library: str, *arguments: str) -> list[dict[str, Any]]:
    script = HERE / f"read_with_{library.replace('-', '_')}.py"
    done = subprocess.run(
        [str(python), str(script), *arguments], capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def samples_in(library: Library) -> list[str]:
    paths = sorted([*library.samples.rglob("*.png"), *library.samples.rglob("*.wav")])
    paths = [path for path in paths if path.parent.name != "masks"]
    return [str(path) for path in paths[:: max(1, len(paths) // SAMPLES)][:SAMPLES]]


def outputs_of(library: Library, precision: Precision, path: str) -> list[np.ndarray[Any, Any]]:
    """What our own evaluation gets from a file, as the packager measured it."""
    manifest = library.manifest
    recipe = manifest.preprocessing
    model = LoadedModel(library.files[precision].read_bytes(), library.variants[precision].delegate, recipe)
    fed = (
        values_of(Path(path)).reshape(manifest.inputs[0].shape)
        if recipe is None
        else prepare_image(pixels_of(Path(path)), recipe)
    )
    return list(settle(manifest.decoding, [spec.name for spec in manifest.outputs], model.run([fed])))


def check_best(found: Any, outputs: Sequence[Any], manifest: Manifest) -> None:
    index, label, score = found
    scores = outputs[0][0]
    assert index == scores.argmax()
    assert label == manifest.labels[index]
    assert score == pytest.approx(scores.max(), abs=0.02)


def check_boxes(found: Any, outputs: Sequence[Any], manifest: Manifest) -> None:
    side = manifest.inputs[0].shape[1]
    boxes, classes, scores, count = (output[0] for output in outputs)
    rows = [number for number in range(int(count)) if scores[number] >= 0.3]
    # A score within rounding of the limit may be on either side of it.
    assert abs(len(rows) - len(found)) <= sum(abs(scores[: int(count)] - 0.3) < 0.02)
    for number, (label, score, left, top, width, height) in zip(rows, found, strict=False):
        assert label == manifest.labels[int(classes[number])]
        assert score == pytest.approx(scores[number], abs=0.02)
        wanted = (boxes[number] * side).tolist()
        assert [top, left, top + height, left + width] == pytest.approx(wanted, abs=2.0)


def check_mask(found: Any, outputs: Sequence[Any], _: Manifest) -> None:
    """MediaPipe's is of the picture's size: it enlarges scores, and pixels at a border may fall to either side."""
    wanted = outputs[0][0].argmax(axis=-1)
    side = int(np.sqrt(len(found)))
    shown = np.array(found).reshape(side, side)
    times = side // len(wanted)
    assert (shown == wanted.repeat(times, axis=0).repeat(times, axis=1)).mean() >= (
        0.97 if times > 1 else 1.0
    )


def check_vector(found: Any, outputs: Sequence[Any], _: Manifest) -> None:
    wanted = outputs[0][0]
    cosine = np.dot(found, wanted) / np.linalg.norm(found) / np.linalg.norm(wanted)
    assert cosine >= 0.999


CHECKS = {
    "classifier": check_best,
    "sounds": check_best,
    "detector": check_boxes,
    "segmenter": check_mask,
    "embedder": check_vector,
}


def refusal_of(library: str, name: str, precision: Precision) -> str:
    """What a library says of a file that it does not take, a limit of its own; empty where it must take it."""
    if library == "mediapipe" and name == "channels" and precision in FLOAT_BORDER:
        return "Per-channel image normalization is not available"
    if library == "tflite-support" and precision is Precision.WEIGHT_ONLY_INT4:
        return "requires"  # more bytes than 4 bits each: a type that it does not know
    return ""


def is_compared(library: str, precision: Precision) -> bool:
    """A runtime of 2023 loads variants that need a newer one, and answers wrongly: a bundle says so in ``requires``."""
    return library == "mediapipe" or Version(MIN_TFLITE[precision]) <= OLD_RUNTIME


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("library", LIBRARIES)
def test_a_library_finds_what_we_measured_in_every_precision(
    pythons: dict[str, Path], packed: dict[str, Library], library: str, name: str
) -> None:
    kind, made = KINDS[name], packed[name]
    paths = samples_in(made)
    assert len(paths) == SAMPLES
    rows = ask(
        pythons[library],
        library,
        kind,
        json.dumps([str(path) for path in made.files.values()]),
        json.dumps(paths),
    )
    compared = 0
    for precision, path in made.files.items():
        answers = [row for row in rows if row["model"] == str(path)]
        if reason := refusal_of(library, name, precision):
            assert [reason in row["refused"] for row in answers] == [True], (precision, answers)
            continue
        assert [row["path"] for row in answers] == paths, (precision, answers)
        if is_compared(library, precision):
            compared += 1
            for row in answers:
                CHECKS[kind](row["found"], outputs_of(made, precision, row["path"]), made.manifest)
    sys.stdout.write(f"\n{library}, {name}: {compared} of {len(made.files)} variants compared\n")
    assert compared >= 2
    assert {Precision.STATIC_INT8, Precision.STATIC_INT16} <= made.files.keys()


def test_mediapipes_own_schema_finds_what_we_wrote(
    pythons: dict[str, Path], packed: dict[str, Library], tmp_path: Path
) -> None:
    manifest = packed["digits"].manifest
    card = describe_model(
        Subject(
            name=manifest.model,
            version=manifest.version,
            task=manifest.task.value,
            inputs=manifest.inputs,
            outputs=manifest.outputs,
            preprocessing=manifest.preprocessing,
            labels=manifest.labels,
            is_logits=False,
            operators=(),
        )
    )
    path = tmp_path / "card"
    path.write_bytes(encode_card(card, card.inputs, card.outputs))
    (found,) = ask(pythons["mediapipe"], "mediapipe", "--card", str(path))
    assert found == {
        "name": "digits",
        "version": "1.0.0",
        "parser": "1.0.0",
        "color": 1,
        "size": [8, 8],
        "mean": [0.0] * 3,
        "std": [255.0] * 3,
        "low": [0.0] * 3,
        "high": [1.0] * 3,
        "file": "labels.txt",
        "file_type": 2,
    }
