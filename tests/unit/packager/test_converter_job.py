"""The converters' side of a conversion, which runs in other environments but needs none of them."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from packager.sources.converters import job


def rows(*shape: int) -> Any:
    return np.random.default_rng(3).standard_normal(shape).astype(np.float32)


class Doubling:
    """A framework whose model doubles."""

    def __init__(self) -> None:
        self.inputs = (
            job.Border("x", (1, 2), "float32", "x:0", (1, 2)),
            job.Border("k", (1,), "int64", "k", (1,)),
        )
        self.outputs = (job.Border("y", (1, 2), "float32", "y", (1, 2)),)
        self.tools = {"doubling": "1"}

    def convert(self, target: Path) -> None:
        target.write_bytes(b"model")

    def answer(self, inputs: job.Arrays) -> job.Arrays:
        return {"y": inputs["x"] * 2}


def run_job(folder: Path, opened: Any, mode: str = "convert") -> dict[str, Any]:
    module = ModuleType("from_tests")
    module.open_source = opened  # type: ignore[attr-defined] # a module as a converter has
    (folder / "job.json").write_text(json.dumps({"source": "source", "mode": mode}), encoding="utf-8")
    job.run(module, folder)
    answer: dict[str, Any] = json.loads((folder / "answer.json").read_text(encoding="utf-8"))
    return answer


def test_a_job_converts_and_answers_on_inputs_that_are_always_the_same(tmp_path: Path) -> None:
    answer = run_job(tmp_path, lambda _: Doubling())
    assert answer["inputs"][0]["source_name"] == "x:0"
    assert answer["tools"] == {"doubling": "1"}
    assert (tmp_path / "model.tflite").read_bytes() == b"model"
    with np.load(tmp_path / "reference.npz") as arrays:
        first = arrays["input.x"]
        assert first.shape == (job.RANDOM_SAMPLES, 1, 2)
        assert 0 <= first[:4].min() <= first[:4].max() <= 1
        assert set(arrays["input.k"].ravel()) == {0, 1}
        assert np.array_equal(arrays["expected.y"], first * 2)
    assert np.array_equal(job.random_inputs(Doubling().inputs)["x"], first)


def test_a_job_answers_on_given_inputs(tmp_path: Path) -> None:
    given: dict[str, Any] = {"input.x": rows(3, 1, 2), "input.k": np.zeros((3, 1), dtype=np.int64)}
    np.savez(tmp_path / "inputs.npz", **given)
    run_job(tmp_path, lambda _: Doubling(), "answer")
    assert not (tmp_path / "model.tflite").exists()
    with np.load(tmp_path / "reference.npz") as arrays:
        assert np.array_equal(arrays["expected.y"], given["input.x"] * 2)


@pytest.mark.parametrize(
    ("error", "wanted"),
    [
        (job.RefusedError("operator Foo is not known"), "operator Foo is not known"),
        (ValueError("\n  at foo.cc:1\nno such op\nmore"), "no such op"),
        (
            ValueError("cannot translate./a/b.py:30:1: error: no such op"),
            "cannot translate. error: no such op",
        ),
        (ValueError(), "ValueError"),
        (SystemExit(1), ""),
    ],
)
def test_whatever_a_framework_raises_becomes_one_line(
    tmp_path: Path, error: BaseException, wanted: str
) -> None:
    def fail(_: Path) -> Any:
        raise error

    assert run_job(tmp_path, fail) == {"refused": wanted}


def test_a_free_batch_is_pinned_and_another_free_size_is_refused() -> None:
    assert job.pin_shape("x", [None, 3, 4]) == (1, 3, 4)
    assert job.pin_shape("x", [2, 3]) == (2, 3)
    with pytest.raises(job.RefusedError, match=r"free sizes \(\?, 3, \?\)"):
        job.pin_shape("x", [None, 3, None])
    with pytest.raises(job.RefusedError, match="a single number"):
        job.pin_shape("x", [])


def test_an_image_of_a_channels_first_framework_is_known_by_its_shape() -> None:
    assert job.is_image((1, 3, 224, 224))
    assert not job.is_image((1, 224, 224, 3))
    assert not job.is_image((1, 1, 400))
    assert not job.is_image((1, 1, 1, 400))
    assert job.channels_last((1, 3, 8, 6)) == (1, 8, 6, 3)
