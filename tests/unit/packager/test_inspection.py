"""What ``inspect`` tells of a bundle's records."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from contract.bundle import write_bundle
from contract.errors import NotFoundError
from contract.fingerprint import (
    AnswerFingerprint,
    Basis,
    ChannelFingerprint,
    Fingerprint,
    TensorFingerprint,
)
from contract.manifest import Manifest
from packager.cli import main
from packager.inspection import inspect_models, read_document
from packager.inspection_text import record_rows
from packager.metadata.card import ModelCard, TensorCard
from packager.metadata.embed import embed_card
from packager.metadata.read import read_card
from packager.records import complete, rule_table
from packager.rules import Allowance, Rules
from tests.support.builders import GOLDEN_BYTES, a_bundle, a_manifest, an_artifact
from tests.support.packager_models import digits_model

CHANNEL = ChannelFingerprint(mean=0.25, std=0.125, low=0.0, high=1.0, edges=(0.5,), counts=(3, 1))
FINGERPRINT = Fingerprint(
    basis=Basis.CALIBRATION,
    samples=4,
    inputs=(TensorFingerprint(name="image", channels=(CHANNEL,) * 6),),
    outputs=(TensorFingerprint(name="probabilities", channels=(CHANNEL,), is_pooled=True),),
    answers=AnswerFingerprint(best_score=CHANNEL, classes=(3, 1)),
)
PORT = TensorCard(key="", name="image", text="")
MODEL = embed_card(
    digits_model(),
    ModelCard("digits", "1.0.0", "", (PORT,), (PORT,), {"labels.txt": b"0"}),
)


def a_complete_bundle(folder: Path) -> tuple[Path, Manifest]:
    files = {an_artifact(content).sha256: content for content in (MODEL, GOLDEN_BYTES)}
    manifest, contents = complete(
        a_manifest(model_bytes=MODEL), files, FINGERPRINT, Rules(max_drop=Allowance(0.01, is_relative=True))
    )
    paths: dict[str, Path] = {}
    for digest, content in contents.items():
        paths[digest] = folder / digest
        paths[digest].write_bytes(content)
    return write_bundle(folder, manifest, paths), manifest


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["inspect", *arguments])


def test_fingerprint_documents_and_metadata_are_shown(tmp_path: Path) -> None:
    path, _ = a_complete_bundle(tmp_path)
    done = run(str(path))
    assert done.exit_code == 0
    for text in (
        "fingerprint of 4 calibration samples",
        "input image: 0.25 ± 0.125, 0.25 ± 0.125, 0.25 ± 0.125, 0.25 ± 0.125 and 2 channels more",
        "best score 0.25 on average; most frequent class 75.0%",
        "sbom.json",
        "float32: TFLite metadata of digits 1.0.0, image to image, labels.txt;",
    ):
        assert text in done.stdout


@pytest.mark.parametrize(
    ("option", "key", "value"),
    [
        ("--sbom", "bomFormat", "CycloneDX"),
        ("--provenance", "predicateType", "https://slsa.dev/provenance/v1"),
        ("--json", "model", "digits"),
    ],
)
def test_a_document_is_printed_exactly_as_it_is(tmp_path: Path, option: str, key: str, value: str) -> None:
    path, manifest = a_complete_bundle(tmp_path)
    done = run(str(path), option)
    assert json.loads(done.stdout)[key] == value
    if option != "--json":
        assert manifest.documents is not None
        digests = {file.sha256 for file in manifest.documents.members().values()}
        assert an_artifact(done.stdout_bytes).sha256 in digests


def test_two_documents_at_once_are_refused(tmp_path: Path) -> None:
    path, _ = a_complete_bundle(tmp_path)
    assert run(str(path), "--sbom", "--provenance").exit_code == 2


def test_a_bundle_from_before_there_were_records_is_shown_without(tmp_path: Path) -> None:
    path = a_bundle(tmp_path)
    found = inspect_models(path)
    rows = record_rows(found.manifest, found.told)
    assert [text.partition(":")[0] for _, text in rows] == ["none", "none", "float32"]
    assert "is damaged" in rows[-1][1], "the builder's artifact is no model"
    with pytest.raises(NotFoundError, match=r"has no sbom\.json"):
        read_document(path, "sbom.json")
    assert run(str(path), "--provenance").exit_code == 1


def test_a_model_without_metadata_and_one_without_files_are_told_so() -> None:
    told = inspect_told(MODEL.replace(b"TFLITE_METADATA", b"TFLITE_METADATX"))
    assert told == "float32: none"
    assert ", labels.txt" not in inspect_told(
        embed_card(digits_model(), ModelCard("d", "1", "", (PORT,), (PORT,)))
    )


def inspect_told(content: bytes) -> str:
    return record_rows(a_manifest(), {"float32": read_card(content)})[-1][1]


def test_a_fingerprint_without_answers_has_no_best_score() -> None:
    plain = msgspec.structs.replace(FINGERPRINT, answers=None, outputs=())
    rows = record_rows(a_manifest(fingerprint=plain), {})
    assert not any("best score" in text for _, text in rows)


def test_only_rules_that_are_set_stand_in_the_provenance() -> None:
    assert rule_table(Rules(class_floor=0.5)) == {
        "max_drop": "0.01",
        "class_floor": "0.5",
        "min_samples": "100",
        "recovery_trials": "8",
    }
