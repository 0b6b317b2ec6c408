"""The Edge TPU compiler as a process: compiled, crashed, refused, hung, and not there."""

from __future__ import annotations

import hashlib
import io
import json
import time
from pathlib import Path

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

from contract.bundle import BundleReader
from contract.errors import RejectedError
from contract.manifest import check_built
from contract.profile import DelegateName
from firmware_profiles import load_profile
from packager.bundle_writer import BundleContent
from packager.cli import main
from packager.edgetpu import compile_edgetpu, find_compiler
from packager.edgetpu_stage import add_edgetpu
from packager.runtime.graph import is_edgetpu_model
from tests.support import edgetpu_compiler
from tests.support.builders import a_manifest
from tests.support.coverage_precisions import digits_in
from tests.support.edgetpu_bundles import int8_bundle
from tests.support.packager_builders import DIGITS, profile

CORAL = load_profile("coral-dev-board")


def compile_with(folder: Path, mode: str, timeout_s: float = 60.0) -> list[str]:
    program = edgetpu_compiler.install(folder, mode)
    compile_edgetpu(program, digits_in("static_wi8_ai8"), 14, timeout_s)
    return (folder / "calls").read_text().splitlines()


def test_the_compilers_report_and_file_are_taken(tmp_path: Path) -> None:
    program = edgetpu_compiler.install(tmp_path)
    made = compile_edgetpu(program, digits_in("static_wi8_ai8"), 13)
    assert is_edgetpu_model(made.content)
    assert not is_edgetpu_model(digits_in("static_wi8_ai8"))
    assert (made.report.operations_tpu, made.report.operations_cpu) == (8, 1)
    assert (made.report.on_chip_bytes, made.report.off_chip_bytes) == (115_200, 0)
    (call,) = (tmp_path / "calls").read_text().splitlines()
    assert call.startswith("-s -m 13 -o ")


@pytest.mark.parametrize("mode", ["crash once", "segfault once"])
def test_a_compiler_that_crashes_once_is_asked_again(tmp_path: Path, mode: str) -> None:
    assert len(compile_with(tmp_path, mode)) == 2


def test_a_compiler_that_always_crashes_is_given_up(tmp_path: Path) -> None:
    with pytest.raises(RejectedError, match=r"crashed 4 times: .*Internal compiler error"):
        compile_with(tmp_path, "crash always")
    assert len((tmp_path / "calls").read_text().splitlines()) == 4


@pytest.mark.parametrize(
    ("mode", "text"),
    [
        ("refuse", "refuses the model: .*Model not quantized"),
        ("map nothing", "maps nothing to the Edge TPU: 0 of 9 operations"),
        ("say nothing", "says nothing of what it made"),
    ],
)
def test_a_model_that_the_compiler_cannot_use_is_refused_at_once(
    tmp_path: Path, mode: str, text: str
) -> None:
    with pytest.raises(RejectedError, match=text):
        compile_with(tmp_path, mode)
    assert len((tmp_path / "calls").read_text().splitlines()) == 1


def test_a_compiler_that_hangs_is_ended_with_all_it_started(tmp_path: Path) -> None:
    started = time.monotonic()
    with pytest.raises(RejectedError, match="was not ready after 1 s"):
        compile_with(tmp_path, "hang", timeout_s=1.0)
    assert time.monotonic() - started < 30


