"""Puts bill of materials and provenance into a bundle, as the last step of making it.

PURE. Rules:

1. The manifest names both by digest and size, so its signature reaches them.
2. What they tell of is complete: nothing may be added to the bundle afterwards.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import msgspec

from contract.documents import Documents
from contract.manifest import Artifact, Manifest
from packager.documents.provenance import write_provenance
from packager.documents.sbom import write_sbom


def attach_documents(manifest: Manifest, rules: Mapping[str, str]) -> tuple[Manifest, dict[str, bytes]]:
    """A complete manifest with its documents, and their bytes by digest.

    Args:
        manifest: What the bundle holds.
        rules: The gate's, name to value.
    """
    sbom = write_sbom(manifest)
    provenance = write_provenance(manifest, _artifact(sbom), rules)
    documents = Documents(sbom=_artifact(sbom), provenance=_artifact(provenance))
    contents = {documents.sbom.sha256: sbom, documents.provenance.sha256: provenance}
    return msgspec.structs.replace(manifest, documents=documents), contents


def _artifact(content: bytes) -> Artifact:
    return Artifact(sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content))
