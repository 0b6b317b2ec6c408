"""Several classifiers that answer together, and outputs that feed inputs, on real workers."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contract.errors import IncompatibleError, NotFoundError
from contract.manifest import ClassificationPostprocessing, Color, ImagePreprocessing, Task
from contract.tensor import DType, TensorSpec
from edge_agent import connect, connect_async
from edge_agent.inference.pool import Pool
from edge_agent.pipelines.settings import CombinedSettings, EnsembleSettings, PipelineSettings, StageSettings
from tests.support.inference_models import a_pair_of_reshapes, a_reshape
from tests.support.inference_slots import a_slot, images_of, tensor_of
from tests.support.pipeline_slots import a_detector_slot, a_digits_slot, put, served


def committee(**changes: object) -> CombinedSettings:
    sound: dict[str, object] = {"name": "committee", "models": ("one", "other")}
    return CombinedSettings(ensembles=(EnsembleSettings(**(sound | changes)),))  # type: ignore[arg-type]


def put_both(pool: Pool, tmp_path: Path) -> None:
    put(pool, a_digits_slot(tmp_path / "one", model="one"), "one")
    put(pool, a_digits_slot(tmp_path / "other", model="other", version="1.1.0"), "other", "1.1.0")


def test_the_mean_of_two_versions_under_two_names(pool: Pool, run_dir: Path, tmp_path: Path) -> None:
    put_both(pool, tmp_path)
    with served(committee(), run_dir), connect(run_dir) as agent:
        members = [agent.model(name) for name in ("one", "other")]
        for image in images_of(5, 30):  # most of them both are sure of
            alone = [member.infer(image).outputs["probabilities"] for member in members]
            if not np.array_equal(alone[0], alone[1]):
                break
        model = agent.model("committee")
        by_image, by_tensor = model.infer(image), model.infer(tensor_of(image))
    assert by_image.outputs["probabilities"] == pytest.approx((alone[0] + alone[1]) / 2)
    assert by_image.version == "one@1.0.0,other@1.1.0"
    assert by_image.index == by_image.outputs["probabilities"].argmax()
    assert by_image.score == pytest.approx(float(by_image.outputs["probabilities"].max()))
    assert np.array_equal(by_tensor.outputs["probabilities"], by_image.outputs["probabilities"])
    assert not np.array_equal(alone[0], alone[1])


def test_votes_are_counted(pool: Pool, run_dir: Path, tmp_path: Path) -> None:
    put_both(pool, tmp_path)
    with served(committee(method="vote"), run_dir), connect(run_dir).model("committee") as model:
        answer = model.infer(images_of(5)[0])
    assert (answer.label, answer.score, answer.variant) == ("5", 1.0, "ensemble-vote")
    assert answer.outputs["votes"].tolist() == [[0, 0, 0, 0, 0, 1, 0, 0, 0, 0]]


def test_logits_go_through_their_own_softmax_first(pool: Pool, run_dir: Path, tmp_path: Path) -> None:
    put(pool, a_digits_slot(tmp_path / "one", model="one"), "one")
    logits = ClassificationPostprocessing(softmax=True)
    put(pool, a_digits_slot(tmp_path / "other", model="other", postprocessing=logits), "other")
    image = images_of(5)[0]
    with served(committee(), run_dir), connect(run_dir) as agent:
        scores = agent.model("one").infer(image).outputs["probabilities"]
        mean = agent.model("committee").infer(image).outputs["probabilities"]
    powers = np.exp(scores)
    assert mean == pytest.approx((scores + powers / powers.sum()) / 2, abs=1e-6)


def test_a_missing_member_is_an_error_unless_fewer_are_enough(
    pool: Pool, run_dir: Path, tmp_path: Path
) -> None:
    put(pool, a_digits_slot(tmp_path / "other", model="other"), "other")
    with served(committee(), run_dir), pytest.raises(NotFoundError, match="committee needs 'one'"):
        connect(run_dir).model("committee")
    with served(committee(min_members=1), run_dir), connect(run_dir).model("committee") as model:
        assert (model.infer(images_of(5)[0]).label, model.infer(images_of(5)[0]).version) == (
            "5",
            "other@1.0.0",
        )


def test_members_with_other_labels_or_none_are_refused(pool: Pool, run_dir: Path, tmp_path: Path) -> None:
    put(pool, a_digits_slot(tmp_path / "one", model="one"), "one")
    letters = tuple("abcdefghij")
    put(pool, a_digits_slot(tmp_path / "letters", model="other", labels=letters), "other")
    with served(committee(), run_dir):
        with pytest.raises(IncompatibleError) as caught:
            connect(run_dir).model("committee")
        assert "other 1.0.0 has 10 classes (a, b, c, ...), one 1.0.0 10 (0, 1, 2, ...)" in str(caught.value)
        mute = a_digits_slot(
            tmp_path / "mute", model="other", postprocessing=None, task=Task.EMBEDDING, labels=()
        )
        put(pool, mute, "other")
        with pytest.raises(IncompatibleError, match=r"other 1\.0\.0 does not classify \(task embedding"):
            connect(run_dir).model("committee", wait_s=0.6)


def put_regression(pool: Pool, folder: Path, model: str, **changes: Any) -> None:
    """A model whose numbers are its image's pixels, divided by ``std``."""
    std = changes.pop("std", 255.0)
    sound: dict[str, Any] = {
        "content": a_reshape([1, 8, 8, 1], [1, 64]),
        "outputs": (TensorSpec(name="out", shape=(1, 64), dtype=DType.FLOAT32),),
        "preprocessing": ImagePreprocessing(
            width=8, height=8, color=Color.GRAYSCALE, mean=(0.0,), std=(std,)
        ),
        "task": Task.REGRESSION,
        "labels": (),
        "postprocessing": None,
    }
    put(pool, a_slot(folder, variant={"name": "float32"}, model=model, **(sound | changes)), model)


