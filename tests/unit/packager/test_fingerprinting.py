"""Taking the fingerprint of samples and answers."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from contract.drift import PSI_SOME, RunningTensor, compare, psi
from contract.fingerprint import Basis, Fingerprint, fingerprint_faults
from contract.tensor import DType, Layout, TensorSpec
from packager.fingerprinting import OUTPUT_GAP, Ports, learn_edges, take_fingerprint

Array = npt.NDArray[Any]


class Fixed:
    """Samples that are there already."""

    def __init__(self, *inputs: Array) -> None:
        self._inputs = inputs
        self.largest = 0

    def __len__(self) -> int:
        return len(self._inputs[0])

    def inputs(self, positions: Sequence[int]) -> tuple[Array, ...]:
        self.largest = max(self.largest, len(positions))
        return tuple(values[list(positions)] for values in self._inputs)


def spec(name: str, *shape: int, layout: Layout = Layout.ANY) -> TensorSpec:
    return TensorSpec(name=name, shape=(1, *shape), dtype=DType.FLOAT32, layout=layout)


def echo(inputs: Sequence[Array]) -> list[Array]:
    return [values.astype(np.float32) for values in inputs]


def taken(*inputs: Array, layout: Layout = Layout.ANY, **ports: Any) -> Fingerprint:
    """Over a model that gives back what it is given."""
    names = [f"x{index}" for index in range(len(inputs))]
    specs = [spec(name, *values.shape[1:], layout=layout) for name, values in zip(names, inputs, strict=True)]
    done: list[int] = []
    shape: Any = {"is_classifier": False} | ports
    found = take_fingerprint(
        Fixed(*inputs), echo, Ports(inputs=specs, outputs=specs, **shape), Basis.CALIBRATION, done.append
    )
    assert sum(done) == len(inputs[0])
    assert fingerprint_faults(found, names, names) == []
    return found


def images(seed: int, count: int = 200, shift: int = 0) -> Array:
    """Images of few and many pixel values, as real ones have them, 0 to 1."""
    source = np.random.default_rng(seed)
    pixels = source.integers(0, 200, (count, 6, 5, 3)) * (source.random((count, 6, 5, 3)) > 0.5)
    return ((pixels + shift) / 255).astype(np.float32)


def test_every_channel_has_its_mean_deviation_extremes_and_all_its_values() -> None:
    values = images(1)
    (tensor,) = taken(values).inputs
    assert len(tensor.channels) == 3
    for index, channel in enumerate(tensor.channels):
        of_channel = values[..., index].astype(np.float64)
        assert channel.mean == pytest.approx(of_channel.mean(), rel=1e-6)
        assert channel.std == pytest.approx(of_channel.std(), rel=1e-6)
        assert (channel.low, channel.high) == pytest.approx((of_channel.min(), of_channel.max()), rel=1e-6)
        assert channel.count == of_channel.size


def test_bins_hold_about_as_much_each_where_values_do_not_repeat() -> None:
    values = np.random.default_rng(2).normal(size=(5000, 1)).astype(np.float32)
    (channel,) = taken(values).inputs[0].channels
    assert len(channel.counts) == 10
    assert min(channel.counts) > 300
    assert max(channel.counts) < 800


def test_a_device_that_counts_one_value_after_the_other_gets_the_same_histogram() -> None:
    values = images(3)
    whole = taken(values)
    device = RunningTensor(whole.inputs[0])
    # Rounded otherwise in the last bit, as another implementation of the division may.
    device.add(np.nextafter(values, np.float32(1)).astype(np.float64).ravel().tolist())
    found = device.snapshot()
    assert found is not None
    assert [one.counts for one in found.channels] == [one.counts for one in whole.inputs[0].channels]


def test_the_order_of_samples_and_the_size_of_blocks_do_not_matter_to_counts() -> None:
    values = images(4)
    forth, back = taken(values), taken(values[::-1])
    assert forth.inputs[0].channels[0].count == back.inputs[0].channels[0].count
    assert max(drift.psi for drift in compare(forth, forth)) == 0


def test_other_samples_of_the_same_kind_are_no_drift_and_darker_ones_are() -> None:
    reference = taken(images(5))

    def seen(values: Array) -> float:
        device = RunningTensor(reference.inputs[0])
        device.add(values.astype(np.float64).ravel().tolist())
        found = device.snapshot()
        assert found is not None
        return psi(reference.inputs[0].channels[0].counts, found.channels[0].counts)

    assert seen(images(6)) < PSI_SOME
    assert seen(images(6, shift=40)) > 1


def test_several_inputs_of_any_rank_and_type_are_counted() -> None:
    source = np.random.default_rng(7)
    table = source.normal(size=(30, 4)).astype(np.float32)
    tokens = source.integers(0, 1000, (30, 12)).astype(np.int32)
    scalar = source.random(30).astype(np.float32)
    flags = source.random((30, 2)) > 0.5
    found = taken(table, tokens, scalar, flags)
    assert [len(one.channels) for one in found.inputs] == [4, 12, 1, 2]
    assert found.inputs[1].channels[0].low == tokens[:, 0].min()
    assert {len(one.edges) for one in found.inputs[3].channels} == {1}


def test_channels_first_are_counted_by_channel_too() -> None:
    values = np.moveaxis(images(8), -1, 1)
    last, first = taken(images(8)), taken(values, layout=Layout.NCHW)
    assert first.inputs[0].channels == last.inputs[0].channels


def test_a_tensor_of_very_many_channels_is_counted_as_one() -> None:
    (tensor,) = taken(np.random.default_rng(9).random((20, 65)).astype(np.float32)).inputs
    assert (len(tensor.channels), tensor.is_pooled) == (1, True)
    assert tensor.channels[0].count == 20 * 65


def test_many_tensors_share_the_room_that_a_manifest_has() -> None:
    source = np.random.default_rng(10)
    found = taken(*(source.random((3, 60)).astype(np.float32) for _ in range(20)))
    assert len(found.inputs) == len(found.outputs) == 20
    assert [one.is_pooled for one in found.inputs[:7]] == [False] * 7
    assert found.outputs[-1].is_pooled


def test_a_constant_channel_has_one_bin() -> None:
    (channel,) = taken(np.full((10, 1), 0.25, dtype=np.float32)).inputs[0].channels
    assert (channel.edges, channel.counts, channel.std) == ((), (10,), 0.0)


def test_what_is_not_finite_is_left_out() -> None:
    values = np.array([[1.0], [np.nan], [np.inf], [3.0]], dtype=np.float32)
    (channel,) = taken(values).inputs[0].channels
    assert (channel.count, channel.mean) == (2, 2.0)
    nothing = taken(np.full((4, 1), np.nan, dtype=np.float32), is_classifier=True)
    assert (nothing.inputs, nothing.outputs, nothing.answers) == ((), (), None)


def test_a_classifiers_best_scores_and_classes_are_counted() -> None:
    scores = np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7], [np.nan, 1]], dtype=np.float32)
    answers = taken(scores, is_classifier=True).answers
    assert answers is not None
    assert answers.classes == (1, 2)
    assert answers.best_score.mean == pytest.approx(0.8)
    assert answers.best_score.count == 3


def test_a_quantized_variant_counts_as_the_float_model_does() -> None:
    """Int8 probabilities are steps of 1/256 and never 1; the float model's are 1e-20 and 0.99999 as well."""
    source = np.random.default_rng(11)
    logits = source.normal(scale=6, size=(2000, 4))
    scores = np.exp(logits - logits.max(axis=1, keepdims=True))
    scores = (scores / scores.sum(axis=1, keepdims=True)).astype(np.float32)
    steps = np.clip(np.rint(scores * 256), 0, 255).astype(np.float32) / 256
    found = [taken(outputs, is_classifier=True) for outputs in (scores, steps)]
    reference = found[0].outputs[0]
    device = RunningTensor(reference)
    device.add(steps.astype(np.float64).ravel().tolist())
    seen = device.snapshot()
    assert seen is not None
    for mine, theirs in zip(reference.channels, seen.channels, strict=True):
        assert psi(mine.counts, theirs.counts) < 0.01
    assert found[0].answers is not None
    assert found[1].answers is not None
    assert psi(found[0].answers.best_score.counts, found[1].answers.best_score.counts) < 0.01


