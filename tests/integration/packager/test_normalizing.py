"""Models as people publish them: normalised on the real runtime, quantized by the real quantizer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from contract.errors import ManifestError
from contract.profile import Precision
from packager.calibration import load_calibration
from packager.normalize.process import normalize_model
from packager.normalize.rewrite import normalize, prove
from packager.preprocess import Geometry, plan_preprocessing, to_inputs
from packager.quantize import calibrate, quantize
from packager.runtime.flatbuffer import describe
from packager.runtime.objects import unpack_model
from packager.runtime.session import Session
from packager.sources.tflite import load_tflite
from tests.support.packager_builders import DIGITS
from tests.support.packager_models import crashing, digits_model, without_signature
from tests.support.packager_unusual import (
    free_batch,
    half_without_signature,
    old_codes,
    shared_half_constant,
    sparse_half,
)

MODELS: dict[str, tuple[Callable[[], bytes], tuple[str, ...]]] = {
    "no signature": (without_signature, ("signature made from 1 input and 1 output",)),
    "float16 weights": (
        half_without_signature,
        ("signature made from 1 input and 1 output", "10 float16 constants unfolded to float32"),
    ),
    "shared constant": (shared_half_constant, ("1 float16 constant unfolded to float32",)),
    "sparse weights": (
        sparse_half,
        ("1 float16 constant unfolded to float32", "1 sparse constant made dense"),
    ),
    "old operator codes": (old_codes, ("5 operator codes of the old form renewed",)),
    "free batch": (free_batch, ("free batch pinned to 1", "3 operators on shapes made constant")),
}


@pytest.fixture(params=list(MODELS))
def unusual(request: pytest.FixtureRequest) -> tuple[bytes, tuple[str, ...]]:
    make, changes = MODELS[request.param]
    return make(), changes


def written(folder: Path, content: bytes) -> Path:
    path = folder / "model.tflite"
    path.write_bytes(content)
    return path


def test_what_was_done_is_said_and_the_answers_stay(unusual: tuple[bytes, tuple[str, ...]]) -> None:
    content, changes = unusual
    made, done = normalize(content)
    assert done.changes == changes
    assert done.text("model.tflite") == f"normalised model.tflite: {', '.join(changes)}; outputs are the same"
    image = np.random.default_rng(2).random((1, 8, 8, 1), dtype=np.float32)
    assert np.array_equal(Session(content).run([image])[0], Session(made).run([image])[0])


def test_normalising_is_deterministic_and_happens_once(unusual: tuple[bytes, tuple[str, ...]]) -> None:
    made, _ = normalize(unusual[0])
    assert normalize(unusual[0])[0] == made
    again, done = normalize(made)
    assert again == made
    assert done.changes == ()
    assert done.text("model.tflite") == ""


def test_a_normalised_model_has_the_operators_of_the_plain_one(
    unusual: tuple[bytes, tuple[str, ...]],
) -> None:
    made, _ = normalize(unusual[0])
    found, plain = describe(made), describe(digits_model())
    assert found.operators == plain.operators
    assert found.half_tensors == 0
    assert len(made) <= len(digits_model()) + 1024
    ((signature,),) = (found.signatures.values(),)
    assert [tensor.shape for tensor in signature.inputs] == [(1, 8, 8, 1)]


def test_a_normalised_model_shrinks_when_it_is_quantized(
    tmp_path: Path, unusual: tuple[bytes, tuple[str, ...]]
) -> None:
    model = load_tflite(written(tmp_path, unusual[0]))
    images = load_calibration(DIGITS / "calibration", (8, 8, 1)).pixels
    inputs = to_inputs(images, plan_preprocessing(Geometry(8, 8, 1), (0.0,), (255.0,)))
    for precision in (Precision.STATIC_INT8, Precision.DYNAMIC_INT8, Precision.WEIGHT_ONLY_INT8):
        made = quantize(model.content, precision, calibrate(model.content, precision, model.source, [inputs]))
        assert len(made) <= 0.30 * len(digits_model())
        Session(made)


def test_without_normalising_float16_weights_are_passed_through(tmp_path: Path) -> None:
    content = half_without_signature()
    source = load_tflite(written(tmp_path, content)).source
    ranges = calibrate(content, Precision.DYNAMIC_INT8, source, [np.empty((0, 8, 8, 1), np.float32)])
    passed = quantize(content, Precision.DYNAMIC_INT8, ranges)
    assert len(passed) > 0.95 * len(content)


def test_the_source_remembers_the_digest_of_the_file_as_it_was_given(tmp_path: Path) -> None:
    plain = load_tflite(DIGITS / "digits-1.0.0.tflite")
    model = load_tflite(written(tmp_path, without_signature()))
    assert plain.normalized.changes == ()
    assert model.normalized.changes == ("signature made from 1 input and 1 output",)
    assert model.sha256 != plain.sha256
    assert model.source.signature == "serving_default"
    assert model.source.inputs[0].name == "image"


def test_free_dimensions_beyond_the_batch_are_left_and_refused(tmp_path: Path) -> None:
    content = free_batch((-1, -1, 8, 1))
    assert normalize(content)[0] == content
    with pytest.raises(ManifestError) as refused:
        load_tflite(written(tmp_path, content))
    assert refused.value.faults[0] == "input image has shape (-1, -1, 8, 1), which is not fixed"


def test_buffers_of_a_normalised_model_are_aligned_to_sixteen_bytes() -> None:
    made, _ = normalize(half_without_signature())
    for buffer in unpack_model(made).buffers:
        content = b"" if buffer.data is None else bytes(buffer.data)
        if len(content) > 1000:
            assert made.index(content) % 16 == 0


def test_a_form_that_answers_otherwise_is_refused() -> None:
    with pytest.raises(ManifestError, match=r"normalising changes its answers: output \S+ is off by"):
        prove(digits_model("1.0.0"), digits_model("1.2.0"))


@pytest.mark.parametrize(
    "content",
    [b"", b"\x00" * 100, without_signature()[:200_000], without_signature()[:1000], crashing()[:5000]],
)
def test_a_damaged_file_ends_the_child_and_not_this_process(content: bytes) -> None:
    with pytest.raises(ManifestError, match=r"m.tflite (cannot be used|is damaged)"):
        normalize_model(content, "m.tflite")


def test_a_flipped_bit_never_gives_another_model_without_a_word() -> None:
    """Each flip is refused, or its normalised form answers as the flipped file does."""
    content = bytearray(half_without_signature())
    place = np.random.default_rng(3).integers(0, len(content), 6)
    for position in place:
        flipped = bytearray(content)
        flipped[position] ^= 0x10
        try:
            made, _ = normalize_model(bytes(flipped), "m.tflite")
        except ManifestError:
            continue
        prove(bytes(flipped), made)
