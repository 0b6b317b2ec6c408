"""Completes a bundle: the fingerprint, and the documents that tell of everything in it.

PURE. Rules:

1. It is the last step: what is added afterwards would be in no document.
2. The gate's rules stand in the provenance as the user set them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import msgspec

from contract.fingerprint import Fingerprint
from contract.manifest import Manifest
from packager.documents.attach import attach_documents
from packager.rules import Rules


def complete(
    manifest: Manifest, artifacts: Mapping[str, bytes], fingerprint: Fingerprint, rules: Rules
) -> tuple[Manifest, dict[str, bytes]]:
    """A bundle's manifest and files, completed.

    Args:
        manifest: Complete but for fingerprint and documents.
        artifacts: Bytes by digest.
        fingerprint: Of the samples.
        rules: The gate's.
    """
    whole = msgspec.structs.replace(manifest, fingerprint=fingerprint)
    whole, documents = attach_documents(whole, rule_table(rules))
    return whole, {**artifacts, **documents}


def rule_table(rules: Rules) -> dict[str, str]:
    """Rules that are set, name to value."""
    found = {field.name: getattr(rules, field.name) for field in dataclasses.fields(rules)}
    return {name: str(value) for name, value in found.items() if value is not None}
