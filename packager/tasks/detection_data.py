"""Reads a detector's evaluation set, whatever form its annotations have.

Guarantees: the form follows from what stands in the folder, and a folder with two forms is refused; sizes that
annotations claim are those of the images; every box is inside its image. Does not judge.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from contract.errors import ManifestError
from contract.manifest import ImagePreprocessing
from packager.images import MAX_IMAGES, ImageSet, read_images
from packager.tasks import annotations_coco, annotations_voc, annotations_yolo
from packager.tasks.annotations import PURPOSE, Noted
from packager.tasks.true_boxes import TrueBox, Vocabulary, edge_fault, refuse

_READERS: dict[str, Callable[[Path, Vocabulary], list[Noted]]] = {
    "COCO": annotations_coco.read_coco,
    "YOLO": annotations_yolo.read_yolo,
    "Pascal VOC": annotations_voc.read_voc,
}
_FORMS = (
    f"COCO: {annotations_coco.FILE_NAME} with images beside it or in images/; "
    "YOLO: images/ and labels/*.txt; Pascal VOC: an .xml beside each image, or JPEGImages/ and Annotations/"
)


@dataclass(frozen=True)
class AnnotatedImages:
    """Images with their true boxes.

    Attributes:
        images: Decoded and brought to the model's size, with their own sizes.
        truths: Of each image, in pixels of the image as it was.
        sha256: Digest over the images and their boxes.
    """

    images: ImageSet
    truths: tuple[tuple[TrueBox, ...], ...]
    sha256: str


def form_of(folder: Path) -> str:
    """Which form the annotations of a folder have.

    Raises:
        ManifestError: There is no such folder, none that is known, or more than one.
    """
    if not folder.is_dir():
        raise ManifestError(f"there is no {PURPOSE} folder {folder}", remedy=_FORMS)
    found = []
    if (folder / annotations_coco.FILE_NAME).is_file():
        found.append("COCO")
    if (folder / annotations_yolo.LABELS).is_dir():
        found.append("YOLO")
    if any(folder.glob("*.xml")) or (folder / annotations_voc.ANNOTATIONS).is_dir():
        found.append("Pascal VOC")
    if len(found) != 1:
        problem = f"annotations in the forms of {' and '.join(found)}" if found else "no annotations"
        raise ManifestError(f"{PURPOSE} folder {folder} has {problem}", remedy=f"give one of: {_FORMS}")
    return found[0]


def load_annotated_images(
    folder: Path,
    shape: tuple[int, int, int],
    vocabulary: Vocabulary,
    recipe: ImagePreprocessing | None = None,
) -> AnnotatedImages:
    """Read images and boxes.

    Args:
        folder: See ``_FORMS``.
        shape: Height, width, channels of the model's input.
        vocabulary: The model's classes.
        recipe: How images of other sizes come to this one; None to refuse them.

    Raises:
        ManifestError: With every fault that is found at once.
    """
    noted = _READERS[form_of(folder)](folder, vocabulary)
    if not noted:
        raise ManifestError(f"{PURPOSE} folder {folder} has no image", remedy=_FORMS)
    if len(noted) > MAX_IMAGES:
        raise ManifestError(
            f"{PURPOSE} folder {folder} has {len(noted)} images, at most {MAX_IMAGES} are read"
        )
    images = read_images([one.file for one in noted], shape, PURPOSE, recipe=recipe)
    faults: list[str] = []
    truths = tuple(_checked(one, size, faults) for one, size in zip(noted, images.sizes, strict=True))
    if not any(box.is_wanted for boxes in truths for box in boxes):
        faults.append("no image has a box that must be found")
    refuse(f"the annotations in {folder.name} are not usable", faults)
    stated = msgspec.json.encode([images.sha256, truths])
    return AnnotatedImages(images, truths, hashlib.sha256(stated).hexdigest())


def _checked(noted: Noted, size: tuple[int, int], faults: list[str]) -> tuple[TrueBox, ...]:
    """Boxes in pixels; what is wrong with them is added to the faults."""
    name = noted.file.name
    if noted.size is not None and noted.size != size:
        faults.append(
            f"image {name} has {size[1]} x {size[0]} pixels, its annotation says {noted.size[1]} x {noted.size[0]}"
        )
        return ()
    boxes = tuple(_in_pixels(box, size) for box in noted.boxes) if noted.is_in_fractions else noted.boxes
    found = (edge_fault(box, size) for box in boxes)
    faults += [f"image {name}, box {number}: {fault}" for number, fault in enumerate(found, start=1) if fault]
    return boxes


def _in_pixels(box: TrueBox, size: tuple[int, int]) -> TrueBox:
    top, left, bottom, right = box.edges
    height, width = size
    return replace(box, edges=(top * height, left * width, bottom * height, right * width))
