"""Reads annotations in YOLO's text form: ``images/`` and ``labels/``, a text file an image.

Guarantees: every image has its text file, an empty one where nothing is in it: a file that is missing by mistake would
turn every right answer into a wrong one. Rows are class, centre x, centre y, width, height in fractions of the image.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from contract.errors import ManifestError
from packager.images import ImageFile
from packager.tasks.annotations import Noted, by_stem, images_in, read_bounded
from packager.tasks.true_boxes import MAX_BOXES, TrueBox, Vocabulary, number_of, refuse

IMAGES, LABELS = "images", "labels"
_MAX_BYTES = 4 << 20
_VALUES = 5
_REST = frozenset(("classes.txt", "notes.json"))  # annotation tools leave them there


def read_yolo(folder: Path, vocabulary: Vocabulary) -> list[Noted]:
    """Read ``images/*`` with ``labels/*.txt``.

    Args:
        folder: With both folders.
        vocabulary: The model's classes; rows have their numbers.

    Raises:
        ManifestError: With every fault of all files.
    """
    if not (folder / IMAGES).is_dir():
        raise ManifestError(f"{folder.name} has a folder {LABELS} and no folder {IMAGES}")
    images = by_stem(images_in(folder / IMAGES), folder / IMAGES)
    notes = {path.stem: path for path in (folder / LABELS).glob("[!.]*.txt") if path.name not in _REST}
    faults = [
        f"image {path.name} has no {LABELS}/{stem}.txt; an empty file says that nothing is in it"
        for stem, path in images.items()
        if stem not in notes
    ]
    faults += [
        f"{LABELS}/{path.name} has no image" for stem, path in sorted(notes.items()) if stem not in images
    ]
    noted: list[Noted] = []
    for stem, image in images.items():
        if stem not in notes:
            continue
        found: list[str] = []
        boxes = tuple(_rows(notes[stem], vocabulary, found))
        faults += [f"{LABELS}/{stem}.txt: {fault}" for fault in found]
        noted.append(Noted(ImageFile(image, image.name, ""), boxes, is_in_fractions=True))
    refuse(f"the annotations in {folder.name} are not usable", faults)
    return noted


def _rows(path: Path, vocabulary: Vocabulary, faults: list[str]) -> Iterator[TrueBox]:
    try:
        lines = read_bounded(path, _MAX_BYTES).decode("ascii").splitlines()
    except ManifestError as error:
        faults.append(str(error))
        return
    except UnicodeDecodeError:
        faults.append("is no plain text")
        return
    if len(lines) > MAX_BOXES:
        faults.append(f"has {len(lines)} lines, at most {MAX_BOXES} are read")
        return
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            yield _box(line.split(), vocabulary)
        except ValueError as error:
            faults.append(f"line {number}: {error}")


def _box(words: list[str], vocabulary: Vocabulary) -> TrueBox:
    if len(words) != _VALUES:
        raise ValueError(
            f"has {len(words)} values, a box has {_VALUES}: class, centre x, centre y, width, height"
        )
    label = vocabulary.of_number(int(words[0]))
    x, y, width, height = (number_of(word) for word in words[1:])
    if max(abs(x), abs(y), abs(width), abs(height)) > 2:
        raise ValueError(f"{x:g} {y:g} {width:g} {height:g} are no fractions of the image")
    return TrueBox((y - height / 2, x - width / 2, y + height / 2, x + width / 2), label)
