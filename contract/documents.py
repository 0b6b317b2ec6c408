"""What a bundle carries for people and their tools, and no device needs: its bill of materials and its provenance.

PURE. Rules:

1. The manifest names each by digest and size, so whoever trusts the manifest's signature can trust them.
2. They are no artifacts: a device does not fetch them, and nothing that runs depends on them.
3. They tell of everything else in the bundle, not of the manifest: it holds their digests, they cannot hold its.
"""

from __future__ import annotations

import msgspec

from contract.identifiers import parse_digest
from contract.variant import Artifact, parse_faults

SBOM_MEMBER = "sbom.json"
PROVENANCE_MEMBER = "provenance.json"
DOCUMENT_MAX_BYTES = 4 << 20
"""4 MiB: some hundred times what 32 variants need."""


class Documents(msgspec.Struct, frozen=True, kw_only=True):
    """The documents of a bundle.

    Attributes:
        sbom: Bill of materials, CycloneDX 1.6 as JSON.
        provenance: In-toto Statement v1 with a SLSA provenance v1 predicate, as JSON.
    """

    sbom: Artifact
    provenance: Artifact

    def members(self) -> dict[str, Artifact]:
        """Name in the bundle to file."""
        return {PROVENANCE_MEMBER: self.provenance, SBOM_MEMBER: self.sbom}


def documents_faults(documents: Documents) -> list[str]:
    """List every fault; empty when they are sound."""
    faults: list[str] = []
    for key, file in (("sbom", documents.sbom), ("provenance", documents.provenance)):
        faults += parse_faults(parse_digest, file.sha256, f"documents.{key}.sha256")
        if not 1 <= file.size_bytes <= DOCUMENT_MAX_BYTES:
            faults.append(
                f"documents.{key}.size_bytes: {file.size_bytes} is not within 1 to {DOCUMENT_MAX_BYTES}"
            )
    return faults