def test_the_mean_of_plain_numbers(pool: Pool, run_dir: Path, tmp_path: Path) -> None:
    put_regression(pool, tmp_path / "one", "one")
    put_regression(pool, tmp_path / "other", "other", std=510.0)
    image = images_of(5)[0]
    with served(committee(), run_dir), connect(run_dir).model("committee") as model:
        answer = model.infer(image)
    assert answer.outputs["out"] == pytest.approx(image.reshape(1, 64) * (0.75 / 255))
    assert (answer.classes, answer.variant) == ((), "ensemble-mean")
    assert answer.version == "one@1.0.0,other@1.0.0"


def test_each_of_several_outputs_has_its_mean(pool: Pool, run_dir: Path, tmp_path: Path) -> None:
    shapes = {"a": (2,), "b": (3,)}
    for name in ("one", "other"):
        put_regression(
            pool,
            tmp_path / name,
            name,
            content=a_pair_of_reshapes(),
            inputs=tuple(
                TensorSpec(name=key, shape=shape, dtype=DType.FLOAT32) for key, shape in shapes.items()
            ),
            outputs=tuple(
                TensorSpec(name=f"{key}-out", shape=(*shape, 1), dtype=DType.FLOAT32)
                for key, shape in shapes.items()
            ),
            preprocessing=None,
        )
    given = {name: np.arange(shape[0], dtype=np.float32) for name, shape in shapes.items()}
    with served(committee(), run_dir), connect(run_dir).model("committee") as model:
        answer = model.infer(given)
    assert {name: output.tolist() for name, output in answer.outputs.items()} == {
        "a-out": [[0.0], [1.0]],
        "b-out": [[0.0], [1.0], [2.0]],
    }


