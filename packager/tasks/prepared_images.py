"""Images with the way from their pixels to a model's input.

Guarantees: every variant sees the same images in the same order with the same preprocessing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from contract.manifest import ImagePreprocessing
from packager.images import ImageSet
from packager.preprocess import to_inputs
from packager.tasks.task import Floats


@dataclass(frozen=True)
class PreparedImages:
    """Decoded images; implements ``packager.tasks.task.Inputs``.

    Attributes:
        images: Decoded and brought to the model's size.
        preprocessing: From pixels to inputs.
        annotated_sha256: Digest over the images and what is true of them, where more than folder names says it.
    """

    images: ImageSet
    preprocessing: ImagePreprocessing
    annotated_sha256: str = ""

    @property
    def sha256(self) -> str:
        """Digest over names and bytes of the images, and over what is true of them where that is known."""
        return self.annotated_sha256 or self.images.sha256

    @property
    def preparation(self) -> str:
        """The preprocessing."""
        return str(self.preprocessing)

    @property
    def digests(self) -> Sequence[bytes]:
        """N digests over decoded pixels."""
        return self.images.digests

    def __len__(self) -> int:
        """Number of images."""
        return len(self.images.folders)

    def inputs(self, positions: Sequence[int]) -> tuple[Floats]:
        """(positions, *preprocessing.shape) float32."""
        return (to_inputs(self.images.pixels[list(positions)], self.preprocessing),)
