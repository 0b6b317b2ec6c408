"""Annotations in three forms: the same truth from each, and what is refused, with the place that is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from contract.errors import ManifestError
from contract.manifest import Resize
from packager.tasks.detection_data import AnnotatedImages, form_of, load_annotated_images
from packager.tasks.true_boxes import TrueBox, Vocabulary
from tests.support.vision_folders import (
    coco_of,
    pictures_of,
    voc_of,
    write_coco,
    write_images,
    write_voc,
    write_yolo,
)
from tests.support.vision_recipes import recipe_of
from tests.support.vision_shapes import LABELS, SIZE, Shapes

NAMED = Vocabulary(LABELS, len(LABELS))
NUMBERED = Vocabulary((), len(LABELS))
PICTURES = pictures_of(4)
WRITERS: dict[str, Callable[[Path, list[Shapes]], Path]] = {
    "COCO": write_coco,
    "YOLO": write_yolo,
    "Pascal VOC": write_voc,
}


def load(folder: Path, vocabulary: Vocabulary = NAMED, **options: Any) -> AnnotatedImages:
    return load_annotated_images(folder, (SIZE, SIZE, 3), vocabulary, **options)


def faults_of(folder: Path, vocabulary: Vocabulary = NAMED) -> str:
    with pytest.raises(ManifestError) as caught:
        load(folder, vocabulary)
    return "\n".join([caught.value.summary(), *caught.value.faults])


@pytest.mark.parametrize("form", WRITERS)
def test_the_same_boxes_are_read_from_every_form(tmp_path: Path, form: str) -> None:
    folder = WRITERS[form](tmp_path / "set", PICTURES)

    found = load(folder)

    assert form_of(folder) == form
    assert found.images.sizes == ((SIZE, SIZE),) * 4
    for picture, boxes in zip(PICTURES, found.truths, strict=True):
        assert [box.label for box in boxes] == list(picture.classes)
        for box, edges in zip(boxes, picture.boxes.tolist(), strict=True):
            assert box.edges == pytest.approx(edges)
            assert box.is_wanted


def test_images_of_other_sizes_keep_their_boxes_in_their_own_pixels(tmp_path: Path) -> None:
    pictures = pictures_of(3, height=70, width=120)
    for form, write in WRITERS.items():
        found = load(write(tmp_path / form, pictures), recipe=recipe_of(Resize.LETTERBOX))
        assert found.images.pixels.shape == (3, SIZE, SIZE, 3)
        assert found.images.sizes == ((70, 120),) * 3
        assert found.truths[0][0].edges == pytest.approx(pictures[0].boxes[0].tolist())


def test_the_digest_changes_with_a_box_and_not_with_the_folder(tmp_path: Path) -> None:
    one, two, other = (write_coco(tmp_path / name, PICTURES) for name in ("a", "b", "c"))
    document = coco_of(PICTURES)
    document["annotations"][0]["bbox"][2] -= 1
    (other / "annotations.json").write_text(json.dumps(document))

    assert load(one).sha256 == load(two).sha256
    assert load(one).sha256 != load(other).sha256
    assert load(one).images.sha256 == load(other).images.sha256


def test_a_folder_without_annotations_or_with_two_forms_is_refused(tmp_path: Path) -> None:
    write_images(tmp_path / "plain", PICTURES)
    both = write_coco(tmp_path / "both", PICTURES)
    (both / "0000.xml").write_text(voc_of(PICTURES[0]))

    assert "has no annotations" in faults_of(tmp_path / "plain")
    assert "forms of COCO and Pascal VOC" in faults_of(both)
    assert "there is no evaluation folder" in faults_of(tmp_path / "missing")


Change = Callable[[dict[str, Any]], None]


def _put(key: str, position: int, **fields: Any) -> Change:
    return lambda document: document[key][position].update(fields)


COCO_FAULTS: list[tuple[Change, str]] = [
    (_put("categories", 0, name="squares"), "category 0: class 'squares' is not in the labels: did you mean"),
    (_put("annotations", 0, category_id=9), "annotation 1: there is no category 9"),
    (_put("annotations", 0, image_id=99), "annotation 1: there is no image 99"),
    (
        _put("annotations", 0, bbox=[40, 0, 20, 10]),
        "image 0000.png, box 1: the box from (40, 0) to (60, 10) is out",
    ),
    (_put("annotations", 0, bbox=[-3, 0, 20, 10]), "is outside the image, which has 48 x 48 pixels"),
    (_put("annotations", 0, bbox=[4, 4, 0, 9]), "has no area"),
    (_put("annotations", 0, bbox=[4, 4, 9]), "is not in COCO's form"),
    (_put("annotations", 0, bbox=[4, 4, 9, 1e999]), "is not in COCO's form"),
    (_put("images", 1, file_name="0000.png"), "image '0000.png' stands there twice"),
    (_put("images", 1, id=0), "image '0' stands there twice"),
    (_put("categories", 1, id=0), "category 0 stands there twice"),
    (_put("images", 1, file_name="gone.png"), "image gone.png is not in images"),
    (
        _put("images", 1, file_name="../labels.txt"),
        "image 1: file name '../labels.txt' is not within the folder",
    ),
    (_put("images", 1, file_name="/etc/passwd"), "is not within the folder"),
    (_put("images", 1, width=64), "image 0001.png has 48 x 48 pixels, its annotation says 64 x 48"),
    (lambda document: document.pop("categories"), "is not in COCO's form"),
    (lambda document: document.update(images=[], annotations=[]), "there is no image"),
    (lambda document: document.update(annotations=[]), "no image has a box that must be found"),
]


@pytest.mark.parametrize(("change", "expected"), COCO_FAULTS)
def test_a_coco_file_that_is_wrong_is_refused_with_the_place(
    tmp_path: Path, change: Change, expected: str
) -> None:
    folder = write_coco(tmp_path / "set", PICTURES)
    document = coco_of(PICTURES)
    change(document)
    (folder / "annotations.json").write_text(json.dumps(document).replace("Infinity", "1e999"))

    assert expected in faults_of(folder)


def test_crowds_are_kept_apart_and_categories_without_a_box_do_not_matter(tmp_path: Path) -> None:
    folder = write_coco(tmp_path / "set", PICTURES)
    document = coco_of(PICTURES)
    document["categories"].append({"id": 77, "name": "never seen"})
    document["annotations"][0]["iscrowd"] = 1
    (folder / "annotations.json").write_text(json.dumps(document))

    first = load(folder).truths[0][0]
    assert first.is_crowd
    assert not first.is_wanted


def test_without_labels_category_ids_are_the_numbers_of_the_scores(tmp_path: Path) -> None:
    folder = write_coco(tmp_path / "set", PICTURES)
    assert load(folder, NUMBERED).truths == load(folder).truths

    document = coco_of(PICTURES)
    for category in document["categories"]:
        category["id"] += 1
    for annotation in document["annotations"]:
        annotation["category_id"] += 1
    (folder / "annotations.json").write_text(json.dumps(document))
    assert "class 3 is not within 0 to 2; give --labels" in faults_of(folder, NUMBERED)
    assert load(folder).truths[0][0].label == PICTURES[0].classes[0]


def test_many_faults_are_counted_and_not_all_shown(tmp_path: Path) -> None:
    folder = write_coco(tmp_path / "set", PICTURES)
    document = coco_of(PICTURES)
    document["annotations"] = [document["annotations"][0] | {"image_id": 1000 + n} for n in range(100)]
    (folder / "annotations.json").write_text(json.dumps(document))
    assert "and 80 more" in faults_of(folder)


VOC_FAULTS = [
    ("<name>", "<name>x", "0000.xml: object 1: class 'xsquare' is not in the labels"),
    ("<xmin>", "<xmin>-9", "is outside the image"),
    ("<xmin>", "<xmin>nan", "object 1: could not convert"),
    ("<bndbox>", "<box>", "0000.xml: is no XML"),
    ("<annotation>", "<!DOCTYPE a [<!ENTITY b 'c'>]><annotation>", "0000.xml: has a DTD"),
    ("<width>48", "<width>50", "0000.png has 48 x 48 pixels, its annotation says 50 x 48"),
    ("<width>48", "<width>wide", "0000.xml: size: "),
    ("xmin", "xlow", "object 1: has no bndbox/xmin"),
]


@pytest.mark.parametrize(("old", "new", "expected"), VOC_FAULTS)
def test_a_voc_file_that_is_wrong_is_refused_with_the_place(
    tmp_path: Path, old: str, new: str, expected: str
) -> None:
    picture = next(one for one in pictures_of(30) if one.classes[:1] == (0,))
    folder = write_voc(tmp_path / "set", [picture])
    (folder / "0000.xml").write_text(voc_of(picture).replace(old, new))
    assert expected in faults_of(folder)


def test_voc_names_need_labels_and_difficult_objects_need_not_be_found(tmp_path: Path) -> None:
    folder = write_voc(tmp_path / "set", PICTURES)
    assert "is a name, give --labels" in faults_of(folder, NUMBERED)

    (folder / "0000.xml").write_text(voc_of(PICTURES[0], "<difficult>1</difficult>"))
    assert all(box.is_optional for box in load(folder).truths[0])
    assert all(box.is_wanted for box in load(folder).truths[1])


def test_the_folders_of_the_voc_development_kit_are_read_too(tmp_path: Path) -> None:
    beside = write_voc(tmp_path / "beside", PICTURES)
    kit = tmp_path / "kit"
    (kit / "Annotations").mkdir(parents=True)
    write_images(kit / "JPEGImages", PICTURES)
    for path in beside.glob("*.xml"):
        (kit / "Annotations" / path.name).write_bytes(path.read_bytes())
    assert load(kit).truths == load(beside).truths


def test_a_voc_size_that_is_not_known_is_left_out(tmp_path: Path) -> None:
    folder = write_voc(tmp_path / "set", PICTURES)
    for old, new in (("<width>48", "<width>0"), ("size>", "sizes>")):
        (folder / "0000.xml").write_text(voc_of(PICTURES[0]).replace(old, new))
        assert len(load(folder).truths) == 4


def test_images_and_annotations_without_each_other_are_refused(tmp_path: Path) -> None:
    voc, yolo = write_voc(tmp_path / "voc", PICTURES), write_yolo(tmp_path / "yolo", PICTURES)
    (voc / "0001.png").unlink()
    (voc / "0002.xml").unlink()
    (yolo / "images" / "0001.png").unlink()
    (yolo / "labels" / "0002.txt").unlink()

    assert "image 0002.png has no 0002.xml" in faults_of(voc)
    assert "0001.xml has no image" in faults_of(voc)
    assert "image 0002.png has no labels/0002.txt; an empty file says" in faults_of(yolo)
    assert "labels/0001.txt has no image" in faults_of(yolo)


YOLO_FAULTS = [
    ("3 0.5 0.5 0.2 0.2", "labels/0000.txt: line 1: class 3 is not within 0 to 2"),
    ("square 0.5 0.5 0.2 0.2", "line 1: invalid literal"),
    ("0 0.5 0.5 0.2", "line 1: has 4 values, a box has 5"),
    ("0 24 24 10 10", "line 1: 24 24 10 10 are no fractions of the image"),
    ("0 0.5 0.5 inf 0.2", "line 1: 'inf' is not finite"),
    ("0 0.95 0.5 0.3 0.2", "0000.png, box 1: the box from (38.4, 19.2) to (52.8, 28.8) is outside the image"),
    ("0 0.5 0.5 -0.1 0.2", "has no area"),
    ("é", "labels/0000.txt: is no plain text"),
]


@pytest.mark.parametrize(("line", "expected"), YOLO_FAULTS)
def test_a_yolo_file_that_is_wrong_is_refused_with_the_line(tmp_path: Path, line: str, expected: str) -> None:
    folder = write_yolo(tmp_path / "set", PICTURES)
    (folder / "labels" / "0000.txt").write_text(line, encoding="utf-8")
    assert expected in faults_of(folder)


def test_an_empty_yolo_file_says_that_nothing_is_in_the_image(tmp_path: Path) -> None:
    folder = write_yolo(tmp_path / "set", PICTURES)
    (folder / "labels" / "0000.txt").write_text("\n")
    (folder / "labels" / "classes.txt").write_text("square\n")
    assert load(folder).truths[0] == ()


def test_two_images_of_one_name_and_a_folder_without_images_are_refused(tmp_path: Path) -> None:
    folder = write_yolo(tmp_path / "set", PICTURES)
    Image.fromarray(PICTURES[0].pixels).save(folder / "images" / "0000.bmp")
    assert "0000: 0000.bmp, 0000.png" in faults_of(folder)

    (tmp_path / "none" / "labels").mkdir(parents=True)
    assert "a folder labels and no folder images" in faults_of(tmp_path / "none")
    (tmp_path / "none" / "images").mkdir()
    assert "has no image" in faults_of(tmp_path / "none")


def test_files_with_too_many_boxes_are_refused(tmp_path: Path) -> None:
    for form, write in WRITERS.items():
        write(tmp_path / form, PICTURES)
    (tmp_path / "YOLO" / "labels" / "0000.txt").write_text("0 0.5 0.5 0.2 0.2\n" * 10_001)
    (tmp_path / "Pascal VOC" / "0000.xml").write_text(f"<annotation>{'<object/>' * 10_001}</annotation>")
    document = coco_of(PICTURES)
    document["annotations"] = [document["annotations"][0]] * 10_001
    (tmp_path / "COCO" / "annotations.json").write_text(json.dumps(document))
    for form in WRITERS:
        assert "at most 10000 are read" in faults_of(tmp_path / form)


def test_a_number_of_a_true_box_that_is_not_finite_has_no_place(tmp_path: Path) -> None:
    from packager.tasks.true_boxes import edge_fault

    assert edge_fault(TrueBox((0, 0, float("nan"), 3), 0), (10, 10)) == "a side is not finite"