def test_numbers_have_no_vote_and_no_mean_with_classes_or_with_others(
    pool: Pool, run_dir: Path, tmp_path: Path
) -> None:
    put_regression(pool, tmp_path / "one", "one")
    put(pool, a_digits_slot(tmp_path / "digits", model="other"), "other")
    with served(committee(), run_dir):
        with pytest.raises(IncompatibleError, match=r"other 1\.0\.0 gives other outputs than one 1\.0\.0"):
            connect(run_dir).model("committee")
        put_regression(
            pool,
            tmp_path / "other",
            "other",
            content=a_reshape([1, 8, 8, 1], [1, 8, 8, 1]),
            outputs=(TensorSpec(name="out", shape=(1, 8, 8, 1), dtype=DType.FLOAT32),),
        )
        with pytest.raises(IncompatibleError, match="gives other outputs than one"):
            connect(run_dir).model("committee", wait_s=0.6)
    put_regression(pool, tmp_path / "same", "other")
    with (
        served(committee(method="vote"), run_dir),
        pytest.raises(IncompatibleError, match="no classes to vote"),
    ):
        connect(run_dir).model("committee")


def test_detectors_are_refused_and_the_error_says_what_an_ensemble_takes(
    pool: Pool, run_dir: Path, tmp_path: Path
) -> None:
    for name in ("one", "other"):
        put(pool, a_detector_slot(tmp_path / name, model=name), name)
    with served(committee(), run_dir):
        with pytest.raises(
            IncompatibleError, match=r"one 1\.0\.0 does not classify \(task detection"
        ) as caught:
            connect(run_dir).model("committee")
        assert "classifiers, or models of task regression or custom" in caught.value.remedy


def test_an_output_feeds_the_next_models_input(pool: Pool, run_dir: Path, tmp_path: Path) -> None:
    put(
        pool,
        a_slot(
            tmp_path / "flat",
            content=a_reshape([1, 8, 8, 1], [1, 8, 8, 1]),
            variant={"name": "float32"},
            model="flatten",
            outputs=(TensorSpec(name="out", shape=(1, 8, 8, 1), dtype=DType.FLOAT32),),
            labels=(),
            postprocessing=None,
            task=Task.EMBEDDING,
        ),
        "flatten",
    )
    put(pool, a_digits_slot(tmp_path / "one", model="one"), "one")
    stages = (StageSettings(model="flatten"), StageSettings(model="one", feed={"out": "image"}))
    chain = CombinedSettings(pipelines=(PipelineSettings(name="chain", stages=stages),))
    image = images_of(5)[0]
    with served(chain, run_dir), connect(run_dir) as agent:
        answer = agent.model("chain").infer(image)
        direct = agent.model("one").infer(image)
    assert (answer.label, answer.version) == ("5", "flatten@1.0.0,one@1.0.0")
    assert np.array_equal(answer.outputs["probabilities"], direct.outputs["probabilities"])


async def ask_async(run_dir: Path, count: int) -> list[str | None]:
    import asyncio

    async with connect_async(run_dir) as agent:
        model = agent.model("committee")
        answers = await asyncio.gather(*(model.infer(images_of(5)[0]) for _ in range(count)))
    return [answer.label for answer in answers]


def test_the_asynchronous_sdk_asks_an_ensemble_too(pool: Pool, run_dir: Path, tmp_path: Path) -> None:
    import asyncio

    put_both(pool, tmp_path)
    with served(committee(), run_dir):
        assert asyncio.run(ask_async(run_dir, 8)) == ["5"] * 8


def test_a_member_that_is_switched_changes_the_answer_and_fails_no_request(
    pool: Pool, run_dir: Path, tmp_path: Path
) -> None:
    put_both(pool, tmp_path)
    newer = a_digits_slot(tmp_path / "newer", model="one", version="1.1.0")
    seen: set[str] = set()
    switched = threading.Thread(target=put, args=(pool, newer, "one", "1.1.0"))
    with served(committee(), run_dir), connect(run_dir).model("committee") as model:
        switched.start()
        image = images_of(5)[0]
        while "one@1.1.0,other@1.1.0" not in seen:
            answer = model.infer(image)
            seen.add(answer.version)
            assert answer.label == "5"
        switched.join()
    assert seen == {"one@1.0.0,other@1.1.0", "one@1.1.0,other@1.1.0"}
