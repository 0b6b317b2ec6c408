"""Takes the fingerprint of samples, and of what the float model answers to them.

PURE. Rules:

1. One pass, block by block: memory is that of one block, whatever the number of samples. The first block is spread
   evenly over them; the edges of all histograms are learnt from it, the counts are exact.
2. An edge lies halfway between two values that occur, so that a device which rounds a little otherwise counts the same.
3. Edges of outputs keep a distance: a quantized variant gives one of 256 values, and must count as the float model
   does. Best scores have fixed edges, a tenth apart.
4. Numbers are rounded to 7 digits, as many as a float32 has: sums of different processors differ beyond that.
5. The model is run by whoever calls. Arrays are (samples, ...), the channel axis last unless a layout says otherwise.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from contract.drift import ChannelSummary, RunningChannel
from contract.fingerprint import (
    MAX_ALL_CHANNELS,
    MAX_CHANNELS,
    MAX_CLASSES,
    AnswerFingerprint,
    Basis,
    ChannelFingerprint,
    Fingerprint,
    TensorFingerprint,
)
from contract.tensor import Layout, TensorSpec

Array = npt.NDArray[Any]
_Doubles = npt.NDArray[np.float64]

BINS = 10
"""Deciles, as is usual for the population stability index (Siddiqi, 2006)."""
_BLOCK_MOST = 1024
BLOCK_BYTES = 64 << 20
_LEARN_MOST = 1 << 16  # values of a channel that its edges are learnt from
_PIECE = 1 << 14
_DIGITS = 7
OUTPUT_GAP = 1 / 32
"""Least distance of an output's edges from each other and from its extremes, as a share of its range: 8 of the 256
steps that an int8 output has."""
SCORE_EDGES = tuple(step / 10 for step in range(1, 10))


class Samples(Protocol):
    """What a model can be fed with; ``packager.tasks.task.Inputs`` is one."""

    def __len__(self) -> int:
        """Number of samples."""
        ...

    def inputs(self, positions: Sequence[int]) -> Sequence[Array]:
        """(positions, ...) for every input of the model, in its order."""
        ...


@dataclass(frozen=True)
class Ports:
    """What the arrays are.

    Attributes:
        inputs: Of the model, in its order.
        outputs: Of the model, in its order.
        is_classifier: Whether the only output is scores (1, classes).
        needs_softmax: Whether these are logits.
    """

    inputs: Sequence[TensorSpec]
    outputs: Sequence[TensorSpec]
    is_classifier: bool
    needs_softmax: bool = False


def take_fingerprint(
    samples: Samples,
    run: Callable[[Sequence[Array]], Sequence[Array]],
    ports: Ports,
    basis: Basis,
    advance: Callable[[int], None],
    *,
    block_bytes: int = BLOCK_BYTES,
) -> Fingerprint:
    """Take a fingerprint.

    Args:
        samples: At least one.
        run: The float model: (N, ...) of every input in, (N, ...) of every output out.
        ports: What the arrays are.
        basis: Which samples they are.
        advance: Told how many samples were done since it was told last.
        block_bytes: How much inputs and outputs of one block may take.
    """
    counters: list[_Tensor] = []
    answers: _Answers | None = None
    for positions in _blocks(samples, run, block_bytes):
        inputs = samples.inputs(positions)
        outputs = run(inputs)
        arrays = [
            _channels_last(array, spec)
            for array, spec in zip([*inputs, *outputs], [*ports.inputs, *ports.outputs], strict=True)
        ]
        if not counters:
            counters = _counters(arrays, ports)
            answers = _answers(outputs, ports)
        for counter, array in zip(counters, arrays, strict=True):
            counter.add(array)
        if answers is not None:
            answers.add(outputs[0])
        advance(len(positions))
    told = [counter.snapshot() for counter in counters]
    first = len(ports.inputs)
    return Fingerprint(
        basis=basis,
        samples=len(samples),
        inputs=tuple(one for one in told[:first] if one),
        outputs=tuple(one for one in told[first:] if one),
        answers=answers.snapshot() if answers else None,
    )


def _blocks(
    samples: Samples, run: Callable[[Sequence[Array]], Sequence[Array]], block_bytes: int
) -> Iterator[list[int]]:
    """Positions block by block, the first ones spread over all."""
    one = samples.inputs([0])
    size_bytes = sum(array.nbytes for array in [*one, *run(one)])
    size = max(1, min(_BLOCK_MOST, block_bytes // max(1, size_bytes)))
    count = len(samples)
    spread = list(range(0, count, math.ceil(count / size)))
    yield spread
    rest = sorted(set(range(count)) - set(spread))
    for start in range(0, len(rest), size):
        yield rest[start : start + size]


def _channels_last(array: Array, spec: TensorSpec) -> Array:
    return np.moveaxis(array, 1, -1) if spec.layout is Layout.NCHW and array.ndim == 4 else array


def _counters(arrays: Sequence[Array], ports: Ports) -> list[_Tensor]:
    """Counters of all inputs and outputs, with edges learnt from their first values."""
    left = MAX_ALL_CHANNELS
    counters: list[_Tensor] = []
    specs = [*ports.inputs, *ports.outputs]
    for position, (array, spec) in enumerate(zip(arrays, specs, strict=True)):
        channels = array.shape[-1] if array.ndim > 1 else 1
        # Every tensor that is still to come needs one.
        is_pooled = channels > min(MAX_CHANNELS, left - (len(arrays) - position - 1))
        gap = 0.0 if position < len(ports.inputs) else OUTPUT_GAP
        edges = [learn_edges(values, gap) for values in _split(array, 1 if is_pooled else channels)]
        counters.append(_Tensor(spec.name, edges, is_pooled=is_pooled))
        left -= len(edges)
    return counters


class _Channel:
    """One channel."""

    def __init__(self, edges: _Doubles) -> None:
        self._edges = edges
        self._running = RunningChannel(self._edges.tolist())

    def add(self, values: _Doubles) -> None:
        """Count (N,) values."""
        is_finite = np.isfinite(values)
        values = values if is_finite.all() else values[is_finite]
        if not values.size:
            return
        mean = float(values.mean())
        # Nine comparisons of all values take a tenth of the time that searching each takes.
        above = [values.size, *(int(np.count_nonzero(values > edge)) for edge in self._edges), 0]
        self._running.add_summary(
            ChannelSummary(
                mean=mean,
                squares=float(np.square(values - mean).sum()),
                low=float(values.min()),
                high=float(values.max()),
                counts=tuple(more - less for more, less in itertools.pairwise(above)),
            )
        )

    def snapshot(self) -> ChannelFingerprint | None:
        """Rounded; None where nothing finite was seen."""
        found = self._running.snapshot()
        if found is None:
            return None
        return ChannelFingerprint(
            mean=_rounded(found.mean),
            std=_rounded(found.std),
            low=_rounded(found.low),
            high=_rounded(found.high),
            edges=found.edges,
            counts=found.counts,
        )


class _Tensor:
    """One input or output."""

    def __init__(self, name: str, edges: Sequence[_Doubles], *, is_pooled: bool) -> None:
        self._name = name
        self._is_pooled = is_pooled
        self.channels = [_Channel(of_channel) for of_channel in edges]

    def add(self, array: Array) -> None:
        """Count (N, ...)."""
        rows = array.reshape(-1, len(self.channels))
        # Piece by piece, so that all of what a piece needs stays in the processor's cache.
        for start in range(0, len(rows), _PIECE):
            piece = _split(rows[start : start + _PIECE], len(self.channels))
            for channel, values in zip(self.channels, piece, strict=True):
                channel.add(values)

    def snapshot(self) -> TensorFingerprint | None:
        """None where a channel saw nothing finite."""
        found = [channel.snapshot() for channel in self.channels]
        known = tuple(one for one in found if one is not None)
        if len(known) < len(found):
            return None
        return TensorFingerprint(name=self._name, channels=known, is_pooled=self._is_pooled)


class _Answers:
    """A classifier's best scores and classes."""

    def __init__(self, classes: int, *, needs_softmax: bool) -> None:
        self._needs_softmax = needs_softmax
        self._classes = np.zeros(classes, dtype=np.int64)
        self._best = _Channel(np.array(SCORE_EDGES))

    def _read(self, scores: Array) -> tuple[_Doubles, npt.NDArray[np.intp]]:
        values = scores.astype(np.float64)
        values = values[np.isfinite(values).all(axis=1)]
        if self._needs_softmax and values.size:
            values = np.exp(values - values.max(axis=1, keepdims=True))
            values /= values.sum(axis=1, keepdims=True)
        return values.max(axis=1, initial=-np.inf), values.argmax(axis=1)

    def add(self, scores: Array) -> None:
        """Count (N, classes) scores."""
        best, classes = self._read(scores)
        self._best.add(best)
        self._classes += np.bincount(classes, minlength=self._classes.size)

    def snapshot(self) -> AnswerFingerprint | None:
        """None where no answer was finite."""
        best = self._best.snapshot()
        if best is None:
            return None
        return AnswerFingerprint(best_score=best, classes=tuple(self._classes.tolist()))


