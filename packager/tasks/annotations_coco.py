"""Reads annotations in COCO's JSON form (cocodataset.org/#format-data), "object detection".

Guarantees: the file is decoded in one step into what is needed of it, with every fault told; crowds are kept apart.
An image that the file does not name is no sample. Segmentation outlines are not read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from contract.errors import ManifestError
from packager.images import ImageFile
from packager.tasks.annotations import Noted, place_inside, read_bounded
from packager.tasks.true_boxes import MAX_BOXES, TrueBox, Vocabulary, refuse

FILE_NAME = "annotations.json"
_MAX_BYTES = 1 << 30  # instances_train2017.json has 470 MB


class _Image(msgspec.Struct, frozen=True):
    id: int
    file_name: str
    width: int | None = None
    height: int | None = None


class _Category(msgspec.Struct, frozen=True):
    id: int
    name: str = ""


class _Annotation(msgspec.Struct, frozen=True):
    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float]
    id: int = 0
    iscrowd: int = 0


class _Dataset(msgspec.Struct, frozen=True):
    images: tuple[_Image, ...]
    annotations: tuple[_Annotation, ...]
    categories: tuple[_Category, ...]


def read_coco(folder: Path, vocabulary: Vocabulary) -> list[Noted]:
    """Read ``annotations.json`` of a folder; images stand beside it or in ``images/``.

    Args:
        folder: Where the file is.
        vocabulary: The model's classes. With labels, categories are found by name; without, their ids are the numbers
            of the scores.

    Raises:
        ManifestError: With every fault of the file.
    """
    what = f"{FILE_NAME} in {folder.name}"
    content = read_bounded(folder / FILE_NAME, _MAX_BYTES)
    try:
        data = msgspec.json.decode(content, type=_Dataset)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ManifestError(
            f"{what} is not in COCO's form: {error}", remedy="it needs images, annotations and categories"
        ) from error
    faults = list(_double(data))
    numbers, unknown = _classes(data, vocabulary)
    faults += unknown
    root = folder / "images" if (folder / "images").is_dir() else folder
    boxes: dict[int, list[TrueBox]] = {image.id: [] for image in data.images}
    for annotation in data.annotations:
        if annotation.image_id not in boxes:
            faults.append(f"annotation {annotation.id}: there is no image {annotation.image_id}")
        elif annotation.category_id in numbers:
            boxes[annotation.image_id].append(_box(annotation, numbers[annotation.category_id]))
        elif not unknown:
            faults.append(f"annotation {annotation.id}: there is no category {annotation.category_id}")
    noted = list(_noted(data, boxes, root, faults))
    refuse(f"{what} is not usable", faults)
    return noted


def _double(data: _Dataset) -> Iterator[str]:
    for key in ("id", "file_name"):
        count = Counter(getattr(image, key) for image in data.images)
        yield from (
            f"image {str(value)[:80]!r} stands there twice" for value, times in count.items() if times > 1
        )
    count = Counter(category.id for category in data.categories)
    yield from (f"category {number} stands there twice" for number, times in count.items() if times > 1)
    if not data.images:
        yield "there is no image"


def _classes(data: _Dataset, vocabulary: Vocabulary) -> tuple[Mapping[int, int], list[str]]:
    """Category id to class; and what is wrong with categories that have a box."""
    used = {annotation.category_id for annotation in data.annotations}
    found: dict[int, int] = {}
    faults: list[str] = []
    for category in data.categories:
        if category.id not in used:
            continue
        try:
            find = (
                vocabulary.of_name(category.name) if vocabulary.labels else vocabulary.of_number(category.id)
            )
        except ValueError as error:
            hint = "" if vocabulary.labels else "; give --labels to find categories by name"
            faults.append(f"category {category.id}: {error}{hint}")
        else:
            found[category.id] = find
    return found, faults


def _box(annotation: _Annotation, label: int) -> TrueBox:
    left, top, width, height = annotation.bbox
    return TrueBox((top, left, top + height, left + width), label, is_crowd=bool(annotation.iscrowd))


def _noted(
    data: _Dataset, boxes: Mapping[int, list[TrueBox]], root: Path, faults: list[str]
) -> Iterator[Noted]:
    for image in sorted(data.images, key=lambda one: one.file_name):
        try:
            path = place_inside(root, image.file_name)
        except ValueError as error:
            faults.append(f"image {image.id}: {error}")
            continue
        if not path.is_file():
            faults.append(f"image {image.file_name} is not in {root.name}")
        if len(boxes[image.id]) > MAX_BOXES:
            faults.append(
                f"image {image.file_name} has {len(boxes[image.id])} boxes, at most {MAX_BOXES} are read"
            )
        size = None if image.width is None or image.height is None else (image.height, image.width)
        yield Noted(ImageFile(path, image.file_name, ""), tuple(boxes[image.id]), size)
