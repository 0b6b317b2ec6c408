"""Writes the bundles of a release and what is told of them: all of it whole, or none.

Guarantees: until every file is complete and on the disk, nothing appears in the output folder but one hidden
folder, which is removed again whatever happens. Files of the same name are replaced.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from contract.bundle import write_bundle
from contract.manifest import Manifest
from packager.durable import storage_errors


@dataclass(frozen=True)
class BundleContent:
    """One bundle: its manifest, and the bytes of every artifact by digest."""

    manifest: Manifest
    artifacts: Mapping[str, bytes]


Tell = Callable[[Sequence[Path]], Mapping[str, bytes]]
"""Given complete bundles, which are not in their place yet: file names and contents of what is told of them."""


def _tell_nothing(_: Sequence[Path]) -> Mapping[str, bytes]:
    return {}


def write_bundles(output: Path, bundles: Sequence[BundleContent], tell: Tell = _tell_nothing) -> list[Path]:
    """Write all bundles of a release.

    Args:
        output: Folder to write to; made when it is not there.
        bundles: One per profile; may be none when something is told.
        tell: What to write beside them.

    Returns:
        Paths of the bundles in the same order, then of the rest.

    Raises:
        StorageError: The folder cannot be written to.
        ManifestError: A manifest is not complete.
    """
    is_new = not output.exists()
    try:
        with storage_errors(f"write bundles to {output}"):
            output.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".litefleet-pack-", dir=output) as staging:
                staged = [_stage(Path(staging), bundle) for bundle in bundles]
                told = [_stage_file(Path(staging) / name, text) for name, text in tell(staged).items()]
                return _place([*staged, *told], output)
    except BaseException:
        if is_new:
            with contextlib.suppress(OSError):
                output.rmdir()
        raise


def _stage(staging: Path, bundle: BundleContent) -> Path:
    files: dict[str, Path] = {}
    for digest, content in bundle.artifacts.items():
        files[digest] = staging / digest
        files[digest].write_bytes(content)
    return write_bundle(staging, bundle.manifest, files)


def _stage_file(path: Path, content: bytes) -> Path:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return path


def _place(staged: Sequence[Path], output: Path) -> list[Path]:
    placed: list[Path] = []
    try:
        for path in staged:
            placed.append(output / path.name)
            path.replace(placed[-1])
    except BaseException:
        for path in placed:
            path.unlink(missing_ok=True)
        raise
    return placed