def _answers(outputs: Sequence[Array], ports: Ports) -> _Answers | None:
    if not ports.is_classifier or outputs[0].ndim != 2 or not 2 <= outputs[0].shape[1] <= MAX_CLASSES:
        return None
    return _Answers(outputs[0].shape[1], needs_softmax=ports.needs_softmax)


def learn_edges(values: _Doubles, gap: float = 0.0) -> _Doubles:
    """Edges that cut values into up to ten bins with about as much in each.

    Args:
        values: (N,), not all need be finite.
        gap: Least distance of edges from each other and from the extremes, as a share of the range.

    Returns:
        Up to nine rising edges, none where there is only one value.
    """
    values = values[np.isfinite(values)]
    values = np.sort(values[:: max(1, math.ceil(values.size / _LEARN_MOST))])
    if not values.size:
        return np.empty(0)
    cuts = [math.ceil(values.size * step / BINS) - 1 for step in range(1, BINS)]
    lower = np.unique(values[cuts])
    after = np.searchsorted(values, lower, side="right")
    has_more = after < values.size
    middle = lower[has_more] / 2 + values[after[has_more]] / 2  # a sum could overflow
    least = gap * (float(values[-1]) / 2 - float(values[0]) / 2) * 2
    kept: list[float] = []
    for edge in sorted({_rounded(float(edge)) for edge in middle}):
        if edge - (kept[-1] if kept else values[0]) >= least and values[-1] - edge >= least:
            kept.append(edge)
    return np.array(kept)


def _split(array: Array, channels: int) -> list[_Doubles]:
    """(N, ...) as (values,) for each channel."""
    rows = array.reshape(-1, channels)
    return [rows[:, channel].astype(np.float64) for channel in range(channels)]


def _rounded(number: float) -> float:
    return float(f"{number:.{_DIGITS}g}")
