"""Detectors and segmenters from the command line to an application on a device: the same boxes, the same maps."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pytest
from click.testing import CliRunner, Result

from contract.bundle import BundleReader
from contract.decoding import Decoder
from contract.manifest import Manifest, Resize, serialize_manifest
from contract.profile import DelegateName
from contract.results import ClassMapDecoding, PostprocessedDecoding, SsdDecoding
from contract.vision import prepare_image
from edge_agent import connect
from edge_agent.inference.pool import WorkerSpec
from packager.cli import main
from packager.evaluate import SettledModel
from packager.runtime.interpreter import LoadedModel
from tests.support.inference_slots import START_S, a_pool, short_folder
from tests.support.vision_folders import pictures_of, write_coco, write_images, write_labels, write_masks
from tests.support.vision_models import (
    DETECTOR,
    SEGMENTER,
    detector_with_postprocessing,
    segmenter_with_argmax,
    ssd_options,
)
from tests.support.vision_shapes import LABELS, Shapes

PHOTOS = pictures_of(24, 700, height=60, width=84)
SEGMENTS = ("nothing", *LABELS)


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("vision")
    write_coco(made / "boxes", PHOTOS)
    write_masks(made / "masks", PHOTOS)
    write_images(made / "calibration", pictures_of(30, 90_000))
    write_labels(made / "labels.txt")
    write_labels(made / "segments.txt", SEGMENTS)
    (made / "ready.tflite").write_bytes(detector_with_postprocessing())
    (made / "argmax.tflite").write_bytes(segmenter_with_argmax())
    return made


def run(folder: Path, command: list[str]) -> Result:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return CliRunner().invoke(main, command)


def pack(folder: Path, model: Path | str, task: str, *arguments: str) -> tuple[dict[str, Any], Path]:
    """The command's JSON answer and the bundle."""
    name = Path(model).stem
    is_detector = task == "detection"
    command = [
        "pack", str(model), "--name", name, "--version", "1.0.0",
        "--profile", "generic-x86-64", "--task", task, "--calibration", "calibration", "--resize", "letterbox",
        "--evaluation", "boxes" if is_detector else "masks", "--labels",
        "labels.txt" if is_detector else "segments.txt",
        "--min-samples", "10", "--max-drop", "0.12", "--recovery-trials", "0", "--json", *arguments,
    ]  # fmt: skip
    done = run(folder, command)
    assert done.exit_code == 0, done.output
    assert "classifi" not in done.stderr + done.stdout
    return json.loads(done.stdout), folder / "dist" / f"{name}-1.0.0-generic-x86-64.bundle"


def options_of(options: dict[str, Any]) -> list[str]:
    return [part for key, value in options.items() for part in ("--task-option", f"{key}={value}")]


def unpack(bundle: Path, slot: Path, variant: str) -> tuple[Manifest, bytes]:
    """What an agent would have on its disk, with this variant chosen; and its model file."""
    with BundleReader(bundle) as reader:
        manifest = reader.manifest
        chosen = next(one for one in manifest.variants if one.name == variant)
        assert manifest.golden is not None
        (slot / "artifacts").mkdir(parents=True)
        for digest in (chosen.artifact.sha256, manifest.golden.artifact.sha256):
            (slot / "artifacts" / digest).write_bytes(b"".join(reader.artifact_blocks(digest)))
    (slot / "manifest.json").write_bytes(serialize_manifest(manifest))
    (slot / "variant").write_bytes(msgspec.json.encode({"name": variant}))
    return manifest, (slot / "artifacts" / chosen.artifact.sha256).read_bytes()


def answers(manifest: Manifest, slot: Path, photos: list[Shapes]) -> list[dict[str, npt.NDArray[np.float32]]]:
    """Of a real worker that passed the self-test, to an application with photos."""
    with short_folder() as run_dir, a_pool(run_dir) as (pool, crashes):
        spec = WorkerSpec(model=manifest.model, version=manifest.version, slot_dir=slot, threads=1)
        handle = pool.start_candidate(spec, START_S)
        pool.self_test(handle, START_S)
        pool.activate(handle)
        with connect(run_dir).model(manifest.model) as model:
            found = [model.infer(photo.pixels).outputs for photo in photos]
        assert crashes == []
    return found


