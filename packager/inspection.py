"""Reads a bundle as a device would, and vouches for every byte in it."""

from __future__ import annotations

from pathlib import Path

from contract.bundle import BundleReader
from contract.manifest import Manifest


def inspect_bundle(path: Path) -> Manifest:
    """Check a bundle whole: structure, manifest, and every artifact's digest.

    Raises:
        ManifestError: No bundle, or one that breaks a rule or a bound.
        DigestError: An artifact is not what the manifest says.
    """
    with BundleReader(path) as reader:
        for digest in reader.manifest.artifacts():
            for _ in reader.artifact_blocks(digest):
                pass
        return reader.manifest
