"""A detector, crops and a classifier on real workers, asked like a model."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from contract.errors import DeadlineError, IncompatibleError, InputError, NotFoundError
from edge_agent import connect
from edge_agent.inference.pool import Pool
from edge_agent.pipelines.settings import CombinedSettings, PipelineSettings, StageSettings
from tests.support.inference_slots import images_of, wait_until
from tests.support.pipeline_slots import a_detector_slot, a_digits_slot, a_scene, put, put_box, served

LOOK = StageSettings(model="reader", crop="boxes", min_score=0.5, top=3)


def doorbell(stage: StageSettings = LOOK, *, deadline_s: float = 5.0) -> CombinedSettings:
    stages = (StageSettings(model="finder"), stage)
    return CombinedSettings(
        pipelines=(PipelineSettings(name="doorbell", stages=stages, deadline_s=deadline_s),)
    )


def test_each_box_gets_its_class(pool: Pool, run_dir: Path, tmp_path: Path) -> None:
    put(pool, a_detector_slot(tmp_path / "finder"), "finder")
    put(pool, a_digits_slot(tmp_path / "reader", model="reader"), "reader")
    scene = a_scene([(7, 8, 6), (3, 18, 6), (0, 12, 20)], scores=(230, 250, 240))
    put_box(scene, 3, (20, 16, 28, 24), 100)  # below min_score
    with served(doorbell(), run_dir), connect(run_dir).model("doorbell") as model:
        answer = model.infer(scene)
        same_in_tensor = model.infer(scene[np.newaxis, :, :, np.newaxis])
    with connect(run_dir).model("reader") as reader:
        alone = reader.infer(images_of(3)[0])

    assert [found.label for found in answer.classes] == ["3", "0", "7"]
    assert answer.version == "finder@1.0.0,reader@1.0.0"
    outputs = answer.outputs
    assert (outputs["count"].tolist(), outputs["skipped"].tolist()) == ([3], [0])
    assert outputs["crop_index"].tolist() == [[3, 0, 7]]
    assert outputs["scores"][0].tolist() == pytest.approx([250 / 255, 240 / 255, 230 / 255])
    assert outputs["boxes"][0, 0].tolist() == pytest.approx([18 / 30, 6 / 30, 26 / 30, 14 / 30])
    assert outputs["crops.probabilities"].shape == (3, 1, 10)
    assert np.array_equal(outputs["crops.probabilities"][0], alone.outputs["probabilities"])
    assert same_in_tensor.classes == answer.classes


def test_an_image_without_anything_in_it_gives_no_box(pool: Pool, run_dir: Path, tmp_path: Path) -> None:
    put(pool, a_detector_slot(tmp_path / "finder"), "finder")
    put(pool, a_digits_slot(tmp_path / "reader", model="reader"), "reader")
    with served(doorbell(), run_dir), connect(run_dir).model("doorbell") as model:
        answer = model.infer(np.zeros((30, 30), np.uint8))
        with pytest.raises(InputError):
            model.infer(np.zeros((1, 2), np.float32))
    assert (answer.classes, answer.outputs["count"].tolist()) == ((), [0])


def test_a_missing_model_is_named_until_it_is_there(pool: Pool, run_dir: Path, tmp_path: Path) -> None:
    put(pool, a_detector_slot(tmp_path / "finder"), "finder")
    with served(doorbell(), run_dir), connect(run_dir) as agent:
        with pytest.raises(NotFoundError, match="doorbell needs 'reader', not deployed on this device"):
            agent.model("doorbell")
        put(pool, a_digits_slot(tmp_path / "reader", model="reader"), "reader")
        model = agent.model("doorbell", wait_s=10)
        assert model.infer(a_scene([(7, 8, 6)])).label == "7"
        worker = pool.active("reader")
        assert worker is not None
        pool.discard(worker)
        with pytest.raises(NotFoundError, match="'reader'"):
            model.infer(a_scene([(7, 8, 6)]), deadline_s=1.0)


def test_models_that_do_not_fit_are_refused_with_the_reason(
    pool: Pool, run_dir: Path, tmp_path: Path
) -> None:
    put(pool, a_digits_slot(tmp_path / "finder", model="finder"), "finder")
    put(pool, a_digits_slot(tmp_path / "reader", model="reader"), "reader")
    with (
        served(doorbell(), run_dir),
        pytest.raises(IncompatibleError, match="do not fit each other") as caught,
    ):
        connect(run_dir).model("doorbell")
    assert "finder gives no boxes" in caught.value.summary()


def test_a_pipeline_has_one_deadline_for_all_crops(pool: Pool, run_dir: Path, tmp_path: Path) -> None:
    put(pool, a_detector_slot(tmp_path / "finder"), "finder")
    put(pool, a_digits_slot(tmp_path / "reader", model="reader"), "reader")
    with (
        served(doorbell(deadline_s=1e-6), run_dir),
        connect(run_dir).model("doorbell") as model,
        pytest.raises(DeadlineError, match="doorbell had no time left for"),
    ):
        model.infer(a_scene([(7, 8, 6)]))


def test_a_model_called_like_a_pipeline_is_not_started(run_dir: Path, tmp_path: Path) -> None:
    pool = Pool(run_dir, lambda _: None, reserved=frozenset({"doorbell"}))
    try:
        with pytest.raises(IncompatibleError, match="name of a pipeline"):
            put(pool, a_digits_slot(tmp_path / "slot", model="doorbell"), "doorbell")
    finally:
        pool.close()


def test_models_are_switched_under_load_and_no_request_fails(
    pool: Pool, run_dir: Path, tmp_path: Path
) -> None:
    readers = {
        version: a_digits_slot(tmp_path / version, model="reader", version=version)
        for version in ("1.0.0", "1.1.0")
    }
    finders = {
        version: a_detector_slot(tmp_path / f"f{version}", version=version) for version in ("1.0.0", "2.0.0")
    }
    put(pool, finders["1.0.0"], "finder")
    put(pool, readers["1.0.0"], "reader")
    scene = a_scene([(7, 8, 6), (3, 18, 6)])
    versions: dict[str, int] = {}
    failures: list[object] = []
    stop = threading.Event()

    def ask() -> None:
        with connect(run_dir).model("doorbell", wait_s=10) as model:
            while not stop.is_set():
                try:
                    answer = model.infer(scene)
                except Exception as error:  # noqa: BLE001 - looked at below
                    failures.append(error)
                    return
                if [found.label for found in answer.classes] != ["7", "3"]:
                    failures.append(answer)
                versions[answer.version] = versions.get(answer.version, 0) + 1

    with served(doorbell(), run_dir):
        threads = [threading.Thread(target=ask) for _ in range(2)]
        for thread in threads:
            thread.start()
        for finder, reader in (
            ("1.0.0", "1.1.0"),
            ("2.0.0", "1.1.0"),
            ("2.0.0", "1.0.0"),
            ("1.0.0", "1.0.0"),
        ):
            put(pool, finders[finder], "finder", finder)
            put(pool, readers[reader], "reader", reader)
            name = f"finder@{finder},reader@{reader}"
            before = versions.get(name, 0)
            wait_until(lambda: bool(failures) or versions.get(name, 0) > before + 20, f"answers of {name}")  # noqa: B023
        stop.set()
        for thread in threads:
            thread.join(10)
    assert failures == []
    assert set(versions) >= {"finder@2.0.0,reader@1.1.0", "finder@1.0.0,reader@1.1.0"}
