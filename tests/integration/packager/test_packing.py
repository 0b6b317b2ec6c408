"""The packager's command line as a user runs it: real processes, real quantizer, real images."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

from contract.bundle import BundleReader
from contract.manifest import Manifest
from contract.profile import DelegateName, Precision
from packager.cli import main
from packager.reporting.document import Report
from packager.runtime.interpreter import LoadedModel
from tests.support.packager_builders import DIGITS
from tests.support.packager_models import crashing, with_names_that_are_not_unique

COMMAND = [sys.executable, "-m", "packager.cli"]
PROFILES = ("generic-x86-64", "generic-x86-64-small")
TIMEOUT_S = 100.0
REPORTS = ("digits-1.0.0.report.html", "digits-1.0.0.report.json")


def arguments(version: str = "1.0.0", profiles: tuple[str, ...] = PROFILES) -> list[str]:
    chosen = [part for profile in profiles for part in ("--profile", profile)]
    images = ["--calibration", str(DIGITS / "calibration"), "--evaluation", str(DIGITS / "evaluation")]
    labels = ["--labels", str(DIGITS / "labels.txt")]
    return ["--name", "digits", "--version", version, *chosen, *images, *labels]


def run_pack(
    folder: Path, model: Path, *changes: str, version: str = "1.0.0"
) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, "pack", str(model), *arguments(version), "--output", str(folder / "dist"), *changes]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache of these tests' own."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield folder


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    folder = tmp_path_factory.mktemp("packed")
    return folder / "dist", run_pack(folder, DIGITS / "digits-1.0.0.tflite")


def manifest_of(path: Path) -> Manifest:
    with BundleReader(path) as reader:
        return reader.manifest


def bundle_of(folder: Path, profile: str, version: str = "1.0.0") -> Path:
    return folder / f"digits-{version}-{profile}.bundle"


def test_one_bundle_a_profile_is_written_and_the_terminal_is_clean(
    packed: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, done = packed
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [*(bundle_of(folder, profile).name for profile in PROFILES), *REPORTS]
    )
    assert "generic-x86-64-small" in done.stdout
    assert done.stdout.count("shipped") == 5
    assert str(bundle_of(folder, "generic-x86-64")) in done.stdout


def test_each_bundle_holds_its_profiles_ladder_in_order(
    packed: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, _ = packed
    ladders = {
        profile: [variant.precision for variant in manifest_of(bundle_of(folder, profile)).variants]
        for profile in PROFILES
    }
    assert ladders == {
        "generic-x86-64": [Precision.STATIC_INT8, Precision.DYNAMIC_INT8, Precision.FLOAT32],
        "generic-x86-64-small": [Precision.DYNAMIC_INT8, Precision.WEIGHT_ONLY_INT8],
    }


def test_int8_is_at_most_three_tenths_of_the_float_bytes_and_within_a_point(
    packed: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, _ = packed
    static, _, floating = manifest_of(bundle_of(folder, "generic-x86-64")).variants
    assert static.artifact.size_bytes <= 0.30 * floating.artifact.size_bytes
    assert static.metrics.drop <= 0.01
    assert static.metrics.samples == 500


def test_the_golden_outputs_are_what_a_fresh_interpreter_gives(
    packed: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, _ = packed
    with BundleReader(bundle_of(folder, "generic-x86-64")) as reader:
        golden = reader.manifest.golden
        assert golden is not None
        content = reader.read_artifact(golden.artifact.sha256)
        models = {
            variant.name: reader.read_artifact(variant.artifact.sha256)
            for variant in reader.manifest.variants
        }
    assert set(golden.tolerance) == set(models)
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        inputs = arrays["input.image"]
        assert (inputs.shape, inputs.dtype) == ((golden.samples, 8, 8, 1), np.float32)
        assert golden.samples == 16
        for name, model in models.items():
            expected = arrays[f"expected.{name}.probabilities"]
            (found,) = LoadedModel(model, DelegateName.NONE).run([inputs])
            assert np.abs(found - expected).max() <= golden.tolerance[name].max_abs_error
            assert np.array_equal(found.argmax(axis=1), expected.argmax(axis=1))


def test_packing_again_in_another_folder_gives_the_same_bytes(
    packed: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    shutil.copytree(DIGITS / "evaluation", tmp_path / "images")
    changes = ("--evaluation", str(tmp_path / "images"), "--no-cache")
    assert run_pack(tmp_path, DIGITS / "digits-1.0.0.tflite", *changes).returncode == 0
    for profile in PROFILES:
        again = bundle_of(tmp_path / "dist", profile).read_bytes()
        assert again == bundle_of(packed[0], profile).read_bytes()
    for name in REPORTS:
        assert (tmp_path / "dist" / name).read_bytes() == (packed[0] / name).read_bytes()


def test_a_spoiled_version_is_refused_against_the_baseline_and_only_its_report_is_written(
    packed: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    baseline = ("--baseline", str(bundle_of(packed[0], "generic-x86-64")))
    done = run_pack(tmp_path, DIGITS / "digits-1.2.0.tflite", *baseline, "--json", version="1.2.0")
    assert done.returncode == 1
    assert sorted(path.name for path in (tmp_path / "dist").iterdir()) == [
        "digits-1.2.0.report.html",
        "digits-1.2.0.report.json",
    ]
    assert b"Why it is refused" in (tmp_path / "dist" / "digits-1.2.0.report.html").read_bytes()
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: digits 1.2.0 is refused and no bundle was written")
    assert line.endswith(f"{tmp_path}/dist/digits-1.2.0.report.html says more")
    assert "best accuracy is 0.56" in line
    assert "0.9880 (0.9980 of digits 1.0.0 less 0.01)" in line
    report = json.loads(done.stdout)
    assert report["bundles"] == []
    assert {row["verdict"] for row in report["rows"]} == {"refused"}


def test_the_report_says_what_was_found_and_holds_no_path(
    packed: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, done = packed
    report = msgspec.json.decode((folder / REPORTS[1]).read_bytes(), type=Report)
    assert report.outcome == "shipped"
    assert {one.name for one in report.variants} == {
        "static-int8",
        "dynamic-int8",
        "weight-only-int8",
        "float32",
    }
    for board in report.profiles:
        path = bundle_of(folder, board.profile)
        assert board.bundle is not None
        assert board.bundle.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
        shipped = [rung.variant for rung in board.rungs if rung.outcome == "shipped"]
        assert shipped == [variant.name for variant in manifest_of(path).variants]
    static = report.variant("static-int8", "xnnpack")
    assert static is not None
    assert static.ranking is not None
    assert (static.ranking.samples, len(static.ranking.operators)) == (4, 9)
    assert static.coverage is not None
    page = (folder / REPORTS[0]).read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>")
    for text in (page, (folder / REPORTS[1]).read_text(encoding="utf-8")):
        assert str(folder) not in text
        assert str(DIGITS.parent) not in text
    assert f"wrote {folder / REPORTS[0]}" in done.stdout


def test_a_refused_version_without_a_report_leaves_nothing(
    packed: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    baseline = ("--baseline", str(bundle_of(packed[0], "generic-x86-64")), "--no-report")
    done = run_pack(tmp_path, DIGITS / "digits-1.2.0.tflite", *baseline, version="1.2.0")
    assert done.returncode == 1
    assert list(tmp_path.iterdir()) == []


def test_a_healthy_next_version_passes_against_the_baseline(
    packed: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    baseline = ("--baseline", str(bundle_of(packed[0], "generic-x86-64")))
    done = run_pack(tmp_path, DIGITS / "digits-1.1.0.tflite", *baseline, "--json", version="1.1.0")
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads(done.stdout)
    assert report["gate"]["baseline"] == "digits 1.0.0"
    assert [Path(path).name for path in report["bundles"]] == [
        bundle_of(tmp_path, profile, "1.1.0").name for profile in PROFILES
    ]
    assert all(row["host_latency_ms_p50"] > 0 for row in report["rows"])


def test_a_baseline_of_other_images_is_refused(
    packed: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    baseline = ("--baseline", str(bundle_of(packed[0], "generic-x86-64")))
    other = ("--evaluation", str(DIGITS / "calibration"))
    done = run_pack(tmp_path, DIGITS / "digits-1.1.0.tflite", *baseline, *other, version="1.1.0")
    assert done.returncode == 1
    assert "other evaluation samples" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (crashing(), "the TFLite loader crashed on it"),
        (b"no model", "is no TFLite model"),
    ],
)
def test_a_bad_model_is_refused_in_one_line_and_nothing_is_written(
    tmp_path: Path, content: bytes, wanted: str
) -> None:
    (tmp_path / "model.tflite").write_bytes(content)
    done = run_pack(tmp_path, tmp_path / "model.tflite")
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1
    assert wanted in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["model.tflite"]


def test_what_the_quantizer_cannot_make_is_shown_as_not_available_and_the_rest_ships(tmp_path: Path) -> None:
    (tmp_path / "model.tflite").write_bytes(with_names_that_are_not_unique())
    request = ["--name", "digits", "--version", "1.0.0", "--profile", "generic-x86-64", "--json"]
    images = ["--calibration", str(DIGITS / "calibration"), "--evaluation", str(DIGITS / "evaluation")]
    result = CliRunner().invoke(
        main, ["pack", str(tmp_path / "model.tflite"), *request, *images, "--output", str(tmp_path / "dist")]
    )
    assert result.exit_code == 0
    rows = json.loads(result.stdout)["rows"]
    assert [row["verdict"] for row in rows] == ["not available", "not available", "shipped"]
    assert "is not unique" in rows[0]["reason"]
    manifest = manifest_of(bundle_of(tmp_path / "dist", "generic-x86-64"))
    assert [variant.name for variant in manifest.variants] == ["float32"]
    assert manifest.labels == ()


def test_a_ladder_without_static_rungs_needs_no_calibration_images(tmp_path: Path) -> None:
    request = ["--name", "digits", "--version", "1.0.0", "--profile", "generic-x86-64-small"]
    images = ["--evaluation", str(DIGITS / "evaluation"), "--output", str(tmp_path), "--no-report"]
    result = CliRunner().invoke(main, ["pack", str(DIGITS / "digits-1.0.0.tflite"), *request, *images])
    assert result.exit_code == 0
    assert [path.suffix for path in tmp_path.iterdir()] == [".bundle"]
    assert result.stdout.count("shipped") == 2


def test_too_many_channels_of_mean_are_refused_as_wrong_usage(tmp_path: Path) -> None:
    done = run_pack(tmp_path, DIGITS / "digits-1.0.0.tflite", "--mean", "1,2")
    assert done.returncode == 2
    assert "--mean has 2 values, the model takes 1" in done.stderr


def test_interrupted_by_the_user_it_leaves_nothing(tmp_path: Path) -> None:
    pipe = tmp_path / "model.tflite"
    os.mkfifo(pipe)
    command = [*COMMAND, "pack", str(pipe), *arguments(), "--output", str(tmp_path / "dist")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        writer = open_when_somebody_reads(pipe)
        process.send_signal(signal.SIGINT)
        os.close(writer)  # Python sees a signal that comes just before it waits in read only when that ends
        _, error = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 1
    assert error.strip() == "Aborted!"
    assert [path.name for path in tmp_path.iterdir()] == ["model.tflite"]


def open_when_somebody_reads(pipe: Path) -> int:
    """Open a pipe for writing as soon as it is read: then the command is in the middle of its work."""
    deadline = time.monotonic() + TIMEOUT_S
    while (writer := try_to_open(pipe)) is None:
        assert time.monotonic() < deadline, "nobody reads the pipe"
        time.sleep(0.01)
    return writer


def try_to_open(pipe: Path) -> int | None:
    try:
        return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
    except OSError as error:
        if error.errno != errno.ENXIO:  # nobody reads yet (fifo(7))
            raise
        return None
