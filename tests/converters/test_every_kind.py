"""Models of every kind, packed for every profile as a user does it; writes a table of what came of it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from firmware_profiles import profile_ids
from tests.support import task_data, vision_folders
from tests.support.packager_builders import DIGITS
from tests.support.packager_unusual import half_without_signature

pytestmark = [pytest.mark.converters, pytest.mark.timeout(3600)]

TABLE = Path("build") / "bench" / "every-kind.md"
DATA = Path(__file__).parents[1] / "data"
TIMEOUT_S = 1200.0


@dataclass(frozen=True)
class Case:
    """A model with its samples.

    Attributes:
        kind: What it is, for people.
        model: Where it is.
        options: Of ``pack``: samples, task, labels.
    """

    kind: str
    model: Path
    options: Sequence[str | Path]


@pytest.fixture(scope="module")
def cases(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Case]:
    folder = tmp_path_factory.mktemp("samples")
    half = folder / "half.tflite"
    half.write_bytes(half_without_signature())
    task_data.main(folder)
    vision_folders.write_example(folder / "shapes")
    return [*_classifiers(sources, half), *_of_pictures(folder / "shapes"), *_of_numbers(folder)]


def _classifiers(sources: Path, half: Path) -> list[Case]:
    options: list[str | Path] = [
        *("--evaluation", DIGITS / "evaluation", "--calibration", DIGITS / "calibration"),
        *("--labels", DIGITS / "labels.txt"),
    ]
    return [
        Case("image classifier, .tflite", DIGITS / "digits-1.0.0.tflite", options),
        Case("the same, float16 weights, no signature", half, options),
        Case("the same, Keras", sources / "digits.keras", options),
        Case("the same, SavedModel", sources / "digits", options),
        Case("the same, ONNX", sources / "digits.onnx", options),
        Case("the same, PyTorch", sources / "digits.pt2", options),
        Case(
            "embedding",
            DATA / "tasks" / "digits-embedding.tflite",
            ["--task", "embedding", *options[:4]],
        ),
    ]


def _of_pictures(folder: Path) -> list[Case]:
    shared: list[str | Path] = ["--calibration", folder / "calibration", "--resize", "letterbox"]
    shared += ["--max-drop", "0.05"]
    detector: list[str | Path] = ["--task", "detection", "--evaluation", folder / "evaluation"]
    detector += ["--labels", folder / "labels.txt"]
    for option in (
        "boxes=boxes",
        "scores=scores",
        f"anchors={folder / 'anchors.csv'}",
        "sigmoid=false",
        "min_score=0.05",
    ):
        detector += ["--task-option", option]
    segmenter: list[str | Path] = ["--task", "segmentation", "--evaluation", folder / "masks"]
    segmenter += ["--labels", folder / "segments.txt"]
    return [
        Case("detector, SSD outputs", DATA / "vision" / "detector.tflite", [*shared, *detector]),
        Case("segmenter", DATA / "vision" / "segmenter.tflite", [*shared, *segmenter]),
    ]


def _of_numbers(folder: Path) -> list[Case]:
    tasks = DATA / "tasks"
    features = "features=" + ",".join(task_data.FEATURES)
    return [
        Case(
            "sounds",
            tasks / "sounds.tflite",
            [
                *("--task", "audio-classification", "--task-option", "sample_rate=4000"),
                *("--labels", folder / "sounds.txt", "--evaluation", folder / "sounds-evaluation"),
                *("--calibration", folder / "sounds-calibration"),
            ],
        ),
        Case(
            "table to a class",
            tasks / "machine.tflite",
            [
                *(
                    "--task",
                    "tabular-classification",
                    "--task-option",
                    features,
                    "--task-option",
                    "target=state",
                ),
                *("--labels", folder / "states.txt", "--evaluation", folder / "machine-evaluation.csv"),
                *("--calibration", folder / "machine-calibration.csv"),
            ],
        ),
        Case(
            "two inputs to a number",
            tasks / "pump.tflite",
            [
                *("--task", "regression", "--task-option", "target=power"),
                *(
                    "--evaluation",
                    folder / "pump-evaluation.csv",
                    "--calibration",
                    folder / "pump-calibration.csv",
                ),
            ],
        ),
    ]


def test_every_kind_of_model_gets_a_bundle_for_every_profile(cases: Sequence[Case], tmp_path: Path) -> None:
    profiles = [word for name in profile_ids() for word in ("--profile", name)]
    lines = [
        "| Model | Float bytes | Metric | Float | Variants (bytes, metric) | Bundles | Seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    for number, case in enumerate(cases):
        output = tmp_path / str(number)
        started = time.monotonic()
        done = subprocess.run(
            [
                *(
                    sys.executable,
                    "-m",
                    "packager.cli",
                    "pack",
                    case.model,
                    *profiles,
                    *case.options,
                    "--json",
                ),
                *("--name", "model", "--version", "1.0.0", "--output", output, "--no-cache"),
            ],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        assert done.returncode == 0, (case.kind, done.stderr)
        lines.append(_row(case, json.loads(done.stdout), time.monotonic() - started))
        assert len(list(output.glob("*.bundle"))) == len(profile_ids())
    TABLE.parent.mkdir(parents=True, exist_ok=True)
    TABLE.write_text("\n".join(lines) + "\n", encoding="utf-8")
    sys.stdout.write("\n" + TABLE.read_text(encoding="utf-8"))


def _row(case: Case, found: dict[str, Any], seconds: float) -> str:
    shipped = {
        row["variant"]: f"{row['variant']} ({row['size_bytes']:,}, {row['value']:.4f})"
        for row in found["rows"]
        if row["verdict"] == "shipped"
    }
    floating = found["float"]
    cells = [case.kind, f"{floating['size_bytes']:,}", found["metric"], f"{floating['value']:.4f}"]
    cells += [
        ", ".join(shipped[name] for name in sorted(shipped)),
        str(len(found["bundles"])),
        f"{seconds:.0f}",
    ]
    return f"| {' | '.join(cells)} |"
