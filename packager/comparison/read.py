"""Reads two bundles whole, and counts what differs in their model files.

Guarantees: every byte that is compared was checked against its digest; memory stays within two blocks.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from contract.bundle import BundleReader
from contract.digest import digest_of
from contract.errors import ManifestError
from packager.comparison.compare import Content, compare
from packager.comparison.document import ComparedBundle, Comparison
from packager.inspection import inspect_bundle


def compare_bundles(before: Path, after: Path) -> Comparison:
    """Check two bundles whole, and say what changed.

    Raises:
        ManifestError: One is no bundle, or breaks a rule or a bound.
        DigestError: An artifact is not what its manifest says.
    """
    old, new = _read(before), _read(after)
    return compare(old, new, _bytes_changed(before, after))


def _read(path: Path) -> Content:
    manifest = inspect_bundle(path)
    try:
        with path.open("rb") as file:
            whole = digest_of(file)
    except OSError as error:
        raise ManifestError(f"{path} cannot be read: {error.strerror}") from error
    return Content(
        bundle=ComparedBundle(
            # A file's name need not be text: what is not, is shown as such.
            file=path.name.encode("utf-8", "replace").decode(),
            model=manifest.model,
            version=manifest.version,
            profile=manifest.profile,
            size_bytes=whole.size_bytes,
            sha256=whole.sha256,
        ),
        manifest=manifest,
    )


def _bytes_changed(before: Path, after: Path) -> dict[str, int]:
    found: dict[str, int] = {}
    with BundleReader(before) as old, BundleReader(after) as new:
        known = {variant.name: variant.artifact for variant in old.manifest.variants}
        for variant in new.manifest.variants:
            was, now = known.get(variant.name), variant.artifact
            if was is not None and was.size_bytes == now.size_bytes:
                found[variant.name] = 0 if was == now else _count(old, was.sha256, new, now.sha256)
    return found


def _count(old: BundleReader, was: str, new: BundleReader, now: str) -> int:
    # Members are stored, and both are read in blocks of one size, so blocks stand side by side.
    return sum(
        int(np.count_nonzero(np.frombuffer(one, np.uint8) != np.frombuffer(other, np.uint8)))
        for one, other in zip(old.artifact_blocks(was), new.artifact_blocks(now), strict=True)
    )
