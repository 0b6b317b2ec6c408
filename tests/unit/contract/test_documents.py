"""Bill of materials and provenance in a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from contract.bundle import BundleReader, write_bundle
from contract.documents import DOCUMENT_MAX_BYTES, PROVENANCE_MEMBER, SBOM_MEMBER, Documents
from contract.errors import DigestError, ManifestError
from contract.manifest import Artifact, Manifest, check_built, parse_manifest, serialize_manifest
from tests.support.builders import GOLDEN_BYTES, MODEL_BYTES, a_bundle, a_manifest, an_artifact
from tests.support.contract_zip import Member, zip_bytes

SBOM, PROVENANCE = b'{"bomFormat":"CycloneDX"}', b'{"_type":"https://in-toto.io/Statement/v1"}'
DOCUMENTS = Documents(sbom=an_artifact(SBOM), provenance=an_artifact(PROVENANCE))


def documented() -> Manifest:
    return a_manifest(documents=DOCUMENTS)


def written(folder: Path) -> Path:
    files: dict[str, Path] = {}
    for content in (MODEL_BYTES, GOLDEN_BYTES, SBOM, PROVENANCE):
        file = folder / an_artifact(content).sha256
        file.write_bytes(content)
        files[file.name] = file
    return write_bundle(folder, documented(), files)


def as_members(**changes: bytes | None) -> list[Member]:
    """The members of the bundle; a document may be replaced or left out."""
    artifacts = sorted((f"artifacts/{an_artifact(c).sha256}", c) for c in (MODEL_BYTES, GOLDEN_BYTES))
    documents = {PROVENANCE_MEMBER: PROVENANCE, SBOM_MEMBER: SBOM} | {
        f"{key}.json": content for key, content in changes.items()
    }
    rows = [("manifest.json", serialize_manifest(documented())), *artifacts]
    rows += [(name, content) for name, content in sorted(documents.items()) if content is not None]
    return [Member(name=name.encode(), content=content) for name, content in rows]


def test_documents_are_written_and_read_back(tmp_path: Path) -> None:
    with BundleReader(written(tmp_path)) as reader:
        assert reader.manifest == documented()
        assert reader.read_document(SBOM_MEMBER) == SBOM
        assert reader.read_document(PROVENANCE_MEMBER) == PROVENANCE
        assert set(reader.manifest.artifacts()) == set(a_manifest().artifacts()), "devices fetch no documents"


def test_a_bundle_is_the_same_bytes_as_its_layout_says(tmp_path: Path) -> None:
    assert written(tmp_path).read_bytes() == zip_bytes(as_members())


def test_a_bundle_from_before_there_were_documents_is_read(tmp_path: Path) -> None:
    with BundleReader(a_bundle(tmp_path)) as reader:
        assert reader.manifest.documents is None
        assert reader.read_document(SBOM_MEMBER) is None


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"sbom": None}, "sbom.json: missing"),
        ({"provenance": PROVENANCE + b" "}, "provenance.json: 44 bytes, the manifest says 43"),
        ({"readme": b"x"}, "only artifacts/<sha256>, provenance.json and sbom.json may stand here"),
    ],
)
def test_members_that_the_manifest_does_not_name_so_are_refused(
    tmp_path: Path, changes: dict[str, Any], fault: str
) -> None:
    path = tmp_path / "x.bundle"
    path.write_bytes(zip_bytes(as_members(**changes)))
    with pytest.raises(ManifestError) as caught:
        BundleReader(path)
    assert fault in caught.value.summary()


def test_a_document_that_no_manifest_names_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.bundle"
    members = as_members()
    path.write_bytes(
        zip_bytes([Member(name=b"manifest.json", content=serialize_manifest(a_manifest())), *members[1:]])
    )
    with pytest.raises(ManifestError) as caught:
        BundleReader(path)
    assert "sbom.json: not in the manifest" in caught.value.summary()


def test_a_document_that_was_exchanged_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "x.bundle"
    path.write_bytes(zip_bytes(as_members(sbom=SBOM.replace(b"Cyclone", b"Tornado"))))
    with BundleReader(path) as reader, pytest.raises(DigestError, match=r"sbom\.json is damaged"):
        reader.read_document(SBOM_MEMBER)


@pytest.mark.parametrize(
    ("artifact", "fault"),
    [
        (Artifact(sha256="X" * 64, size_bytes=1), "documents.sbom.sha256"),
        (Artifact(sha256="0" * 64, size_bytes=0), "0 is not within"),
        (Artifact(sha256="0" * 64, size_bytes=DOCUMENT_MAX_BYTES + 1), "is not within"),
    ],
)
def test_documents_without_a_usable_digest_or_size_are_refused(artifact: Artifact, fault: str) -> None:
    manifest = a_manifest(documents=Documents(sbom=artifact, provenance=an_artifact(PROVENANCE)))
    with pytest.raises(ManifestError) as caught:
        check_built(parse_manifest(serialize_manifest(manifest)))
    assert fault in caught.value.summary()
