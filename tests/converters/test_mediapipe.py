"""MediaPipe reads our model files unchanged: its own image classifier gives our labels and our answers.

Its wheel and what it needs take 470 MB, so it lives in an environment of its own; ``make test-converters`` runs this.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from contract.bundle import BundleReader
from contract.manifest import Manifest
from contract.profile import Precision
from packager.metadata.card import Subject, describe_model
from packager.metadata.encode import encode_card
from packager.preprocess import to_inputs
from packager.runtime.interpreter import LoadedModel
from tests.support.packager_rgb import rgb_digits, write_rgb_images

pytestmark = [pytest.mark.converters, pytest.mark.timeout(1200)]

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent
LABELS = [
    f"digit {number}: {name}"
    for number, name in enumerate(["zéro", "un", "deux", "trois", "四", "五", "six", "sept", "huit", "neuf"])
]
PROFILES = ("generic-x86-64", "generic-x86-64-small")
READ_BY_MEDIAPIPE = (Precision.DYNAMIC_INT8, Precision.WEIGHT_ONLY_INT8, Precision.FLOAT32)


@pytest.fixture(scope="session")
def python() -> Path:
    """The interpreter of MediaPipe's environment, which is made on first use."""
    base = os.environ.get("LITEFLEET_TEST_CACHE") or Path.home() / ".cache" / "litefleet-tests"
    folder = Path(base).resolve() / "mediapipe"
    folder.parent.mkdir(parents=True, exist_ok=True)
    make = [str(ROOT / "scripts" / "make-environment"), str(folder), str(HERE / "mediapipe.txt")]
    if not (folder / "ready").is_file():
        subprocess.run(make, check=True, timeout=900)
    return folder / "bin" / "python"


@pytest.fixture(scope="session")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits model for colour images, packed with 300 images."""
    folder = tmp_path_factory.mktemp("rgb")
    (folder / "model.tflite").write_bytes(rgb_digits())
    (folder / "labels.txt").write_text("\n".join(LABELS), encoding="utf-8")
    for kind in ("calibration", "evaluation"):
        target = write_rgb_images(folder / kind, kind, 30)
        for number, label in enumerate(LABELS):
            (target / str(number)).rename(target / label)
    options = [part for profile in PROFILES for part in ("--profile", profile)]
    command = [
        sys.executable,
        "-m",
        "packager.cli",
        "pack",
        "model.tflite",
        "--name",
        "rgb",
        "--version",
        "1.0.0",
    ]
    given = [
        "--calibration",
        "calibration",
        "--evaluation",
        "evaluation",
        "--labels",
        "labels.txt",
        "--no-cache",
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([*command, *options, *given], cwd=folder, env=environment, check=True, timeout=300)
    return folder


def variants(packed: Path) -> tuple[Manifest, dict[Precision, Path]]:
    """A manifest, and every variant's file of all bundles."""
    files: dict[Precision, Path] = {}
    for profile in PROFILES:
        with BundleReader(packed / "dist" / f"rgb-1.0.0-{profile}.bundle") as reader:
            manifest = reader.manifest
            for variant in manifest.variants:
                files[variant.precision] = packed / f"{variant.name}.tflite"
                files[variant.precision].write_bytes(reader.read_artifact(variant.artifact.sha256))
    return manifest, files


def ask(python: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(python), str(HERE / "read_with_mediapipe.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.parametrize("precision", READ_BY_MEDIAPIPE)
def test_mediapipe_answers_as_we_measured(python: Path, packed: Path, precision: Precision) -> None:
    manifest, files = variants(packed)
    assert manifest.preprocessing is not None
    done = ask(python, str(files[precision]), str(packed / "evaluation"))
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rows) == 300
    pixels = np.stack([np.asarray(Image.open(row["path"])) for row in rows])
    variant = LoadedModel(files[precision].read_bytes(), manifest.variants[0].delegate)
    (scores,) = variant.run([to_inputs(pixels, manifest.preprocessing)])
    assert [row["index"] for row in rows] == scores.argmax(axis=1).tolist()
    assert [row["label"] for row in rows] == [LABELS[index] for index in scores.argmax(axis=1)]
    assert np.abs(np.array([row["score"] for row in rows]) - scores.max(axis=1)).max() < 0.02
    right = np.mean([row["label"] == Path(row["path"]).parent.name for row in rows])
    assert right >= 0.99
    sys.stdout.write(f"\n{precision.value}: MediaPipe is right for {right:.4f} of {len(rows)}\n")


def test_mediapipe_takes_no_int8_input_from_anyone(python: Path, packed: Path) -> None:
    """Its image tasks read uint8 and float32 only: a limit of theirs that our documentation tells."""
    _, files = variants(packed)
    done = ask(python, str(files[Precision.STATIC_INT8]), str(packed / "evaluation"))
    assert done.returncode == 3
    assert "Requested one of these types: uint8/float32, got INT8" in done.stderr


def test_mediapipes_own_schema_finds_what_we_wrote(python: Path, packed: Path, tmp_path: Path) -> None:
    manifest, _ = variants(packed)
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
    done = ask(python, "--card", str(path))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "name": "rgb",
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
