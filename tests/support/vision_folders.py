"""Evaluation folders of shapes in every form that the packager reads."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.support.vision_shapes import LABELS, Shapes, draw


def write_labels(path: Path, labels: Sequence[str] = LABELS) -> Path:
    """Names, one a line."""
    path.write_text("\n".join(labels) + "\n", encoding="utf-8")
    return path


def write_images(folder: Path, pictures: Sequence[Shapes]) -> list[Path]:
    """``0000.png`` and so on."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number:04}.png" for number in range(len(pictures))]
    for path, picture in zip(paths, pictures, strict=True):
        Image.fromarray(picture.pixels).save(path)
    return paths


def coco_of(pictures: Sequence[Shapes]) -> dict[str, Any]:
    """The document; categories are numbered from 0 in the order of the labels."""
    boxes = [
        (image, kind, box)
        for image, one in enumerate(pictures)
        for kind, box in zip(one.classes, one.boxes.tolist(), strict=True)
    ]
    return {
        "images": [
            {
                "id": number,
                "file_name": f"{number:04}.png",
                "height": one.pixels.shape[0],
                "width": one.pixels.shape[1],
            }
            for number, one in enumerate(pictures)
        ],
        "categories": [{"id": number, "name": name} for number, name in enumerate(LABELS)],
        "annotations": [
            {
                "id": number,
                "image_id": image,
                "category_id": kind,
                "bbox": [left, top, right - left, bottom - top],
                "area": (right - left) * (bottom - top),
                "iscrowd": 0,
            }
            for number, (image, kind, (top, left, bottom, right)) in enumerate(boxes, start=1)
        ],
    }


def write_coco(folder: Path, pictures: Sequence[Shapes]) -> Path:
    """``images/`` and ``annotations.json``."""
    write_images(folder / "images", pictures)
    (folder / "annotations.json").write_text(json.dumps(coco_of(pictures)), encoding="utf-8")
    return folder


def write_yolo(folder: Path, pictures: Sequence[Shapes]) -> Path:
    """``images/`` and ``labels/``."""
    write_images(folder / "images", pictures)
    (folder / "labels").mkdir()
    for number, one in enumerate(pictures):
        height, width = one.pixels.shape[:2]
        rows = [
            f"{kind} {(left + right) / 2 / width!r} {(top + bottom) / 2 / height!r} "
            f"{(right - left) / width!r} {(bottom - top) / height!r}"
            for kind, (top, left, bottom, right) in zip(one.classes, one.boxes.tolist(), strict=True)
        ]
        (folder / "labels" / f"{number:04}.txt").write_text("\n".join(rows), encoding="ascii")
    return folder


def voc_of(picture: Shapes, extra: str = "") -> str:
    """One document; pixels count from 1."""
    objects = "".join(
        f"<object><name>{LABELS[kind]}</name>{extra}<bndbox><xmin>{left + 1}</xmin><ymin>{top + 1}</ymin>"
        f"<xmax>{right}</xmax><ymax>{bottom}</ymax></bndbox></object>"
        for kind, (top, left, bottom, right) in zip(picture.classes, picture.boxes.tolist(), strict=True)
    )
    height, width = picture.pixels.shape[:2]
    size = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
    return f"<annotation>{size}{objects}</annotation>"


def write_voc(folder: Path, pictures: Sequence[Shapes]) -> Path:
    """An ``.xml`` beside each image."""
    for path, picture in zip(write_images(folder, pictures), pictures, strict=True):
        path.with_suffix(".xml").write_text(voc_of(picture), encoding="utf-8")
    return folder


def write_masks(folder: Path, pictures: Sequence[Shapes]) -> Path:
    """``images/`` and ``masks/`` with palettes."""
    write_images(folder / "images", pictures)
    (folder / "masks").mkdir()
    for number, picture in enumerate(pictures):
        mask = Image.fromarray(picture.mask)
        mask.putpalette(np.random.default_rng(1).integers(0, 256, 768).tolist())
        mask.save(folder / "masks" / f"{number:04}.png")
    return folder


def pictures_of(count: int, first: int = 0, **size: int) -> list[Shapes]:
    """Pictures that nothing was taught on."""
    return [draw(first + number, **size) for number in range(count)]


def write_example(folder: Path) -> None:
    """What ``docs/how-to/pack-a-detector.md`` works with."""
    from tests.support.vision_models import write_anchors

    photos = pictures_of(150, 20_000, height=60, width=84)
    write_coco(folder / "evaluation", photos)
    write_masks(folder / "masks", photos)
    write_images(folder / "calibration", pictures_of(100, 30_000, height=60, width=84))
    write_labels(folder / "labels.txt")
    write_labels(folder / "segments.txt", ("nothing", *LABELS))
    write_anchors(folder / "anchors.csv")


if __name__ == "__main__":
    write_example(Path(sys.argv[1]))
