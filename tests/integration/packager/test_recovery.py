"""A planted collapse: a model that int8 activations destroy is recovered or refused, never shipped broken."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from contract.bundle import BundleReader
from contract.errors import ManifestError
from contract.manifest import Manifest
from contract.profile import DelegateName, Precision
from packager.app import PackRequest, pack
from packager.report import PackResult, RungRow, rung_rows
from packager.rules import Rules
from packager.runtime.interpreter import LoadedModel
from tests.support.packager_builders import DIGITS, Silent, digits_task, evaluate, profile
from tests.support.packager_models import answering_nan, collapsing

STATIC_ONLY = profile(ladder=(Precision.STATIC_INT8,))


def request(folder: Path, content: bytes, **changes: Any) -> PackRequest:
    (folder / "model.tflite").write_bytes(content)
    sound = PackRequest(
        model=folder / "model.tflite",
        name="digits",
        version="1.0.0",
        profiles=(profile(),),
        evaluation=DIGITS / "evaluation",
        calibration=DIGITS / "calibration",
        labels=DIGITS / "labels.txt",
        baseline=None,
        rules=Rules(),
        mean=(0.0,),
        std=(255.0,),
        output=folder / "dist",
    )
    return dataclasses.replace(sound, **changes)


def rows_of(result: PackResult) -> dict[str, RungRow]:
    return {row.variant: row for row in rung_rows(result)}


def manifest_of(result: PackResult) -> Manifest:
    (path,) = result.bundles
    with BundleReader(path) as reader:
        return reader.manifest


@pytest.fixture(scope="module")
def recovered(tmp_path_factory: pytest.TempPathFactory) -> tuple[PackRequest, PackResult]:
    folder = tmp_path_factory.mktemp("recovered")
    asked = request(folder, collapsing(), cache=folder / "cache")
    return asked, pack(asked, Silent())


def test_a_planted_collapse_is_recovered_with_its_worst_operators_in_float(
    recovered: tuple[PackRequest, PackResult],
) -> None:
    rows = rows_of(recovered[1])
    plain, saved = rows["static-int8"], rows["static-int8-selective"]
    assert plain.verdict == "refused"
    assert plain.value is not None
    assert plain.value < 0.2
    assert saved.verdict == "shipped"
    assert saved.value == pytest.approx(0.998)
    # The one tensor that int8 cannot hold: its writer and its reader.
    assert [name.partition("/Relu")[0] for name in saved.floats] == ["digits_1/conv1_1", "digits_1/conv2_1"]
    assert saved.cost_bytes is not None
    assert 0 < saved.cost_bytes < 60_000
    assert saved.size_ratio is not None
    assert saved.size_ratio < 0.45
    assert saved.cost_ms is not None


def test_no_collapsed_form_is_in_the_bundle_and_the_recipe_tells_the_float_operators(
    recovered: tuple[PackRequest, PackResult],
) -> None:
    _, result = recovered
    manifest = manifest_of(result)
    assert [variant.name for variant in manifest.variants] == [
        "static-int8-selective",
        "dynamic-int8-selective",
        "float32",
    ]
    assert manifest.variants[0].precision is Precision.STATIC_INT8
    assert manifest.provenance is not None
    recipe = manifest.provenance.recipes["static-int8-selective"]
    assert recipe.startswith("static_wi8_ai8, in float: digits_1/conv1_1/Relu")
    with BundleReader(result.bundles[0]) as reader:
        for variant in manifest.variants:
            model = LoadedModel(reader.read_artifact(variant.artifact.sha256), DelegateName.XNNPACK)
            assert evaluate(model, digits_task(), lambda _: None).value >= 0.988


def test_without_trials_a_planted_collapse_is_refused_and_the_ladder_goes_on(tmp_path: Path) -> None:
    result = pack(request(tmp_path, collapsing(), rules=Rules(recovery_trials=0)), Silent())
    rows = rows_of(result)
    assert {name: row.verdict for name, row in rows.items()} == {
        "static-int8": "refused",
        "dynamic-int8": "refused",
        "float32": "shipped",
    }
    assert [variant.name for variant in manifest_of(result).variants] == ["float32"]


def test_where_nothing_else_is_on_the_ladder_a_collapse_is_refused_and_only_reported(
    tmp_path: Path,
) -> None:
    rules = Rules(recovery_trials=0)
    result = pack(request(tmp_path, collapsing(), rules=rules, profiles=(STATIC_ONLY,)), Silent())
    assert result.bundles == ()
    (fault,) = result.faults
    assert "best accuracy is 0.1" in fault
    assert [path.suffix for path in (tmp_path / "dist").iterdir() if path.suffix == ".bundle"] == []
    assert [path.name for path in result.reports] == ["digits-1.0.0.report.html", "digits-1.0.0.report.json"]


def test_a_model_that_no_float_operator_can_save_stops_within_its_trials(tmp_path: Path) -> None:
    # 100 % of the classes right is more than the float model itself reaches, so nothing can be enough.
    rules = Rules(class_floor=1.0, recovery_trials=3)
    result = pack(request(tmp_path, collapsing(), rules=rules, profiles=(STATIC_ONLY,)), Silent())
    (row,) = rows_of(result).values()
    assert row.verdict == "refused"
    assert "operators in float, after" in row.reason
    assert result.bundles == ()


def test_a_recovery_gives_the_same_bytes_every_time_and_from_the_cache(
    recovered: tuple[PackRequest, PackResult],
) -> None:
    asked, first = recovered
    content = first.bundles[0].read_bytes()
    again = pack(asked, Silent())
    assert again.bundles[0].read_bytes() == content
    assert (again.stages_made, again.stages_reused) == (0, first.stages_made)
    fresh = pack(dataclasses.replace(asked, cache=None), Silent())
    assert fresh.bundles[0].read_bytes() == content


def test_a_model_whose_answers_are_no_numbers_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="answers NaN or infinity for 500 of 500 samples"):
        pack(request(tmp_path, answering_nan()), Silent())


def test_evaluation_images_that_calibration_has_too_are_told_once(tmp_path: Path) -> None:
    told = Silent()
    result = pack(request(tmp_path, collapsing(), calibration=DIGITS / "evaluation"), told)
    (warning,) = [line for line in result.warnings if "calibration samples too" in line]
    assert warning.startswith("500 of 500 evaluation samples")
    assert f"warning: {warning}" in told.lines


def test_too_few_samples_are_refused_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="there are 500 evaluation samples, at least 501 are needed"):
        pack(request(tmp_path, collapsing(), rules=Rules(min_samples=501)), Silent())
