"""Model files that nobody vouches for, on the real loader."""

from __future__ import annotations

from pathlib import Path

import pytest

from contract.errors import ManifestError
from contract.profile import Precision
from packager.quantize import Ranges, quantize
from packager.sources.tflite import load_tflite
from tests.support.packager_builders import DIGITS
from tests.support.packager_models import crashing, digits_model, with_output_shape


def written(folder: Path, content: bytes) -> Path:
    path = folder / "model.tflite"
    path.write_bytes(content)
    return path


def test_the_digits_model_is_taken_as_it_is() -> None:
    model = load_tflite(DIGITS / "digits-1.0.0.tflite")
    assert model.content == digits_model()
    assert model.name == "digits-1.0.0.tflite"
    assert model.source.signature == "serving_default"
    assert [spec.shape for spec in model.source.inputs] == [(1, 8, 8, 1)]
    assert [spec.shape for spec in model.source.outputs] == [(1, 10)]
    assert model.source.gives_probabilities


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", b"\x00" * 100])
def test_a_file_without_the_identifier_is_refused_unread(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(ManifestError, match=r"model.tflite is no TFLite model"):
        load_tflite(written(tmp_path, content))


@pytest.mark.parametrize("length", [8, 1_000, 200_000, 384_839])
def test_a_truncated_model_is_refused(tmp_path: Path, length: int) -> None:
    with pytest.raises(ManifestError, match=r"model.tflite (cannot be used|is damaged)"):
        load_tflite(written(tmp_path, digits_model()[:length]))


def test_a_model_that_crashes_the_native_loader_is_refused_and_this_process_lives(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"the TFLite loader crashed on it \(signal 11\)"):
        load_tflite(written(tmp_path, crashing()))


@pytest.mark.parametrize(
    ("precision", "wanted"),
    [
        (Precision.DYNAMIC_INT8, "is quantized already"),
        (Precision.WEIGHT_ONLY_INT8, "is quantized already"),
    ],
)
def test_a_model_that_is_quantized_already_is_refused(
    tmp_path: Path, precision: Precision, wanted: str
) -> None:
    source = load_tflite(DIGITS / "digits-1.0.0.tflite")
    made = quantize(source.content, precision, Ranges(None))
    with pytest.raises(ManifestError, match=wanted):
        load_tflite(written(tmp_path, made))


def test_a_graph_that_contradicts_its_own_border_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"should have shape \(1, 3, 3\) and has \(1, 10\)"):
        load_tflite(written(tmp_path, with_output_shape((1, 3, 3))))


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="cannot be read: No such file"):
        load_tflite(tmp_path / "none.tflite")
    with pytest.raises(ManifestError, match="cannot be read: Is a directory"):
        load_tflite(tmp_path)
