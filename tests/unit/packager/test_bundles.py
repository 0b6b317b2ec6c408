"""Bundles appear all together or not at all; a baseline is comparable or refused; damage is found."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from contract.errors import ConflictError, LitefleetError, ManifestError, StorageError
from packager.baseline import check_comparable, read_baseline
from packager.bundle_writer import BundleContent, write_bundles
from packager.inspection import inspect_bundle
from tests.support.builders import GOLDEN_BYTES, MODEL_BYTES, a_bundle, a_manifest, a_variant, an_artifact

FILES = {an_artifact(content).sha256: content for content in (MODEL_BYTES, GOLDEN_BYTES)}
TWO = [
    BundleContent(a_manifest(), FILES),
    BundleContent(a_manifest(profile="raspberry-pi-4"), FILES),
]
NAMES = ["digits-1.0.0-generic-x86-64.bundle", "digits-1.0.0-raspberry-pi-4.bundle"]


def test_bundles_are_written_into_a_new_folder_in_order_and_nothing_else_is(tmp_path: Path) -> None:
    paths = write_bundles(tmp_path / "a" / "dist", TWO)
    assert [path.name for path in paths] == NAMES
    assert sorted(path.name for path in (tmp_path / "a" / "dist").iterdir()) == NAMES
    assert [inspect_bundle(path).profile for path in paths] == ["generic-x86-64", "raspberry-pi-4"]


def test_bundles_of_the_same_name_are_replaced_and_other_files_stay(tmp_path: Path) -> None:
    (tmp_path / NAMES[0]).write_text("an older one")
    (tmp_path / "notes.txt").write_text("mine")
    write_bundles(tmp_path, TWO)
    assert inspect_bundle(tmp_path / NAMES[0]).version == "1.0.0"
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_when_the_second_bundle_cannot_be_made_the_first_is_not_written_either(tmp_path: Path) -> None:
    spoiled = BundleContent(a_manifest(profile="raspberry-pi-4", golden=None), FILES)
    with pytest.raises(ManifestError, match="is not usable"):
        write_bundles(tmp_path / "dist", [TWO[0], spoiled])
    assert list(tmp_path.iterdir()) == []


def test_when_the_second_bundle_cannot_be_placed_the_first_is_taken_back(tmp_path: Path) -> None:
    (tmp_path / NAMES[1]).mkdir()
    (tmp_path / NAMES[1] / "in the way").touch()
    with pytest.raises(LitefleetError):
        write_bundles(tmp_path, TWO)
    assert [path.name for path in tmp_path.iterdir()] == [NAMES[1]]


def test_what_is_told_stands_beside_the_bundles_and_knows_them(tmp_path: Path) -> None:
    paths = write_bundles(
        tmp_path / "dist", TWO, lambda staged: {"told.txt": b" ".join(path.name.encode() for path in staged)}
    )
    assert [path.name for path in paths] == [*NAMES, "told.txt"]
    assert (tmp_path / "dist" / "told.txt").read_text() == " ".join(NAMES)


def test_without_bundles_only_what_is_told_is_written(tmp_path: Path) -> None:
    assert write_bundles(tmp_path / "dist", [], lambda _: {"told.txt": b"why"}) == [
        tmp_path / "dist" / "told.txt"
    ]
    assert [path.name for path in (tmp_path / "dist").iterdir()] == ["told.txt"]


def test_when_it_cannot_be_told_no_bundle_is_written_either(tmp_path: Path) -> None:
    (tmp_path / "told.txt").mkdir()
    (tmp_path / "told.txt" / "in the way").touch()
    with pytest.raises(StorageError):
        write_bundles(tmp_path, TWO, lambda _: {"told.txt": b"why"})
    assert [path.name for path in tmp_path.iterdir()] == ["told.txt"]


def test_an_output_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "dist").write_text("a file")
    with pytest.raises(StorageError, match="cannot write bundles to"):
        write_bundles(tmp_path / "dist", TWO)
    assert (tmp_path / "dist").read_text() == "a file"


def test_a_damaged_artifact_is_found(tmp_path: Path) -> None:
    path = a_bundle(tmp_path)
    content = bytearray(path.read_bytes())
    content[content.index(MODEL_BYTES) + 100] ^= 1
    path.write_bytes(content)
    with pytest.raises(LitefleetError, match="damaged"):
        inspect_bundle(path)


def test_a_baseline_gives_its_float_accuracy_and_its_evaluation_images(tmp_path: Path) -> None:
    baseline = read_baseline(a_bundle(tmp_path), "digits")
    provenance = a_manifest().provenance
    assert provenance is not None
    assert (baseline.name, baseline.float_value) == ("digits 1.0.0", 0.98)
    assert baseline.evaluation_sha256 == provenance.evaluation_sha256
    check_comparable(baseline, "accuracy", provenance.evaluation_sha256)


def test_a_baseline_that_was_measured_on_other_images_is_refused(tmp_path: Path) -> None:
    baseline = read_baseline(a_bundle(tmp_path), "digits")
    with pytest.raises(ConflictError, match="other evaluation samples"):
        check_comparable(baseline, "accuracy", "0" * 64)


def test_a_baseline_of_another_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConflictError, match="holds the model digits, not letters"):
        read_baseline(a_bundle(tmp_path), "letters")


def test_a_baseline_that_was_gated_by_another_metric_is_refused(tmp_path: Path) -> None:
    metrics = msgspec.structs.replace(a_variant().metrics, metric="top5")
    content = BundleContent(a_manifest(variants=(a_variant(metrics=metrics),)), FILES)
    (path,) = write_bundles(tmp_path, [content])
    baseline = read_baseline(path, "digits")
    with pytest.raises(ConflictError, match="was measured by top5, not accuracy"):
        check_comparable(baseline, "accuracy", baseline.evaluation_sha256)