def test_the_edgetpu_variant_ships_in_front_of_its_cpu_variant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edgetpu_compiler.install(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    bundle, note = add_edgetpu(int8_bundle(CORAL), CORAL)
    assert note is not None
    assert note.is_shipped
    assert note.text.startswith("8 of 9 operations on the Edge TPU, 115,200 bytes of parameters on the chip")
    manifest = bundle.manifest
    check_built(manifest)
    first, second = manifest.variants
    assert (first.name, first.delegate) == ("static-int8-edgetpu", DelegateName.EDGETPU)
    assert first.requires.libraries == ("libedgetpu.so.1",)
    assert (second.name, second.delegate) == ("static-int8", DelegateName.XNNPACK)
    assert is_edgetpu_model(bundle.artifacts[first.artifact.sha256])
    assert set(bundle.artifacts) == manifest.artifacts().keys()
    assert manifest.provenance is not None
    assert manifest.provenance.recipes["static-int8-edgetpu"].endswith("edgetpu_compiler -m 14")
    assert manifest.provenance.tools["edgetpu-compiler"] == "16.0.384591198"


def test_the_boards_self_test_expects_the_cpu_variants_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edgetpu_compiler.install(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    bundle, _ = add_edgetpu(int8_bundle(CORAL), CORAL)
    golden = bundle.manifest.golden
    assert golden is not None
    content = bundle.artifacts[golden.artifact.sha256]
    assert hashlib.sha256(content).hexdigest() == golden.artifact.sha256
    with np.load(io.BytesIO(content)) as arrays:
        names = set(arrays.files)
        same = arrays["expected.static-int8-edgetpu.scores"] == arrays["expected.static-int8.scores"]
    assert names == {"input.image", "expected.static-int8.scores", "expected.static-int8-edgetpu.scores"}
    assert same.all()
    assert golden.tolerance["static-int8-edgetpu"] == golden.tolerance["static-int8"]


def test_without_the_compiler_the_cpu_variant_ships_alone_and_a_line_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_compiler() is None
    before = int8_bundle(CORAL)
    bundle, note = add_edgetpu(before, CORAL)
    assert bundle is before
    assert note is not None
    assert note.text == (
        "edgetpu_compiler is not installed (it exists for x86-64 Linux only): the CPU variants ship alone; "
        "9 of 9 operators would fit the Edge TPU"
    )


@pytest.mark.parametrize("mode", ["refuse", "crash always"])
def test_a_compiler_that_fails_leaves_the_cpu_variant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    edgetpu_compiler.install(tmp_path, mode)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    before = int8_bundle(CORAL)
    bundle, note = add_edgetpu(before, CORAL)
    assert bundle is before
    assert note is not None
    assert note.text.endswith("the CPU variants ship alone")
    assert not note.is_shipped


@pytest.mark.parametrize("budget", ["peak_memory_bytes", "bundle_bytes"])
def test_a_variant_beyond_the_boards_budget_stays_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, budget: str
) -> None:
    edgetpu_compiler.install(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    small = msgspec.structs.replace(CORAL, budgets=msgspec.structs.replace(CORAL.budgets, **{budget: 1000}))
    before = int8_bundle(CORAL)
    bundle, note = add_edgetpu(before, small)
    assert bundle is before
    assert note is not None
    assert "the budget is 1000: the CPU variants ship alone" in note.text


def test_a_bundle_without_an_int8_variant_has_nothing_to_compile() -> None:
    bundle = BundleContent(a_manifest(), {})
    found, note = add_edgetpu(bundle, CORAL)
    assert found is bundle
    assert note is not None
    assert note.text.startswith("no variant passed that is static int8 throughout")


def test_a_variant_that_was_recovered_with_operators_in_float_is_not_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edgetpu_compiler.install(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    before = int8_bundle(CORAL, digits_in("static_wi8_ai8", ("FULLY_CONNECTED",)))
    bundle, note = add_edgetpu(before, CORAL)
    assert bundle is before
    assert note is not None
    assert (note.is_shipped, note.predicted) == (False, None)
    assert note.text == (
        "no variant passed that is static int8 throughout, which the Edge TPU needs: the CPU variants ship alone"
    )
    assert not (tmp_path / "calls").exists()


def test_a_board_without_an_edge_tpu_is_left_alone() -> None:
    bundle = BundleContent(a_manifest(), {})
    assert add_edgetpu(bundle, profile()) == (bundle, None)


def test_a_packed_bundle_holds_both_variants_and_the_table_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edgetpu_compiler.install(tmp_path / "bin", "crash once")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    command = ["pack", str(DIGITS / "digits-1.0.0.tflite"), "--name", "digits", "--version", "1.0.0"]
    command += ["--profile", CORAL.id, "--output", str(tmp_path / "dist"), "--json"]
    for folder in ("calibration", "evaluation"):
        command += [f"--{folder}", str(DIGITS / folder)]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    (tpu,) = found["edgetpu"]
    assert tpu["is_shipped"]
    assert (tpu["report"]["operations_tpu"], tpu["report"]["off_chip_bytes"]) == (8, 0)
    assert tpu["predicted"]["nodes_delegated"] == 11  # with a QUANTIZE at either end
    notes = {note["variant"]: note for note in found["notes"]}
    assert notes["static-int8"]["speed"] == "fastest"
    assert notes["static-int8"]["coverage"]["nodes_delegated"] == 11  # and what converts at its border
    with BundleReader(tmp_path / "dist" / f"digits-1.0.0-{CORAL.id}.bundle") as reader:
        manifest = reader.manifest
    assert [one.name for one in manifest.variants[:2]] == ["static-int8-edgetpu", "static-int8"]
    check_built(manifest)