def test_logits_become_scores() -> None:
    logits = np.array([[2.0, 0.0], [1000.0, 0.0]], dtype=np.float32)
    answers = taken(logits, is_classifier=True, needs_softmax=True).answers
    assert answers is not None
    assert answers.best_score.low == pytest.approx(1 / (1 + np.exp(-2)), rel=1e-6)
    assert answers.best_score.high == 1
    all_useless = np.full((3, 2), np.inf, dtype=np.float32)
    assert taken(all_useless, is_classifier=True, needs_softmax=True).answers is None


def test_maps_and_single_scores_have_no_best_class() -> None:
    for shape in ((4, 2, 2), (4, 1)):
        assert taken(np.ones(shape, dtype=np.float32), is_classifier=True).answers is None


def test_memory_is_that_of_a_block_however_many_samples_there_are() -> None:
    class Endless:
        """300 images of 120 KB, each made when it is asked for."""

        largest = 0

        def __len__(self) -> int:
            return 300

        def inputs(self, positions: Sequence[int]) -> tuple[Array, ...]:
            self.largest = max(self.largest, len(positions))
            return (np.full((len(positions), 50, 50, 12), positions[0], dtype=np.float32),)

    samples, image = Endless(), spec("x", 50, 50, 12)
    answer = spec("y", 1)
    tracemalloc.start()
    try:
        take_fingerprint(
            samples,
            lambda inputs: [inputs[0][:, 0, 0, :1]],
            Ports(inputs=[image], outputs=[answer], is_classifier=False),
            Basis.EVALUATION,
            lambda _: None,
            block_bytes=2 << 20,
        )
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert samples.largest == (2 << 20) // (50 * 50 * 12 * 4 + 4)
    assert peak < 4 * (2 << 20), "300 samples have 36 MB"


@given(
    arrays(np.float64, st.integers(0, 300), elements=st.floats(allow_nan=True, width=64)),
    st.sampled_from([0.0, OUTPUT_GAP]),
)
def test_edges_rise_and_lie_between_values(values: npt.NDArray[np.float64], gap: float) -> None:
    with np.errstate(over="ignore"):
        edges = learn_edges(values, gap)
    finite = values[np.isfinite(values)]
    assert len(edges) <= 9
    assert (np.diff(edges) > 0).all()
    if len(edges):
        # Halved, because the largest numbers have no larger ones.
        slack = np.abs(finite).max() / 2 * 1e-6
        assert finite.min() / 2 - slack <= edges[0] / 2
        assert edges[-1] / 2 <= finite.max() / 2 + slack
