"""Reads a slot folder: which model a worker runs, with every byte checked before it is used.

Guarantees: a path that this module hands out belongs to a file whose sha256 was the manifest's when it was read
here. The manifest itself was verified when the slot was filled; that is not done again.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from contract.digest import digest_of
from contract.errors import DigestError, ManifestError, StorageError
from contract.manifest import (
    MANIFEST_MAX_BYTES,
    Artifact,
    Golden,
    Manifest,
    Variant,
    check_built,
    parse_manifest,
)

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

MANIFEST_FILE = "manifest.json"
VARIANT_FILE = "variant"
ARTIFACT_FOLDER = "artifacts"
_VARIANT_MAX_BYTES = 4096


class _Chosen(msgspec.Struct, frozen=True):
    name: str
    fallback: str = ""
    cheaper: str = ""


class Slot(msgspec.Struct, frozen=True):
    """A slot's content.

    Attributes:
        folder: Where it is.
        manifest: Complete (``check_built`` passed).
        golden: Its self-test data.
        variant: The one that was chosen for this board.
        fallback: The one that runs when the chosen one's delegate is lost; None when it needs none.
        cheaper: The one that runs while the board has to save work; None when there is none here.
    """

    folder: Path
    manifest: Manifest
    golden: Golden
    variant: Variant
    fallback: Variant | None = None
    cheaper: Variant | None = None

    def on_fallback(self) -> Slot:
        """The same with the fallback as its variant."""
        assert self.fallback is not None  # noqa: S101 - the caller looked
        return msgspec.structs.replace(self, variant=self.fallback, fallback=None)

    def on_cheaper(self) -> Slot:
        """The same with the cheaper one as its variant; as it is where there is none."""
        if self.cheaper is None:
            return self
        return msgspec.structs.replace(self, variant=self.cheaper, fallback=None, cheaper=None)

    def variants(self) -> list[Variant]:
        """Every variant that may run here."""
        return [each for each in (self.variant, self.fallback, self.cheaper) if each is not None]

    def peak_memory_bytes(self) -> int:
        """Memory of an interpreter for this slot, whether its variant runs or the fallback."""
        either = (self.variant, self.fallback or self.variant)
        return max(variant.peak_memory_bytes for variant in either)

    def model_path(self) -> Path:
        """The chosen variant's model file, digest checked.

        Raises:
            DigestError: The file is damaged.
            StorageError: It cannot be read.
        """
        return self.path_of(self.variant)

    def path_of(self, variant: Variant) -> Path:
        """A variant's model file, digest checked; see ``model_path``."""
        return self._checked(variant.artifact)

    def load_golden(self) -> dict[str, npt.NDArray[np.generic]]:
        """The golden inputs and expected outputs by their names in the artifact, digest checked.

        Raises:
            DigestError: The file is damaged.
            StorageError: It cannot be read.
            ManifestError: It is no .npz of plain arrays.
        """
        import numpy as np

        path = self._checked(self.golden.artifact)
        try:
            with np.load(path, allow_pickle=False) as archive:
                return {name: archive[name] for name in archive.files}
        except (OSError, ValueError, EOFError, KeyError, AttributeError, TypeError) as error:
            raise ManifestError(f"golden inputs of {self.manifest.model} cannot be read: {error}") from error

    def _checked(self, artifact: Artifact) -> Path:
        path = self.folder / ARTIFACT_FOLDER / artifact.sha256
        try:
            with path.open("rb") as source:
                found = digest_of(source)
        except OSError as error:
            raise StorageError(f"artifact {artifact.sha256} cannot be read: {error}") from error
        if found != artifact:
            raise DigestError(
                f"artifact {artifact.sha256} is damaged on this device",
                faults=[f"{found.size_bytes} bytes with sha256 {found.sha256}"],
                remedy="deploy the version again; if it comes back, check the storage of this board",
            )
        return path


def load_slot(folder: Path) -> Slot:
    """Read a slot's manifest and choice of variant; artifacts are read when they are asked for.

    Raises:
        StorageError: A file is missing or cannot be read.
        ManifestError: The manifest or the choice is not usable.
    """
    manifest = parse_manifest(_read(folder / MANIFEST_FILE, MANIFEST_MAX_BYTES))
    check_built(manifest)
    try:
        chosen = msgspec.json.decode(_read(folder / VARIANT_FILE, _VARIANT_MAX_BYTES), type=_Chosen)
    except msgspec.DecodeError as error:
        raise ManifestError(f"{folder / VARIANT_FILE} cannot be read: {error}") from error
    assert manifest.golden is not None  # noqa: S101 - check_built insists on it
    by_name = {variant.name: variant for variant in manifest.variants}
    for name in (chosen.name, *filter(None, [chosen.fallback, chosen.cheaper])):
        if name not in by_name:
            raise ManifestError(f"{folder}: the manifest has no variant {name[:80]!r}")
    return Slot(
        folder,
        manifest,
        manifest.golden,
        by_name[chosen.name],
        by_name.get(chosen.fallback),
        by_name.get(chosen.cheaper),
    )


def _read(path: Path, limit: int) -> bytes:
    try:
        with path.open("rb") as source:
            content = source.read(limit + 1)
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error}") from error
    if len(content) > limit:
        raise StorageError(f"{path} has more than {limit} bytes")
    return content
