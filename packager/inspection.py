"""Reads a bundle as a device would, and vouches for every byte in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from contract.bundle import BundleReader
from contract.errors import ManifestError, NotFoundError
from contract.manifest import Manifest
from packager.metadata.read import Told, read_card


@dataclass(frozen=True)
class Inspection:
    """What a bundle holds.

    Attributes:
        manifest: Checked.
        told: Variant name to what its file says of itself, or why that cannot be read; None where it says nothing.
    """

    manifest: Manifest
    told: Mapping[str, Told | str | None]


def inspect_bundle(path: Path) -> Manifest:
    """Check a bundle whole: structure, manifest, and every digest.

    Raises:
        ManifestError: No bundle, or one that breaks a rule or a bound.
        DigestError: An artifact or document is not what the manifest says.
    """
    return inspect_models(path).manifest


def inspect_models(path: Path) -> Inspection:
    """Check a bundle whole, and look into its model files.

    Raises:
        ManifestError: No bundle, or one that breaks a rule or a bound.
        DigestError: An artifact or document is not what the manifest says.
    """
    with BundleReader(path) as reader:
        manifest = reader.manifest
        models = {variant.artifact.sha256 for variant in manifest.variants}
        told: dict[str, Told | str | None] = {}
        for digest in manifest.artifacts():
            if digest in models:
                told[digest] = _told(reader.read_artifact(digest))
                continue
            for _ in reader.artifact_blocks(digest):
                pass
        for member in manifest.documents.members() if manifest.documents else ():
            reader.read_document(member)
        return Inspection(manifest, {one.name: told[one.artifact.sha256] for one in manifest.variants})


def _told(content: bytes) -> Told | str | None:
    try:
        return read_card(content)
    except ManifestError as error:
        return str(error)


def read_document(path: Path, member: str) -> str:
    """A document of a bundle, as text.

    Args:
        path: The bundle.
        member: ``sbom.json`` or ``provenance.json``.

    Raises:
        ManifestError: No bundle, or one that breaks a rule or a bound.
        DigestError: The document is not what the manifest says.
        NotFoundError: The bundle has none.
    """
    with BundleReader(path) as reader:
        content = reader.read_document(member)
    if content is None:
        raise NotFoundError(
            f"{path.name} has no {member}: it was packed before bundles had one", remedy="pack it again"
        )
    return content.decode("utf-8", errors="replace")
