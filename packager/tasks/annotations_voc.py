"""Reads annotations in Pascal VOC's XML form, a file an image.

Guarantees: documents with a DTD are refused, so no entity is ever expanded; every image has its annotation and the
other way round. Boxes are as in the VOC development kit: pixels are counted from 1, the last one belongs to the box.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

from contract.errors import ManifestError
from packager.images import ImageFile
from packager.tasks.annotations import Noted, by_stem, images_in, read_bounded
from packager.tasks.true_boxes import MAX_BOXES, TrueBox, Vocabulary, number_of, refuse

_MAX_BYTES = 4 << 20
IMAGES, ANNOTATIONS = "JPEGImages", "Annotations"
"""Folders of the VOC development kit; else both stand in one folder."""


def read_voc(folder: Path, vocabulary: Vocabulary) -> list[Noted]:
    """Read images with an ``.xml`` file each, of the same name.

    Args:
        folder: With both, or with ``JPEGImages`` and ``Annotations``.
        vocabulary: The model's classes, with names.

    Raises:
        ManifestError: With every fault of all files.
    """
    is_kit = (folder / ANNOTATIONS).is_dir()
    images = by_stem(images_in(folder / IMAGES) if is_kit else images_in(folder), folder)
    notes = {path.stem: path for path in (folder / ANNOTATIONS if is_kit else folder).glob("[!.]*.xml")}
    faults = [f"image {path.name} has no {stem}.xml" for stem, path in images.items() if stem not in notes]
    faults += [f"{path.name} has no image" for stem, path in sorted(notes.items()) if stem not in images]
    noted: list[Noted] = []
    for stem, image in images.items():
        if stem not in notes:
            continue
        found: list[str] = []
        root = _parse(notes[stem], found)
        boxes = tuple(_boxes(root, vocabulary, found)) if root is not None else ()
        size = _size(root, found) if root is not None else None
        faults += [f"{notes[stem].name}: {fault}" for fault in found]
        noted.append(Noted(ImageFile(image, image.name, ""), boxes, size))
    refuse(f"the annotations in {folder.name} are not usable", faults)
    return noted


def _parse(path: Path, faults: list[str]) -> ET.Element | None:
    try:
        text = read_bounded(path, _MAX_BYTES).decode("utf-8-sig")
        if "<!DOCTYPE" in text or "<!ENTITY" in text:
            faults.append("has a DTD, which is not read")
            return None
        return ET.fromstring(text)  # noqa: S314 - no DTD, so no entities
    except ManifestError as error:
        faults.append(str(error))
    except UnicodeDecodeError:
        faults.append("is no UTF-8 text")
    except ET.ParseError as error:
        faults.append(f"is no XML: {error}")
    return None


def _boxes(root: ET.Element, vocabulary: Vocabulary, faults: list[str]) -> Iterator[TrueBox]:
    objects = root.findall("object")
    if len(objects) > MAX_BOXES:
        faults.append(f"has {len(objects)} objects, at most {MAX_BOXES} are read")
        return
    for number, found in enumerate(objects, start=1):
        try:
            label = vocabulary.of_name((found.findtext("name") or "").strip())
            xmin, ymin, xmax, ymax = (_side(found, key) for key in ("xmin", "ymin", "xmax", "ymax"))
        except ValueError as error:
            faults.append(f"object {number}: {error}")
            continue
        is_difficult = (found.findtext("difficult") or "0").strip() == "1"
        yield TrueBox((ymin - 1, xmin - 1, ymax, xmax), label, is_optional=is_difficult)


def _side(found: ET.Element, key: str) -> float:
    text = found.findtext(f"bndbox/{key}")
    if text is None:
        raise ValueError(f"has no bndbox/{key}")
    return number_of(text)


def _size(root: ET.Element, faults: list[str]) -> tuple[int, int] | None:
    texts = root.findtext("size/height"), root.findtext("size/width")
    if None in texts:
        return None
    try:
        height, width = (int(number_of(text or "")) for text in texts)
    except ValueError as error:
        faults.append(f"size: {error}")
        return None
    # Some tools write 0 for "not known".
    return (height, width) if height and width else None
