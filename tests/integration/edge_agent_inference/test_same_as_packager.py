"""What the packager measured is what a device answers: the same image files, through both, to the last bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from contract.errors import InputError
from contract.manifest import ImagePreprocessing, Resize
from contract.profile import DelegateName
from edge_agent import connect
from edge_agent.inference.pool import Pool
from packager.border.rewrite import dress
from packager.preprocess import Fitting, Geometry, plan_preprocessing, to_inputs
from packager.runtime.interpreter import LoadedModel
from packager.tasks.classification import classified_images
from packager.tasks.labelled_images import load_labelled_images
from tests.support.inference_slots import DIGITS, START_S, a_slot, images_of, manifest_of, npz_of, serve
from tests.support.packager_static import RECIPES, SOURCE, a_recipe, bare, some_pixels

SHAPE = (8, 8, 1)
SIDES = (9, 17, 40, 129, 1080)
FLOAT_MODEL = DIGITS / "digits-1.0.0.tflite"


def write_images(folder: Path) -> list[Path]:
    """Two photos of each digit in colour, of ten sizes: small, large, wide and tall."""
    written: list[Path] = []
    random = np.random.default_rng(7)
    for digit in range(10):
        (folder / str(digit)).mkdir(parents=True)
        for number, pixels in enumerate(images_of(digit, 2)):
            wide, tall = 5 + 31 * digit, 7 + 23 * (9 - digit)
            size = (wide, tall) if number else (tall, wide)
            coloured = np.stack([pixels, pixels // 2, random.integers(0, 64, pixels.shape, np.uint8)], axis=2)
            path = folder / str(digit) / f"{number}.png"
            Image.fromarray(coloured).resize(size).save(path)
            written.append(path)
    return written


@pytest.mark.parametrize("resize", list(Resize))
def test_packager_and_worker_give_the_same_scores_for_photos_of_any_size(
    pool: Pool, run_dir: Path, tmp_path: Path, resize: Resize
) -> None:
    paths = write_images(tmp_path / "images")
    recipe: ImagePreprocessing = plan_preprocessing(
        Geometry(*SHAPE),
        (3.0,),
        (200.0,),
        fitting=Fitting(resize, pad=90 if resize is Resize.LETTERBOX else 0),
    )
    samples = load_labelled_images(tmp_path / "images", SHAPE, 10, (), recipe)
    task = classified_images(samples, recipe, 10)
    content = FLOAT_MODEL.read_bytes()
    (measured,) = LoadedModel(content, DelegateName.XNNPACK).run(task.inputs(range(len(task))))

    slot = a_slot(tmp_path / "slot", content=content, variant={"name": "float32"}, preprocessing=recipe)
    serve(pool, slot=slot)
    with connect(run_dir).model("digits") as model:
        answers = [model.infer(np.asarray(Image.open(path))) for path in paths]
        of_files = [model.infer(path) for path in paths]

    answered = np.concatenate([answer.outputs["probabilities"] for answer in answers])
    assert np.array_equal(answered, measured)
    assert np.array_equal(np.concatenate([answer.outputs["probabilities"] for answer in of_files]), measured)
    assert [answer.index for answer in answers] == measured.argmax(axis=1).tolist()
    assert len(set(measured.argmax(axis=1).tolist())) > 1


@pytest.mark.parametrize("resize", list(Resize))
def test_packager_and_worker_give_the_same_scores_for_jpegs_that_are_decoded_smaller(
    pool: Pool, run_dir: Path, tmp_path: Path, resize: Resize
) -> None:
    paths: list[Path] = []
    for digit in range(10):
        (tmp_path / "images" / str(digit)).mkdir(parents=True)
        for wide in SIDES if digit % 3 == 0 else SIDES[:2]:
            path = tmp_path / "images" / str(digit) / f"{wide:04}.jpg"
            tall = wide * (9 + digit) // 12
            photo = Image.fromarray(images_of(digit, 1)[0]).resize((wide, tall)).convert("RGB")
            photo.save(path, quality=80, progressive=digit % 2 == 0)
            paths.append(path)
    recipe = plan_preprocessing(Geometry(*SHAPE), (3.0,), (200.0,), fitting=Fitting(resize, pad=0))
    samples = load_labelled_images(tmp_path / "images", SHAPE, 10, (), recipe)
    task = classified_images(samples, recipe, 10)
    content = FLOAT_MODEL.read_bytes()
    (measured,) = LoadedModel(content, DelegateName.XNNPACK).run(task.inputs(range(len(task))))

    slot = a_slot(tmp_path / "slot", content=content, variant={"name": "float32"}, preprocessing=recipe)
    serve(pool, slot=slot)
    with connect(run_dir).model("digits") as model:
        answers = [model.infer(path.read_bytes()) for path in paths]
        full = model.infer(np.asarray(Image.open(paths[SIDES.index(1080)])))

    answered = np.concatenate([answer.outputs["probabilities"] for answer in answers])
    assert np.array_equal(answered, measured)
    assert [answer.index for answer in answers] == measured.argmax(axis=1).tolist()
    # The one that was decoded in full is near, and not the same: else nothing was decoded smaller.
    difference = np.abs(full.outputs["probabilities"] - answered[SIDES.index(1080)]).max()
    assert 0 < difference < 0.3


@pytest.mark.parametrize("name", RECIPES)
def test_a_static_model_that_takes_pixels_answers_images_and_real_values_as_it_was_measured(
    pool: Pool, run_dir: Path, tmp_path: Path, name: str
) -> None:
    recipe, pixels = a_recipe(name), some_pixels(30)
    real, content = to_inputs(pixels, recipe), dress(bare(name), recipe)
    own = manifest_of().golden
    assert own is not None
    (measured,) = LoadedModel(content, DelegateName.XNNPACK, recipe).run([real])
    golden = {
        "input.image": real[: own.samples],
        "expected.static-int8.probabilities": measured[: own.samples],
    }
    slot = a_slot(
        tmp_path / "slot",
        content=content,
        golden=npz_of(golden),
        inputs=SOURCE.inputs,
        preprocessing=recipe,
    )
    worker = serve(pool, slot=slot)
    with connect(run_dir).model("digits") as model:
        of_images = [model.infer(image).outputs["probabilities"] for image in pixels]
        of_values = [model.infer(values[np.newaxis]).outputs["probabilities"] for values in real]
        with pytest.raises(InputError, match="not finite"):
            model.infer(np.full((1, 8, 8, 3), np.nan, np.float32))
    assert np.array_equal(np.concatenate(of_images), measured)
    assert np.array_equal(np.concatenate(of_values), measured)
    assert len(np.unique(measured.argmax(axis=1))) > 1
    assert pool.self_test(worker, START_S).worst_abs_error == 0.0