def measured(manifest: Manifest, content: bytes, photo: Shapes) -> list[npt.NDArray[np.float32]]:
    """What the packager's evaluation sees."""
    recipe, names = manifest.preprocessing, [spec.name for spec in manifest.outputs]
    assert recipe is not None
    assert manifest.decoding is not None
    model = SettledModel(LoadedModel(content, DelegateName.XNNPACK), manifest.decoding, names)
    outputs = model.run([prepare_image(photo.pixels, recipe)])
    shapes = [(spec.name, spec.shape) for spec in manifest.outputs]
    sized = [values.reshape(shape) for values, (_, shape) in zip(outputs, shapes, strict=True)]
    return Decoder(manifest.decoding, shapes, recipe).decode(sized, photo.pixels.shape[:2])


def check_same(
    bundle: Path, slot: Path, variant: str
) -> tuple[Manifest, list[dict[str, npt.NDArray[np.float32]]]]:
    """Eight photos through both; the answers."""
    manifest, content = unpack(bundle, slot, variant)
    found = answers(manifest, slot, PHOTOS[:8])
    for photo, answer in zip(PHOTOS, found, strict=False):
        for values, wanted in zip(answer.values(), measured(manifest, content, photo), strict=True):
            assert np.array_equal(values, wanted)
    return manifest, found


def test_a_packed_detector_answers_on_a_device_with_the_boxes_that_were_measured(
    folder: Path, tmp_path: Path
) -> None:
    result, bundle = pack(folder, DETECTOR, "detection", *options_of(ssd_options(folder)))

    assert result["metric"] == "mAP"
    check_same(bundle, tmp_path / "int8", "static-int8")
    manifest, found = check_same(bundle, tmp_path / "float", "float32")
    assert isinstance(manifest.decoding, SsdDecoding)
    assert manifest.preprocessing is not None
    assert manifest.preprocessing.resize is Resize.LETTERBOX
    values = {variant.name: variant.metrics.value for variant in manifest.variants}
    assert values["float32"] > 0.4
    assert values["static-int8"] != values["float32"]
    assert sum(boxes["count"][0] for boxes in found) >= 8


def test_a_detector_with_its_own_postprocessing_is_packed_and_answers_alike(
    folder: Path, tmp_path: Path
) -> None:
    _, bundle = pack(folder, "ready.tflite", "detection", "--task-option", "min_score=0.05")

    manifest, _ = check_same(bundle, tmp_path / "slot", "float32")
    assert isinstance(manifest.decoding, PostprocessedDecoding)
    assert manifest.golden is not None
    assert manifest.golden.tolerance["float32"].max_changed > 0


@pytest.mark.parametrize(("model", "kind"), [(SEGMENTER, None), ("argmax.tflite", ClassMapDecoding)])
def test_a_packed_segmenter_answers_on_a_device_with_the_map_that_was_measured(
    folder: Path, tmp_path: Path, model: Path | str, kind: type | None
) -> None:
    result, bundle = pack(folder, model, "segmentation")

    assert result["metric"] == "mIoU"
    manifest, answered = check_same(bundle, tmp_path / "slot", "float32" if kind else "static-int8")
    found = [answer["classes"] for answer in answered]
    assert kind is None or isinstance(manifest.decoding, kind)
    assert all(set(np.unique(values)) <= {0, 1, 2, 3} for values in found)
    assert found[0].shape == (1, 24, 24)
    assert max(values.max() for values in found) > 0


def test_a_dry_run_says_how_the_outputs_are_read(folder: Path) -> None:
    arguments = options_of({key: value for key, value in ssd_options(folder).items() if key != "decoding"})
    command = [
        "pack", str(DETECTOR), "--name", "shapes", "--version", "1.0.0",
        "--profile", "generic-x86-64", "--task", "detection", "--calibration", "calibration", "--dry-run",
        "--resize", "letterbox", "--evaluation", "boxes", "--labels", "labels.txt", "--min-samples", "10", *arguments,
    ]  # fmt: skip
    done = run(folder, command)
    assert done.exit_code == 0, done.output
    assert "outputs are read as ssd" in done.stderr
    assert "the first score is of no class, as there are 3" in done.stderr
    assert "mAP over 24 samples" in done.stdout
    assert "classifi" not in done.stdout + done.stderr


def test_a_detector_that_is_no_classifier_is_told_what_it_could_be(folder: Path) -> None:
    command = [
        "pack", str(DETECTOR), "--name", "shapes", "--version", "1.0.0",
        "--profile", "generic-x86-64", "--calibration", "calibration", "--evaluation", "boxes",
    ]  # fmt: skip
    done = run(folder, command)
    assert done.exit_code == 1
    assert "does not fit task classification" in done.stderr
