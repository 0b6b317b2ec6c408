"""The real converters, end to end: a network in each framework becomes bundles that pass the accuracy gate.

Needs a package index or folder of wheels and some gigabytes; ``make test-converters`` runs it. The environments stay
in the user's cache (or in ``$LITEFLEET_TEST_CACHE``), so only the first run is long.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from contract.bundle import BundleReader
from contract.tensor import Layout
from tests.support.packager_builders import DIGITS

pytestmark = [pytest.mark.converters, pytest.mark.timeout(3600)]

COMMAND = [sys.executable, "-m", "packager.cli"]
PROFILES = ("generic-x86-64", "raspberry-pi-4")
TIMEOUT_S = 1200.0
SOURCES = [
    ("keras", "digits.keras", "channels last"),
    ("keras", "digits.h5", "channels last"),
    ("keras", "digits", "channels last"),
    ("onnx", "digits.onnx", "channels first"),
    ("torch", "digits.pt2", "channels first"),
]


def run_pack(model: Path, output: Path) -> subprocess.CompletedProcess[str]:
    chosen = [part for profile in PROFILES for part in ("--profile", profile)]
    images = ["--calibration", str(DIGITS / "calibration"), "--evaluation", str(DIGITS / "evaluation")]
    options = ["--name", "digits", "--version", "1.0.0", "--labels", str(DIGITS / "labels.txt"), "--json"]
    command = [*COMMAND, "pack", str(model), *chosen, *images, *options, "--output", str(output)]
    return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)


@pytest.mark.parametrize(("kind", "name", "order"), SOURCES, ids=[name for _, name, _ in SOURCES])
def test_a_network_of_another_framework_becomes_bundles_that_pass_the_gate(
    sources: Path, tmp_path: Path, kind: str, name: str, order: str
) -> None:
    started = time.monotonic()
    done = run_pack(sources / name, tmp_path)
    first_s = time.monotonic() - started
    assert done.returncode == 0, done.stderr
    assert f"{name} was converted with" in done.stderr
    assert ("channels first, now (1, 8, 8, 1) channels last" in done.stderr) == (order == "channels first")
    report = json.loads(done.stdout)
    assert report["float"]["value"] == pytest.approx(0.998)
    for profile in PROFILES:
        with BundleReader(tmp_path / f"digits-1.0.0-{profile}.bundle") as reader:
            manifest = reader.manifest
        (image,), (scores,) = manifest.inputs, manifest.outputs
        assert (image.name, image.shape, image.layout) == ("image", (1, 8, 8, 1), Layout.NHWC)
        assert scores.shape == (1, 10)
        assert scores.name == ("output_0" if name == "digits" else "probabilities")
        assert manifest.provenance is not None
        assert manifest.provenance.source_name == name
        assert (
            set(manifest.provenance.tools)
            >= {
                "keras": {"tensorflow", "keras"},
                "onnx": {"onnx2tf", "onnxruntime"},
                "torch": {"litert-torch", "torch"},
            }[kind]
        )
    started = time.monotonic()
    again = run_pack(sources / name, tmp_path / "again")
    again_s = time.monotonic() - started
    assert again.returncode == 0, again.stderr
    for path in tmp_path.glob("*.bundle"):
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes()
    shipped = {row["variant"]: row["size_bytes"] for row in report["rows"] if row["profile"] == PROFILES[0]}
    sys.stdout.write(f"\n{name}: {first_s:.1f} s, again {again_s:.1f} s, {shipped}\n{report['conversion']}\n")


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("lambda.keras", "may execute code, and is not loaded: Lambda"),
        ("lambda.h5", "it may execute code: Lambda"),
        ("writing", "it may execute code or touch files: its graph has WriteFile"),
        ("unknown.onnx", "Fatal error: elsewhere:Frobnicate(-1) is not a registered function/op"),
    ],
)
def test_a_source_with_code_or_unknown_operators_is_refused_in_one_line(
    sources: Path, tmp_path: Path, name: str, wanted: str
) -> None:
    done = run_pack(sources / name, tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert wanted in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not Path("/tmp/litefleet-was-here").exists()  # noqa: S108 - the model would write it


@pytest.mark.parametrize("name", [name for _, name, _ in SOURCES])
def test_a_source_that_was_cut_off_is_refused_in_one_line(sources: Path, tmp_path: Path, name: str) -> None:
    damaged = tmp_path / name
    if (sources / name).is_dir():
        shutil.copytree(sources / name, damaged)
        cut = damaged / "saved_model.pb"
    else:
        shutil.copy(sources / name, damaged)
        cut = damaged
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    done = run_pack(damaged, tmp_path / "dist")
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1
    assert "Traceback" not in done.stderr


def test_a_pickle_in_a_program_is_not_executed(sources: Path, tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    hostile = (
        b"\x80\x02cos\nsystem\nX"
        + len(f"touch {mark}").to_bytes(4, "little")
        + f"touch {mark}".encode()
        + b"\x85R."
    )
    path = tmp_path / "pickled.pt2"
    with zipfile.ZipFile(sources / "digits.pt2") as sound, zipfile.ZipFile(path, "w") as spoiled:
        for member in sound.infolist():
            is_pickle = member.filename.endswith("sample_inputs/model.pt")
            spoiled.writestr(member.filename, hostile if is_pickle else sound.read(member))
    done = run_pack(path, tmp_path / "dist")
    assert done.returncode == 1, done.stdout
    assert not mark.exists()
