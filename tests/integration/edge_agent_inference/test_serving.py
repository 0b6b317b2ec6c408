"""Applications ask, and get the answer or an error that says what is wrong; real pool, workers and LiteRT."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from contract.errors import (
    InferenceError,
    InputError,
)
from contract.manifest import ClassificationPostprocessing, Color, ImagePreprocessing
from contract.tensor import DType, TensorSpec
from edge_agent import connect
from edge_agent.inference.client import Model
from edge_agent.inference.pool import Pool
from edge_agent.inference.protocol import ScoredClass
from tests.support.inference_slots import (
    DIGITS,
    START_S,
    VARIANT,
    a_float_slot,
    a_pool,
    a_slot,
    children,
    images_of,
    serve,
    short_folder,
    spec_of,
    tensor_of,
)


@pytest.fixture
def model(pool: Pool, run_dir: Path) -> Iterator[Model]:
    serve(pool)
    with connect(run_dir).model("digits") as opened:
        yield opened


@pytest.fixture(scope="module")
def shared_run_dir() -> Iterator[Path]:
    """Where one worker of digits 1.0.0 serves all tests that only ask."""
    with short_folder() as folder, a_pool(folder) as (pool, _):
        serve(pool)
        yield folder


@pytest.fixture
def asked(shared_run_dir: Path) -> Iterator[Model]:
    with connect(shared_run_dir).model("digits") as opened:
        yield opened


def test_an_image_is_answered_with_label_score_and_version(asked: Model) -> None:
    answer = asked.infer(images_of(7)[0])

    assert (answer.label, answer.index) == ("7", 7)
    assert answer.score is not None
    assert answer.score > 0.9
    assert (answer.version, answer.variant) == ("1.0.0", VARIANT)
    assert 0 < answer.latency_s < 1
    assert len(answer.classes) == 3
    assert answer.outputs["probabilities"].shape == (1, 10)
    assert answer.outputs["probabilities"].argmax() == 7


def test_the_models_own_tensor_gives_the_same_answer_as_the_image(asked: Model) -> None:
    image = images_of(4)[0]

    assert np.array_equal(
        asked.infer(tensor_of(image)).outputs["probabilities"], asked.infer(image).outputs["probabilities"]
    )
    assert asked.infer({"image": tensor_of(image)}).label == "4"


def test_pythons_own_numbers_are_answered_as_the_models_own_tensor_is(asked: Model) -> None:
    tensor = tensor_of(images_of(4)[0])
    own = asked.infer(tensor).outputs["probabilities"]

    for what in (tensor.tolist(), tensor.astype(np.float64), {"image": tensor.tolist()}):
        assert np.array_equal(asked.infer(what).outputs["probabilities"], own)
    with pytest.raises(InputError, match="does not take") as caught:
        asked.infer(tensor.astype(np.float64) * 1e39)
    assert "beyond what a float32 holds" in caught.value.faults[0]
    assert asked.infer(tensor).label == "4"


def test_every_digit_is_told_from_the_others(asked: Model) -> None:
    answers = [asked.infer(image).label for digit in range(10) for image in images_of(digit, 5)]

    assert sum(label == str(place // 5) for place, label in enumerate(answers)) >= 49


def test_an_answer_belongs_to_the_caller(asked: Model) -> None:
    first = asked.infer(images_of(1)[0]).outputs["probabilities"]
    before = first.copy()

    asked.infer(images_of(8)[0])

    assert np.array_equal(first, before)


def test_an_image_of_another_size_and_colour_is_brought_to_the_models(asked: Model) -> None:
    small = Image.fromarray(images_of(3)[0])
    large = np.asarray(small.resize((640, 480), Image.Resampling.BILINEAR).convert("RGB"))

    answer = asked.infer(large)

    assert answer.label == "3"
    assert asked.infer(np.asarray(small)).label == "3"


def test_an_image_larger_than_the_last_one_gets_its_room(asked: Model) -> None:
    for side in (8, 300, 2000, 64):
        assert asked.infer(np.zeros((side, side), np.uint8)).index is not None


def test_a_wrong_tensor_is_refused_with_what_the_model_takes(asked: Model) -> None:
    with pytest.raises(InputError) as caught:
        asked.infer(np.zeros((1, 9, 8, 1), np.float32))

    assert "must be (1, 8, 8, 1) float32" in caught.value.summary()
    assert asked.infer(images_of(2)[0]).label == "2"


def test_a_tensor_with_nan_is_refused_by_the_worker_and_not_counted(model: Model, pool: Pool) -> None:
    with pytest.raises(InputError, match="not finite"):
        model.infer(np.full((1, 8, 8, 1), np.nan, np.float32))

    assert model.infer(images_of(2)[0]).label == "2"
    (window,) = pool.take_windows()
    assert (window.requests, window.errors) == (1, 0)


def test_a_model_that_gives_nan_is_an_error_that_is_counted(
    pool: Pool, run_dir: Path, tmp_path: Path
) -> None:
    serve(pool, slot=a_float_slot(tmp_path / "slot", "1.0.0"))

    with connect(run_dir).model("digits") as model:
        with pytest.raises(InferenceError, match="'probabilities'"):
            model.infer(np.full((1, 8, 8, 1), 1e38, np.float32))
        assert model.infer(images_of(2)[0]).label == "2"

    (window,) = pool.take_windows()
    assert (window.requests, window.errors, window.latency.count) == (2, 1, 1)


def test_windows_count_since_the_last_one(model: Model, pool: Pool) -> None:
    for _ in range(5):
        model.infer(images_of(0)[0])

    (first,) = pool.take_windows()
    (second,) = pool.take_windows()

    assert (first.model, first.version, first.variant) == ("digits", "1.0.0", VARIANT)
    assert (first.requests, first.errors, first.latency.count) == (5, 0, 5)
    assert 0 < first.latency.sum_s < first.duration_s
    assert first.rss_bytes > 10 << 20
    assert (second.requests, second.latency.count) == (0, 0)


def test_a_model_without_pre_and_postprocessing_deals_in_tensors_only(
    pool: Pool, run_dir: Path, tmp_path: Path
) -> None:
    serve(pool, slot=a_slot(tmp_path / "slot", preprocessing=None, postprocessing=None))

    with connect(run_dir).model("digits") as model:
        with pytest.raises(InputError):
            model.infer(images_of(5)[0])
        answer = model.infer(tensor_of(images_of(5)[0]))

    assert (answer.label, answer.index, answer.score, answer.classes) == (None, None, None, ())
    assert answer.outputs["probabilities"].argmax() == 5


def test_a_model_without_labels_answers_with_indices(pool: Pool, run_dir: Path, tmp_path: Path) -> None:
    recipe = ClassificationPostprocessing(softmax=True)
    serve(pool, slot=a_slot(tmp_path / "slot", labels=(), postprocessing=recipe))

    with connect(run_dir).model("digits") as model:
        answer = model.infer(images_of(5)[0])

    assert (answer.label, answer.index) == (None, 5)
    assert answer.classes == (ScoredClass(5, answer.classes[0].score, ""),)
    assert answer.classes[0].score == pytest.approx(
        np.e / (np.e + 9), rel=0.01
    )  # softmax over nearly one-hot scores


def test_free_dimensions_are_one(pool: Pool, run_dir: Path, tmp_path: Path) -> None:
    inputs = (TensorSpec(name="image", shape=(-1, 8, 8, 1), dtype=DType.FLOAT32),)
    serve(pool, slot=a_slot(tmp_path / "slot", inputs=inputs))

    with connect(run_dir).model("digits") as model:
        assert model.infer(tensor_of(images_of(6)[0])).label == "6"


def test_a_model_whose_input_the_application_quantizes_gets_it_as_it_is(
    pool: Pool, run_dir: Path, tmp_path: Path
) -> None:
    inputs = (TensorSpec(name="image", shape=(1, 8, 8, 1), dtype=DType.INT8),)
    serve(pool, slot=a_slot(tmp_path / "slot", inputs=inputs, preprocessing=None))
    stored = (images_of(9)[0].astype(np.int16) - 128).astype(np.int8)[np.newaxis, :, :, np.newaxis]

    with connect(run_dir).model("digits") as model:
        assert model.infer(stored).label == "9"


def test_mean_and_std_are_the_manifests(pool: Pool, run_dir: Path, tmp_path: Path) -> None:
    inverted = ImagePreprocessing(width=8, height=8, color=Color.GRAYSCALE, mean=(255.0,), std=(255.0,))
    serve(pool, slot=a_float_slot(tmp_path / "a", "1.0.0"))
    image = images_of(1)[0]

    with connect(run_dir).model("digits") as model:
        plain = model.infer(tensor_of(image) - np.float32(1)).outputs["probabilities"]
        slot = a_slot(
            tmp_path / "b",
            content=(DIGITS / "digits-1.0.0.tflite").read_bytes(),
            variant={"name": "float32"},
            preprocessing=inverted,
        )
        serve(pool, slot=slot)
        assert np.allclose(model.infer(image).outputs["probabilities"], plain, atol=1e-5)


def test_several_applications_ask_at_once(shared_run_dir: Path) -> None:
    labels: list[set[str | None]] = [set() for _ in range(8)]

    def ask(digit: int) -> None:
        with connect(shared_run_dir).model("digits") as own:
            labels[digit] = {own.infer(images_of(digit)[0]).label for _ in range(50)}

    threads = [threading.Thread(target=ask, args=(digit,)) for digit in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert labels == [{str(digit)} for digit in range(8)]


def test_threads_may_share_a_model(asked: Model) -> None:
    labels: list[set[str | None]] = [set() for _ in range(4)]

    def ask(digit: int) -> None:
        labels[digit] = {asked.infer(images_of(digit)[0]).label for _ in range(50)}

    threads = [threading.Thread(target=ask, args=(digit,)) for digit in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert labels == [{str(digit)} for digit in range(4)]


def test_sockets_are_for_owner_and_group_only(shared_run_dir: Path) -> None:
    (socket_path,) = (shared_run_dir / "w").iterdir()

    assert socket_path.stat().st_mode & 0o777 == 0o660
    assert (shared_run_dir / "w").stat().st_mode & 0o007 == 0


def test_the_main_process_needs_no_numpy() -> None:
    code = (
        "import sys; import edge_agent, edge_agent.inference.pool;"
        "print(sorted(m for m in sys.modules if m.split('.')[0] in"
        " ('numpy', 'PIL', 'ai_edge_litert', 'tflite_runtime')))"
    )

    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)

    assert printed.stdout.strip() == "[]"


def test_importing_the_package_loads_nothing_of_it() -> None:
    code = (
        "import sys, edge_agent; print([m for m in sys.modules if m.startswith(('edge_agent.', 'contract'))])"
    )

    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)

    assert printed.stdout.strip() == "[]"


def test_closing_the_pool_ends_everything(pool: Pool, run_dir: Path) -> None:
    before = children()
    serve(pool)
    pool.start_candidate(spec_of("1.1.0"), START_S)
    assert len(children() - before) == 2

    pool.close()
    pool.close()

    assert children() <= before
    assert [path.name for path in run_dir.rglob("*")] == ["w"]
    assert pool.active("digits") is None
