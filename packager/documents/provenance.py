"""A bundle's provenance: an in-toto Statement v1 with a SLSA provenance v1 predicate, as JSON.

PURE. Rules:

1. Subjects are everything in the bundle but the manifest, which holds this document's digest, and this document.
2. Materials are the source model, the data and the tools: files by sha256, tools by package URL.
3. Same manifest and rules, same bytes: no time, no path, no number of a run. So it says by whom it was built and from
   what, and anyone can build it again and compare; it does not say when or where it was built.

Specifications: https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md,
https://slsa.dev/spec/v1.0/provenance.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from contract.bundle_layout import named_members
from contract.documents import PROVENANCE_MEMBER, SBOM_MEMBER
from contract.manifest import Artifact, Manifest, Provenance
from packager.documents.parts import OWN_PACKAGE, canonical_json, package_url

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "pkg:pypi/litefleet#docs/reference/bundle.md"
"""Where the parameters are explained, as a package URL with a path in the package's sources."""
_NO_DATA_SHA256 = hashlib.sha256().hexdigest()

Json = dict[str, Any]


def write_provenance(manifest: Manifest, sbom: Artifact, rules: Mapping[str, str]) -> bytes:
    """The provenance of a complete manifest; its own ``documents`` are not looked at.

    Args:
        manifest: What the bundle holds.
        sbom: Its bill of materials.
        rules: The gate's, name to value, as the user set them.
    """
    provenance = manifest.provenance
    assert provenance is not None  # noqa: S101 - a complete manifest has one
    files = {
        name: file.sha256 for name, file in named_members(manifest).items() if name != PROVENANCE_MEMBER
    } | {SBOM_MEMBER: sbom.sha256}
    own = provenance.tools.get(OWN_PACKAGE, "")
    return canonical_json(
        {
            "_type": STATEMENT,
            "subject": [{"name": name, **_digest(digest)} for name, digest in sorted(files.items())],
            "predicateType": PREDICATE,
            "predicate": {
                "buildDefinition": {
                    "buildType": BUILD_TYPE,
                    "externalParameters": _parameters(manifest, rules),
                    "internalParameters": {"recipes": provenance.recipes},
                    "resolvedDependencies": _materials(provenance),
                },
                "runDetails": {
                    "builder": {"id": package_url(OWN_PACKAGE, own), "version": provenance.tools},
                },
            },
        }
    )


def _parameters(manifest: Manifest, rules: Mapping[str, str]) -> Json:
    return {
        "model": manifest.model,
        "version": manifest.version,
        "profile": manifest.profile,
        "task": manifest.task.value,
        "rules": dict(rules),
    }


def _materials(provenance: Provenance) -> list[Json]:
    data = (
        ("calibration", provenance.calibration_sha256),
        ("evaluation", provenance.evaluation_sha256),
    )
    return [
        {"name": provenance.source_name, **_digest(provenance.source_sha256)},
        *({"name": f"{name} data", **_digest(digest)} for name, digest in data if digest != _NO_DATA_SHA256),
        *({"uri": package_url(name, version)} for name, version in sorted(provenance.tools.items())),
    ]


def _digest(digest: str) -> Json:
    return {"digest": {"sha256": digest}}
