"""What newly signed targets may change: the decision, apart from files and signatures.

PURE. Rules:

1. Every target that is trusted already stands unchanged; nothing is replaced or withdrawn.
2. The new targets are exactly the manifests that came along, with their length and sha256, and nothing else.
3. A target's path is the one its manifest has, hence made of checked identifiers; the manifest is complete.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from contract.errors import ConflictError, ManifestError
from contract.manifest import Manifest, check_built, parse_manifest


@dataclass(frozen=True)
class Target:
    """A target as signed: its length in bytes and its digests by algorithm; ``extra`` when it says anything else."""

    length: int
    hashes: Mapping[str, str]
    extra: bool = False


def target_of(content: bytes) -> Target:
    """What must be signed for a manifest."""
    return Target(length=len(content), hashes={"sha256": hashlib.sha256(content).hexdigest()})


def check_additions(
    trusted: Mapping[str, Target], offered: Mapping[str, Target], manifests: Mapping[str, bytes]
) -> None:
    """Refuse offered targets that break a rule.

    Args:
        trusted: The targets in force, by path.
        offered: All targets of the new metadata, by path.
        manifests: What came along for the new ones, by path.

    Raises:
        ConflictError: A trusted target is changed or missing.
        ManifestError: A new target breaks rule 2 or 3; with every fault.
    """
    faults = [f"{path}: missing" for path in trusted if path not in offered]
    faults += [f"{path}: changed" for path, target in trusted.items() if offered.get(path, target) != target]
    if faults:
        raise ConflictError(
            "the signed targets contradict what is published",
            faults=faults,
            remedy="a version is published once; give changed content a new version",
        )
    new = {path: target for path, target in offered.items() if path not in trusted}
    faults = [f"{path[:200]!r}: no manifest came along" for path in new if path not in manifests]
    for path, content in manifests.items():
        faults += _manifest_faults(path, content, new.get(path))
    if faults:
        raise ManifestError("the release cannot be accepted", faults=faults)


def _manifest_faults(path: str, content: bytes, target: Target | None) -> list[str]:
    shown = repr(path[:200])
    if target is None:
        return [f"{shown}: not among the new targets"]
    if target != target_of(content):
        return [f"{shown}: length or digest is not that of the manifest"]
    try:
        manifest: Manifest = parse_manifest(content)
        check_built(manifest)
    except ManifestError as error:
        return [f"{shown}: {error}", *error.faults]
    if manifest.target_path() != path:
        return [f"{shown}: the manifest belongs at {manifest.target_path()}"]
    return []
