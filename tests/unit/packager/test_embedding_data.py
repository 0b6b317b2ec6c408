"""Images of identities: what is read, what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from contract.errors import ConfigError, ManifestError
from contract.manifest import Task
from contract.results import EmbeddingDecoding
from contract.tensor import DType
from packager.tasks import embedding
from packager.tasks.task import Relative
from tests.support.task_builders import load, source, spec

MODEL = source([spec("image", 1, 8, 8, 1)], [spec("embedding", 1, 16)])


def images(folder: Path, *names: str) -> Path:
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8), number, dtype=np.uint8)).save(path)
    return folder


def test_folders_are_identities(tmp_path: Path) -> None:
    folder = images(tmp_path, "anna/1.png", "anna/2.png", "bert/1.png")
    found = load(embedding.KIND, MODEL, folder, {"k": "2"}, calibration=folder)
    assert found.task.metric == "retrieval@2"
    assert found.task.classes == ("anna", "bert")
    assert found.task.strata.tolist() == [0, 0, 1]
    assert found.presentation.task is Task.EMBEDDING
    assert found.presentation.decoding == EmbeddingDecoding()
    assert found.presentation.labels == ()
    assert isinstance(found.task, Relative)
    assert found.calibration is not None
    assert found.task.inputs([1])[0].max() == pytest.approx(1 / 255)
    assert len(set(found.task.digests)) == 3


def test_cosine_needs_no_identities(tmp_path: Path) -> None:
    folder = images(tmp_path, "1.png", "2.png")
    found = load(embedding.KIND, MODEL, folder, {"metric": "cosine", "normalize": "false"})
    assert (found.task.metric, found.task.classes) == ("cosine", ())
    assert found.task.per_class(np.ones((2, 3))).size == 0
    assert found.presentation.decoding is None
    outputs = [np.ones((2, 16))]
    assert np.isinf(found.task.margin(outputs)).all()


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (("anna/1.png", "anna/2.png"), "nothing to confuse it with"),
        (("anna/1.png", "bert/1.png"), "none has two images"),
        (("anna/1.png", "anna/2.png", "3.png"), "outside a folder of an identity"),
    ],
)
def test_sets_that_nothing_can_be_retrieved_from_are_refused(
    tmp_path: Path, names: tuple[str, ...], wanted: str
) -> None:
    with pytest.raises(ManifestError, match=wanted):
        load(embedding.KIND, MODEL, images(tmp_path, *names), {})


@pytest.mark.parametrize(
    ("options", "wanted"), [({"metric": "l2"}, "no metric 'l2'"), ({"k": 0}, "k must be")]
)
def test_options_of_embedding_that_cannot_be_meant_are_refused(
    tmp_path: Path, options: dict[str, Any], wanted: str
) -> None:
    with pytest.raises(ConfigError, match=wanted):
        load(embedding.KIND, MODEL, tmp_path, options)


def test_models_that_give_no_embedding_of_an_image_are_told() -> None:
    good = spec("image", 1, 8, 8, 3), spec("embedding", 1, 16)
    assert embedding.KIND.borders(source([good[0]], [good[1]]), None) == []
    assert len(embedding.KIND.borders(source([*good], [good[1]]), None)) == 1
    odd = source([spec("image", 1, 8, dtype=DType.INT32)], [spec("embedding", 1, 4, 4)])
    assert len(embedding.KIND.borders(odd, None)) == 3
