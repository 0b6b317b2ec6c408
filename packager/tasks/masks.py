"""Reads a segmenter's evaluation set: ``images/`` and ``masks/``, where a mask's pixels are class numbers.

Guarantees: every image has one mask of its own size, and every mask an image; a number that is no class is refused.
A palette's colours mean nothing, only the places in it. Does not judge.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from contract.errors import ManifestError
from contract.manifest import ImagePreprocessing
from packager.images import MAX_IMAGES, SET_MAX_BYTES, ImageFile, ImageSet, read_images, read_indices
from packager.tasks.annotations import PURPOSE, by_stem, images_in
from packager.tasks.true_boxes import refuse

IMAGES, MASKS = "images", "masks"


@dataclass(frozen=True)
class MaskedImages:
    """Images with the true class of each pixel.

    Attributes:
        images: Decoded and brought to the model's size, with their own sizes.
        masks: N masks (H, W) uint8 in the images' own sizes.
        ignored: The number in a mask of pixels that count neither way.
        sha256: Digest over the images and their masks.
    """

    images: ImageSet
    masks: tuple[npt.NDArray[np.uint8], ...]
    ignored: int
    sha256: str


@dataclass(frozen=True)
class MaskRules:
    """What numbers in a mask may be: 0 to ``classes`` - 1, and ``ignored`` for pixels that do not count."""

    classes: int
    ignored: int


def load_masked_images(
    folder: Path,
    shape: tuple[int, int, int],
    rules: MaskRules,
    recipe: ImagePreprocessing | None = None,
    max_bytes: int = SET_MAX_BYTES,
) -> MaskedImages:
    """Read images and masks of the same names.

    Args:
        folder: With ``images`` and ``masks``.
        shape: Height, width, channels of the model's input.
        rules: What numbers in a mask may be.
        recipe: How images of other sizes come to this one; None to refuse them.
        max_bytes: How much all masks may take.

    Raises:
        ManifestError: With every fault that is found at once.
    """
    pairs = _pairs(folder)
    images = read_images([image for image, _ in pairs], shape, PURPOSE, recipe=recipe)
    pixels = sum(height * width for height, width in images.sizes)
    if pixels > max_bytes:
        raise ManifestError(
            f"the masks of {len(pairs)} images take {pixels >> 20} MiB", remedy="give fewer or smaller images"
        )
    digest = hashlib.sha256(images.sha256.encode())
    masks: list[npt.NDArray[np.uint8]] = []
    faults: list[str] = []
    for (image, path), size in zip(pairs, images.sizes, strict=True):
        mask = read_indices(path, PURPOSE)
        faults += [f"mask {path.name} {fault}" for fault in _faults(mask, size, image.name, rules)]
        digest.update(repr(mask.shape).encode() + mask.tobytes())
        masks.append(mask)
    if not faults and not any((mask != rules.ignored).any() for mask in masks):
        faults.append("no mask has a pixel that counts")
    refuse(f"the masks in {folder.name} are not usable", faults)
    return MaskedImages(images, tuple(masks), rules.ignored, digest.hexdigest())


def _pairs(folder: Path) -> list[tuple[ImageFile, ImageFile]]:
    form = f"{IMAGES}/ and {MASKS}/, a PNG of the same name for each image"
    for name in (IMAGES, MASKS):
        if not (folder / name).is_dir():
            raise ManifestError(f"{PURPOSE} folder {folder} has no folder {name}", remedy=f"it needs {form}")
    images = by_stem(images_in(folder / IMAGES), folder / IMAGES)
    masks = {path.stem: path for path in images_in(folder / MASKS) if path.suffix.lower() == ".png"}
    faults = [
        f"image {path.name} has no {MASKS}/{stem}.png" for stem, path in images.items() if stem not in masks
    ]
    faults += [f"{MASKS}/{path.name} has no image" for stem, path in masks.items() if stem not in images]
    if not images:
        faults.append(f"there is no image in {IMAGES}/")
    if len(images) > MAX_IMAGES:
        faults.append(f"there are {len(images)} images, at most {MAX_IMAGES} are read")
    refuse(f"{PURPOSE} folder {folder} is not usable", faults, f"it needs {form}")
    return [
        (ImageFile(path, path.name, ""), ImageFile(masks[stem], f"{MASKS}/{stem}.png", ""))
        for stem, path in images.items()
    ]


def _faults(mask: npt.NDArray[np.uint8], size: tuple[int, int], image: str, rules: MaskRules) -> list[str]:
    if mask.shape != size:
        return [f"has {mask.shape[1]} x {mask.shape[0]} pixels, its image {image} has {size[1]} x {size[0]}"]
    strange = np.flatnonzero(np.bincount(mask.ravel(), minlength=256))
    strange = strange[(strange >= rules.classes) & (strange != rules.ignored)]
    if not strange.size:
        return []
    shown = ", ".join(str(number) for number in strange[:5]) + (" and more" if strange.size > 5 else "")
    return [f"has {shown}, classes are 0 to {rules.classes - 1} and {rules.ignored} is ignored"]
