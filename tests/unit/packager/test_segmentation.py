"""The segmentation task with the real segmenter, against a plain loop over pixels; and masks that are refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import jaccard_score

from contract.errors import ConfigError, ManifestError
from contract.manifest import Resize, Task
from contract.profile import DelegateName
from contract.results import ClassMapDecoding, SegmentationDecoding
from contract.tensor import DType, Layout
from contract.vision import prepare_image
from packager.bootstrap import drop_interval, point_estimate
from packager.images import ImageFile, read_indices
from packager.preprocess import Fitting
from packager.runtime.interpreter import LoadedModel
from packager.tasks.kind import DataRequest, Loaded, parse_options
from packager.tasks.masks import MaskRules, load_masked_images
from packager.tasks.segmentation import KIND, Segmentation
from tests.support.packager_builders import evaluate
from tests.support.vision_folders import pictures_of, write_images, write_labels, write_masks
from tests.support.vision_models import SEGMENTER, SEGMENTER_SOURCE, segmenter_with_argmax, spec
from tests.support.vision_shapes import LABELS, SIZE

NAMES = ("nothing", *LABELS)
PICTURES = pictures_of(30)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("segmentation")
    write_masks(made / "evaluation", PICTURES)
    write_masks(made / "photos", pictures_of(12, 400, height=60, width=96))
    write_images(made / "calibration", pictures_of(5, 900))
    write_labels(made / "labels.txt", NAMES)
    return made


def load(folder: Path, evaluation: str | Path = "evaluation", **changes: Any) -> Loaded:
    options = changes.pop("options", {})
    request = DataRequest(
        source=SEGMENTER_SOURCE,
        evaluation=folder / evaluation,
        calibration=folder / "calibration",
        labels=folder / "labels.txt",
        mean=(0.0,),
        std=(255.0,),
        fitting=Fitting(),
        options=parse_options(KIND, options),
        folder=folder,
    )
    return KIND.load(replace(request, **changes))


def task_of(loaded: Loaded) -> Segmentation:
    assert isinstance(loaded.task, Segmentation)
    return loaded.task


def run(model: bytes, task: Segmentation) -> Any:
    return evaluate(LoadedModel(model, DelegateName.XNNPACK), task, lambda _: None)


def test_the_segmenter_is_measured_as_a_plain_loop_over_pixels_measures_it(folder: Path) -> None:
    loaded = load(folder)
    task = task_of(loaded)
    found = run(SEGMENTER.read_bytes(), task)

    model = LoadedModel(SEGMENTER.read_bytes(), DelegateName.XNNPACK)
    shared, either = dict.fromkeys(range(4), 0), dict.fromkeys(range(4), 0)
    for picture in PICTURES:
        (scores,) = model.run([prepare_image(picture.pixels, task.samples.preprocessing)])
        for y in range(SIZE):
            for x in range(SIZE):
                seen, true = int(scores[0, y // 2, x // 2].argmax()), int(picture.mask[y, x])
                for kind in {seen, true}:
                    either[kind] += 1
                    shared[kind] += seen == true
    expected = [shared[kind] / either[kind] for kind in range(4)]

    assert found.classes == pytest.approx(expected, abs=1e-12)
    assert found.value == pytest.approx(np.mean(expected), abs=1e-12)
    assert 0.7 < found.value < 1
    assert task.classes == NAMES
    assert loaded.presentation.task is Task.SEGMENTATION
    assert loaded.presentation.decoding == SegmentationDecoding(layout=Layout.NHWC)
    assert np.isinf(found.margin).all()
    assert len(loaded.calibration or ()) == 5


def test_mean_iou_is_scikit_learns_of_all_pixels(folder: Path) -> None:
    loaded = load(folder)
    task = task_of(loaded)
    model = LoadedModel(SEGMENTER.read_bytes(), DelegateName.XNNPACK)
    (outputs,) = model.run(task.inputs(range(len(task))))
    seen = outputs.argmax(axis=3).repeat(2, axis=1).repeat(2, axis=2).ravel()
    true = np.stack([picture.mask for picture in PICTURES]).ravel()

    scores = task.score([outputs], range(len(task)))

    assert point_estimate(task, scores) == pytest.approx(
        jaccard_score(true, seen, average="macro"), abs=1e-12
    )
    assert task.per_class(scores) == pytest.approx(jaccard_score(true, seen, average=None), abs=1e-12)


@pytest.mark.parametrize("resize", [Resize.STRETCH, Resize.LETTERBOX])
def test_masks_are_compared_in_their_own_size(folder: Path, resize: Resize) -> None:
    task = task_of(load(folder, "photos", fitting=Fitting(resize)))
    found = run(SEGMENTER.read_bytes(), task)
    assert found.value > 0.5
    # Every pixel that counts is in the truth of one class.
    assert task.score([np.full((1, 24, 24, 4), np.nan)], [0])[0].sum() == 60 * 96


def test_what_a_crop_cuts_off_counts_as_wrong(folder: Path) -> None:
    values = [
        run(SEGMENTER.read_bytes(), task_of(load(folder, "photos", fitting=Fitting(resize)))).value
        for resize in (Resize.CENTER_CROP, Resize.LETTERBOX)
    ]
    assert 0.1 < values[0] < values[1]


def test_a_model_that_chooses_by_itself_is_measured_alike(folder: Path) -> None:
    source = replace(SEGMENTER_SOURCE, outputs=(spec("classes", (1, 24, 24), DType.INT64),))
    loaded = load(folder, source=source)
    chosen = run(segmenter_with_argmax(), task_of(loaded))
    assert loaded.presentation.decoding == ClassMapDecoding()
    assert chosen.classes == run(SEGMENTER.read_bytes(), task_of(load(folder))).classes


def test_draws_count_pixels_before_they_divide(folder: Path) -> None:
    task = task_of(load(folder))
    scores = run(SEGMENTER.read_bytes(), task).scores
    counts = np.random.default_rng(0).multinomial(30, np.full(30, 1 / 30), 4).astype(np.float64)
    expected = []
    for row in counts.astype(int):
        sums = np.repeat(scores, row, axis=0).sum(axis=0)
        expected.append((sums[0] / sums[1]).mean())
    assert task.aggregate(scores, counts).tolist() == pytest.approx(expected, abs=1e-12)
    low, high = drop_interval(task, scores * [[[0.9], [1.0]]], scores)
    assert 0 < low <= high < 0.2


def test_ignored_pixels_count_neither_way_and_absent_classes_are_told(folder: Path, tmp_path: Path) -> None:
    write_masks(tmp_path, PICTURES[:2])
    mask = np.full((SIZE, SIZE), 255, np.uint8)
    mask[:2] = 1
    Image.fromarray(mask).save(tmp_path / "masks" / "0000.png")
    Image.fromarray(np.full((SIZE, SIZE), 255, np.uint8)).save(tmp_path / "masks" / "0001.png")
    task = task_of(load(folder, evaluation=tmp_path))
    outputs = np.zeros((2, 24, 24, 4), np.float32)
    outputs[:, :, :12, 1] = 1  # the left half is right

    scores = task.score([outputs], [0, 1])

    assert scores[0].tolist() == [[0, 48, 0, 0], [48, 96, 0, 0]]
    assert not scores[1].any()
    assert task.absent == ("nothing", "disc", "triangle")
    assert task.per_class(scores).tolist() == pytest.approx([np.nan, 0.5, np.nan, np.nan], nan_ok=True)
    assert task.aggregate(scores, np.array([[1.0, 1.0], [0.0, 2.0]])).tolist() == [0.5, 0.0]
    assert task.strata.tolist()[0] == 1


def test_the_digest_follows_the_masks_and_not_their_palettes(folder: Path, tmp_path: Path) -> None:
    for name in ("same", "other"):
        write_masks(tmp_path / name, PICTURES)
    plain = Image.fromarray(PICTURES[0].mask)
    plain.save(tmp_path / "same" / "masks" / "0000.png")
    Image.fromarray(PICTURES[1].mask).save(tmp_path / "other" / "masks" / "0000.png")
    first = task_of(load(folder))
    assert task_of(load(folder, evaluation=tmp_path / "same")).sha256 == first.sha256
    assert task_of(load(folder, evaluation=tmp_path / "other")).sha256 != first.sha256
    assert len(first.digests) == 30
    assert "mIoU of 4" in first.scoring
    assert first.preparation == str(first.samples.preprocessing)


def faults_of(folder: Path) -> str:
    with pytest.raises(ManifestError) as caught:
        load_masked_images(folder, (SIZE, SIZE, 3), MaskRules(4, 255))
    return " ".join([str(caught.value), *caught.value.faults])


def test_masks_that_do_not_fit_are_refused_with_their_names(tmp_path: Path) -> None:
    write_masks(tmp_path / "set", PICTURES[:4])
    masks = tmp_path / "set" / "masks"
    Image.fromarray(np.full((SIZE, SIZE), 9, np.uint8)).save(masks / "0000.png")
    Image.fromarray(np.zeros((SIZE, SIZE + 1), np.uint8)).save(masks / "0001.png")
    Image.fromarray(np.arange(SIZE * SIZE, dtype=np.uint8).reshape(SIZE, SIZE)).save(masks / "0002.png")
    told = faults_of(tmp_path / "set")
    assert "mask masks/0000.png has 9, classes are 0 to 3 and 255 is ignored" in told
    assert "mask masks/0001.png has 49 x 48 pixels, its image 0001.png has 48 x 48" in told
    assert "mask masks/0002.png has 4, 5, 6, 7, 8 and more" in told

    Image.fromarray(PICTURES[0].pixels).save(masks / "0000.png")
    assert "has colour mode RGB, its pixels are no class numbers" in faults_of(tmp_path / "set")
    (masks / "0000.png").write_bytes(b"no image")
    assert "is no image that can be decoded" in faults_of(tmp_path / "set")
    (masks / "0000.png").rename(masks / "0009.png")
    assert "image 0000.png has no masks/0000.png" in faults_of(tmp_path / "set")
    assert "masks/0009.png has no image" in faults_of(tmp_path / "set")


def test_sets_without_masks_or_without_anything_that_counts_are_refused(tmp_path: Path) -> None:
    assert "has no folder images" in faults_of(tmp_path)
    (tmp_path / "images").mkdir()
    assert "has no folder masks" in faults_of(tmp_path)
    (tmp_path / "masks").mkdir()
    assert "there is no image in images/" in faults_of(tmp_path)
    write_images(tmp_path / "images", PICTURES[:1])
    Image.fromarray(np.full((SIZE, SIZE), 255, np.uint8)).save(tmp_path / "masks" / "0000.png")
    assert "no mask has a pixel that counts" in faults_of(tmp_path)
    with pytest.raises(ManifestError, match="the masks of 1 images take 0 MiB"):
        load_masked_images(tmp_path, (SIZE, SIZE, 3), MaskRules(4, 255), max_bytes=10)


def test_a_black_and_white_mask_has_classes_0_and_1(tmp_path: Path) -> None:
    Image.fromarray(np.eye(4, dtype=np.uint8) * 255).convert("1").save(tmp_path / "mask.png")
    values = read_indices(ImageFile(tmp_path / "mask.png", "mask.png", ""), "evaluation")
    assert values.tolist() == np.eye(4).tolist()


def border(**changes: Any) -> str:
    return " ".join(KIND.borders(replace(SEGMENTER_SOURCE, **changes), parse_options(KIND, {})))


def test_models_that_are_no_segmenters_are_named_with_what_does_not_fit() -> None:
    scores = SEGMENTER_SOURCE.outputs[0]
    assert border() == ""
    assert "2 outputs, one is possible" in border(outputs=(scores, scores))
    assert "has shape (1, 10), not (1, H, W, classes)" in border(outputs=(spec("a", (1, 10)),))
    assert "is int32, scores must be float32" in border(outputs=(spec("a", (1, 4, 4, 3), DType.INT32),))
    assert border(outputs=(spec("a", (1, 4, 4, 1), DType.INT32),)) == ""


PLANS: list[tuple[tuple[int, ...], bool, dict[str, str], Layout | str]] = [
    ((1, 24, 24, 4), True, {}, Layout.NHWC),
    ((1, 4, 24, 24), True, {}, Layout.NCHW),
    ((1, 48, 48, 7), False, {}, Layout.NHWC),
    ((1, 7, 48, 48), False, {}, Layout.NCHW),
    ((1, 24, 24, 7), False, {}, "it is not clear where"),
    ((1, 4, 24, 4), True, {}, "it is not clear where"),
    ((1, 24, 24, 7), False, {"layout": "NHWC"}, Layout.NHWC),
    ((1, 24, 24, 7), True, {"layout": "NHWC"}, "does not fit"),
    ((1, 24, 24), False, {}, "does not say how many classes"),
]


@pytest.mark.parametrize(("shape", "has_labels", "options", "expected"), PLANS)
def test_where_the_scores_are_follows_from_labels_and_shapes_or_is_asked_for(
    folder: Path, shape: tuple[int, ...], options: dict[str, str], expected: Layout | str, *, has_labels: bool
) -> None:
    changes: dict[str, Any] = {
        "source": replace(SEGMENTER_SOURCE, outputs=(spec("scores", shape),)),
        "labels": folder / "labels.txt" if has_labels else None,
        "options": options,
    }
    if not isinstance(expected, Layout):
        with pytest.raises((ConfigError, ManifestError), match=expected):
            load(folder, **changes)
        return
    decoding = load(folder, **changes).presentation.decoding
    assert decoding == SegmentationDecoding(layout=expected)
