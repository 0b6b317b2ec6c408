"""Bill of materials and provenance of a bundle."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import msgspec
import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

from contract.manifest import Manifest, check_built
from packager.documents.attach import attach_documents
from packager.documents.parts import canonical_json, package_url
from packager.documents.provenance import write_provenance
from packager.documents.sbom import write_sbom
from tests.support.builders import GOLDEN_BYTES, MODEL_BYTES, a_manifest, a_variant, an_artifact

OFFICIAL = JsonStrictValidator(SchemaVersion.V1_6)  # reads its schemas once
EMPTY = hashlib.sha256().hexdigest()
RULES = {"max-drop": "0.01", "min-samples": "100"}
TOOLS = {
    "litefleet": "0.1.0",
    "litert-quantizer": "0.11.0",
    "torch": "2.13.0+cpu",
    "edgetpu-compiler": "16.0",
}


def changed(struct: Any, **changes: Any) -> Any:
    return msgspec.structs.replace(struct, **changes)


def of(**changes: Any) -> Manifest:
    """A manifest whose provenance has these values."""
    return a_manifest(provenance=changed(a_manifest().provenance, **({"tools": TOOLS} | changes)))


def sbom_of(manifest: Manifest) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(write_sbom(manifest))
    return found


def statement_of(manifest: Manifest) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(write_provenance(manifest, an_artifact(b"sbom"), RULES))
    return found


def components(sbom: dict[str, Any], kind: str) -> dict[str, dict[str, Any]]:
    return {one["bom-ref"]: one for one in sbom["components"] if one["type"] == kind}


# Bill of materials


@pytest.mark.parametrize(
    "manifest",
    [
        a_manifest(),
        of(),
        of(calibration_sha256=EMPTY, normalized=("made a signature", "folded float16")),
        a_manifest(
            variants=tuple(a_variant(name=f"float32-{index}", content=bytes([index])) for index in range(32))
        ),
        of(source_name='"} hostile \\ \u2028 name \x00', recipes={"float32": "\x1b[31m"}),
    ],
    ids=["plain", "tools", "no calibration", "as many variants as possible", "hostile names"],
)
def test_a_bill_of_materials_is_valid_by_the_official_schema(manifest: Manifest) -> None:
    text = write_sbom(manifest).decode()
    assert OFFICIAL.validate_str(text) is None


def test_the_schema_refuses_what_is_none() -> None:
    """The check above can fail."""
    broken = sbom_of(a_manifest())
    broken["components"][0]["type"] = "wish"
    assert OFFICIAL.validate_str(json.dumps(broken)) is not None


def test_source_variants_golden_inputs_data_and_tools_are_components() -> None:
    sbom = sbom_of(of())
    models, data = components(sbom, "machine-learning-model"), components(sbom, "data")
    assert set(models) == {"model:source", "model:float32"}
    assert set(data) == {"data:golden", "data:calibration", "data:evaluation"}
    assert models["model:float32"]["hashes"] == [
        {"alg": "SHA-256", "content": an_artifact(MODEL_BYTES).sha256}
    ]
    assert data["data:golden"]["hashes"][0]["content"] == an_artifact(GOLDEN_BYTES).sha256
    assert [one["purl"] for one in components(sbom, "library").values()] == [
        "pkg:generic/edgetpu-compiler@16.0",
        "pkg:pypi/litefleet@0.1.0",
        "pkg:pypi/litert-quantizer@0.11.0",
        "pkg:pypi/torch@2.13.0%2Bcpu",
    ]
    (writer,) = sbom["metadata"]["tools"]["components"]
    assert writer["purl"] == "pkg:pypi/litefleet@0.1.0"


def test_a_variant_has_a_model_card_with_what_was_measured() -> None:
    variant = components(sbom_of(of()), "machine-learning-model")["model:float32"]
    card = variant["modelCard"]
    assert card["quantitativeAnalysis"]["performanceMetrics"] == [
        {"type": "accuracy", "value": "0.97", "slice": "100 evaluation samples"}
    ]
    assert card["modelParameters"]["task"] == "classification"
    assert card["modelParameters"]["datasets"] == [{"ref": "data:calibration"}, {"ref": "data:evaluation"}]
    assert {"name": "litefleet:precision", "value": "float32"} in variant["properties"]


def test_an_edge_tpu_variant_tells_of_the_library_it_needs() -> None:
    variant = a_variant()
    needy = changed(variant, requires=changed(variant.requires, libraries=("libedgetpu.so.1",)))
    told = components(sbom_of(a_manifest(variants=(needy,))), "machine-learning-model")["model:float32"]
    assert {"name": "litefleet:requires-library", "value": "libedgetpu.so.1"} in told["properties"]


def test_every_reference_leads_to_one_component() -> None:
    sbom = sbom_of(of())
    known = [one["bom-ref"] for one in sbom["components"]] + [sbom["metadata"]["component"]["bom-ref"]]
    known += [one["bom-ref"] for one in sbom["metadata"]["tools"]["components"]]
    assert len(set(known)) == len(known)
    for row in sbom["dependencies"]:
        assert {row["ref"], *row["dependsOn"]} <= set(known)


def test_without_calibration_there_is_no_such_data() -> None:
    manifest = of(calibration_sha256=EMPTY)
    assert set(components(sbom_of(manifest), "data")) == {"data:golden", "data:evaluation"}
    names = [
        one.get("name")
        for one in statement_of(manifest)["predicate"]["buildDefinition"]["resolvedDependencies"]
    ]
    assert "calibration data" not in names
    assert "evaluation data" in names


def test_another_content_has_another_serial_number_and_the_same_the_same() -> None:
    one, again, other = (sbom_of(of(source_name=name))["serialNumber"] for name in ("a", "a", "b"))
    assert one == again != other


def test_there_is_neither_a_time_nor_a_path() -> None:
    texts = write_sbom(of()) + write_provenance(of(), an_artifact(b"sbom"), RULES)
    for word in (b"timestamp", b"startedOn", b"finishedOn", b"/home", b"invocationId"):
        assert word not in texts


# Provenance


def test_subjects_are_all_artifacts_and_the_bill_of_materials() -> None:
    statement = statement_of(of())
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["predicateType"] == "https://slsa.dev/provenance/v1"
    digests = {subject["name"]: subject["digest"]["sha256"] for subject in statement["subject"]}
    model, golden = an_artifact(MODEL_BYTES).sha256, an_artifact(GOLDEN_BYTES).sha256
    assert digests == {
        f"artifacts/{model}": model,
        f"artifacts/{golden}": golden,
        "sbom.json": an_artifact(b"sbom").sha256,
    }


def test_materials_are_source_data_and_tools() -> None:
    manifest = of()
    assert manifest.provenance is not None
    definition = statement_of(manifest)["predicate"]["buildDefinition"]
    source, *rest = definition["resolvedDependencies"]
    assert source == {
        "name": manifest.provenance.source_name,
        "digest": {"sha256": manifest.provenance.source_sha256},
    }
    assert {"uri": "pkg:pypi/litert-quantizer@0.11.0"} in rest
    assert definition["externalParameters"]["rules"] == RULES
    assert definition["externalParameters"]["profile"] == manifest.profile


def test_the_builder_is_this_version_of_litefleet() -> None:
    builder = statement_of(of())["predicate"]["runDetails"]["builder"]
    assert builder["id"] == "pkg:pypi/litefleet@0.1.0"
    assert builder["version"] == TOOLS


# Both


def test_attached_documents_are_named_by_the_manifest_and_tell_of_the_same_bundle() -> None:
    manifest, contents = attach_documents(of(), RULES)
    check_built(manifest)
    assert manifest.documents is not None
    sbom, provenance = manifest.documents.sbom, manifest.documents.provenance
    for artifact in (sbom, provenance):
        assert an_artifact(contents[artifact.sha256]) == artifact
    subjects = {
        one["name"]: one["digest"]["sha256"] for one in json.loads(contents[provenance.sha256])["subject"]
    }
    assert subjects["sbom.json"] == sbom.sha256
    assert attach_documents(manifest, RULES) == (manifest, contents), "attached twice is attached once"


@pytest.mark.parametrize(
    ("name", "version", "url"),
    [
        ("AI_Edge.LiteRT", "2.3.0", "pkg:pypi/ai-edge-litert@2.3.0"),
        ("torch", "2.13.0+cpu", "pkg:pypi/torch@2.13.0%2Bcpu"),
        ("a b/c", "1?x#y", "pkg:pypi/a%20b%2Fc@1%3Fx%23y"),
    ],
)
def test_package_urls_are_read_back_by_the_reference_implementation(
    name: str, version: str, url: str
) -> None:
    assert package_url(name, version) == url
    assert PackageURL.from_string(url).version == version


def test_json_is_ascii_with_sorted_keys() -> None:
    assert canonical_json({"b": "é", "a": 1}) == b'{\n  "a": 1,\n  "b": "\\u00e9"\n}\n'
