"""Normalises one model in this process, and proves it.

Guarantees: what comes back answers as the original on ``proof.ROUNDS`` drawn inputs, or an error says how it differs;
the same file gives the same bytes. Only for bytes that may crash this process: see ``packager.normalize.process``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from contract.errors import ManifestError
from packager.normalize.compact import compact
from packager.normalize.fold import Folding, find_foldable, fold
from packager.normalize.plan import (
    DATA_DEPENDENT,
    FREE,
    SIGNATURE_KEY,
    Changes,
    pinned_shape,
    signature_names,
)
from packager.normalize.proof import ROUNDS, draw_inputs, find_difference, largest_difference
from packager.runtime.objects import (
    make_signature,
    operator_name,
    pack_model,
    renew_codes,
    text_of,
    unpack_model,
)
from packager.runtime.session import Session

BATCH = 1
"""What a free batch is pinned to: an agent answers one request at a time, whatever the profile."""
_SEED = 1  # any: the same inputs on every run, so that a refusal can be repeated


class Normalized(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a model.

    Attributes:
        changes: What was done, for people; empty when nothing was.
        difference: Largest difference of an output to the original's, as a share of the output's largest value.
    """

    changes: tuple[str, ...] = ()
    difference: float = 0.0

    def text(self, name: str) -> str:
        """All of it in one line; empty when nothing was done."""
        if not self.changes:
            return ""
        proof = (
            f"outputs differ by {self.difference:.1g} at most" if self.difference else "outputs are the same"
        )
        return f"normalised {name}: {', '.join(self.changes)}; {proof}"


@dataclass
class _Work:
    """A model on its way.

    Attributes:
        model: ``ModelT``.
        pinned: Shape of every input, when a batch was pinned; else empty.
        folding: Operators to replace.
        changes: All that is done.
    """

    model: Any
    pinned: list[tuple[int, ...]]
    folding: Folding
    changes: Changes


def needs_normalizing(content: bytes) -> bool:
    """Whether there is anything to do for a model; nothing is run."""
    return _plan(content).changes != Changes()


def normalize(content: bytes) -> tuple[bytes, Normalized]:
    """Bring a model into the form that can be quantized.

    Args:
        content: A .tflite file.

    Returns:
        The file, the same bytes when there was nothing to do; and what was done.

    Raises:
        ManifestError: The changed model answers otherwise than the original, or would be too large.
        RuntimeLoadError: LiteRT does not load or run it.
    """
    work = _plan(content)
    if work.changes == Changes():
        return content, Normalized()
    if work.folding.positions or work.pinned:
        session = Session(content, keep_values=True)
        if work.pinned:
            session.reshape(work.pinned)
        session.run([np.zeros(port.shape, port.dtype) for port in session.inputs])
        fold(work.model, work.folding, session.value)
        if work.pinned:
            _fix_shapes(work.model, session.shapes())
    if work.changes.signature:
        _sign(work.model)
    compact(work.model)
    made = pack_model(work.model)
    difference = prove(content, made, work.pinned)
    return made, Normalized(changes=work.changes.texts(), difference=difference)


def _plan(content: bytes) -> _Work:
    model = unpack_model(content)
    codes = renew_codes(model)
    pinned = _pin_inputs(model)
    folding = find_foldable(model, is_pinned=bool(pinned))
    graph = model.subgraphs[0]
    changes = Changes(
        codes=codes,
        half=folding.count("DEQUANTIZE"),
        sparse=folding.count("DENSIFY"),
        batch=BATCH if pinned else 0,
        shapes=folding.shapes,
        signature=None if model.signatureDefs else (len(graph.inputs), len(graph.outputs)),
    )
    return _Work(model, pinned, folding, changes)


def _pin_inputs(model: Any) -> list[tuple[int, ...]]:
    """Pin the batch of every input; gives the shapes of all inputs, or nothing when no batch is free."""
    graph = model.subgraphs[0]
    tensors = [graph.tensors[index] for index in graph.inputs]
    pinned = [pinned_shape(_shape(tensor.shape), _shape(tensor.shapeSignature), BATCH) for tensor in tensors]
    is_free = [FREE in _shape(tensor.shapeSignature) for tensor in tensors]
    # All or nothing: where another dimension is free too, the author has to say what it should be.
    if not any(pinned) or any(free and not shape for free, shape in zip(is_free, pinned, strict=True)):
        return []
    for tensor, shape in zip(tensors, pinned, strict=True):
        if shape:
            tensor.shape, tensor.shapeSignature = list(shape), None
    return [_shape(tensor.shape) for tensor in tensors]


def _fix_shapes(model: Any, shapes: dict[int, tuple[int, ...]]) -> None:
    """Give tensors the shapes that they have with the pinned batch."""
    graph = model.subgraphs[0]
    if any(operator_name(model, operator) in DATA_DEPENDENT for operator in graph.operators):
        return
    for index, tensor in enumerate(graph.tensors):
        if FREE in _shape(tensor.shapeSignature) and index in shapes:
            tensor.shape, tensor.shapeSignature = list(shapes[index]), None


def _sign(model: Any) -> None:
    graph = model.subgraphs[0]
    sides = []
    for kind, indices in (("input", graph.inputs), ("output", graph.outputs)):
        names = signature_names([text_of(graph.tensors[index].name) for index in indices], kind)
        sides.append([(name, int(index)) for name, index in zip(names, indices, strict=True)])
    model.signatureDefs = [make_signature(SIGNATURE_KEY, sides[0], sides[1])]


def prove(original: bytes, made: bytes, pinned: Sequence[tuple[int, ...]] = ()) -> float:
    """Run the original and its changed form on the same drawn inputs.

    Args:
        original: The file as it was given.
        made: The changed file.
        pinned: Shapes that the original's inputs are given; empty to leave them.

    Returns:
        The largest difference of an output, as a share of its largest value.

    Raises:
        ManifestError: They differ beyond the tolerance.
        RuntimeLoadError: LiteRT does not load or run one of them.
    """
    before, after = Session(original), Session(made)
    if pinned:
        before.reshape(pinned)
    generator = np.random.default_rng(_SEED)
    worst = 0.0
    for turn in range(ROUNDS):
        inputs = draw_inputs([(port.shape, port.dtype) for port in before.inputs], turn, generator)
        wanted, found = before.run(inputs), after.run(inputs)
        names = [port.name for port in before.outputs]
        difference = find_difference(names, wanted, found)
        if difference:
            raise ManifestError(f"normalising changes its answers: {difference}")
        worst = max(worst, largest_difference(wanted, found))
    return worst


def _shape(vector: Any) -> tuple[int, ...]:
    return () if vector is None else tuple(int(size) for size in vector)
