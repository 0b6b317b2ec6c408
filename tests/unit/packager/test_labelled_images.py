"""Labels, and images in a folder per class."""

from __future__ import annotations

from pathlib import Path

import pytest

from contract.errors import ManifestError
from packager.tasks.labelled_images import load_labelled_images, load_labels
from tests.support.packager_builders import write_image

SHAPE = (8, 8, 1)


def test_labels_are_read_in_order_without_blanks_around(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("cat \n dog\r\n")
    assert load_labels(tmp_path / "labels.txt", 2) == ("cat", "dog")


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (b"cat\n", "1 lines, the model has 2 classes"),
        (b"cat\n\n", "line 2 is empty"),
        (b"cat\ncat\n", "'cat' stands there twice"),
        (b"\xff\xfe", "is no UTF-8 text"),
    ],
)
def test_labels_that_do_not_fit_are_refused(tmp_path: Path, content: bytes, wanted: str) -> None:
    (tmp_path / "labels.txt").write_bytes(content)
    with pytest.raises(ManifestError) as refused:
        load_labels(tmp_path / "labels.txt", 2)
    assert wanted in refused.value.summary()


def test_a_missing_labels_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"labels.txt cannot be read: No such file"):
        load_labels(tmp_path / "labels.txt", 2)


def test_class_folders_become_the_labels_positions(tmp_path: Path) -> None:
    write_image(tmp_path / "dog" / "1.png")
    write_image(tmp_path / "cat" / "1.png")
    found = load_labelled_images(tmp_path, SHAPE, 3, ("dog", "bird", "cat"))
    assert found.classes.tolist() == [2, 0]
    assert found.labels == ("dog", "bird", "cat")


def test_without_labels_class_folders_are_numbers(tmp_path: Path) -> None:
    write_image(tmp_path / "10" / "1.png")
    write_image(tmp_path / "2" / "1.png")
    found = load_labelled_images(tmp_path, SHAPE, 11, ())
    assert found.classes.tolist() == [10, 2]
    assert found.labels == ()


def test_an_image_outside_a_class_folder_is_refused_because_its_class_is_unknown(tmp_path: Path) -> None:
    write_image(tmp_path / "1.png")
    with pytest.raises(ManifestError, match=r"1.png stands outside a class folder"):
        load_labelled_images(tmp_path, SHAPE, 10, ())


def test_a_class_folder_that_no_label_names_is_refused_with_the_nearest_label(tmp_path: Path) -> None:
    write_image(tmp_path / "dgo" / "1.png")
    with pytest.raises(ManifestError, match="'dgo' is not in the labels") as refused:
        load_labelled_images(tmp_path, SHAPE, 2, ("cat", "dog"))
    assert "'dog'" in refused.value.remedy


def test_a_class_folder_that_is_no_class_number_is_refused_and_told_of_labels(tmp_path: Path) -> None:
    write_image(tmp_path / "10" / "1.png")
    with pytest.raises(ManifestError, match="'10' is not a class number from 0 to 9") as refused:
        load_labelled_images(tmp_path, SHAPE, 10, ())
    assert "--labels" in refused.value.remedy
