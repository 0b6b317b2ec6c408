"""The self-test that travels in a bundle: which inputs, how far outputs may be off, and its file.

Guarantees: the same evaluation gives the same samples, and the same arrays the same bytes (``numpy.savez`` stores
members with the ZIP epoch as their time; a test holds it to that).

Tolerances are shares of an output's spread (highest minus lowest over the evaluation set). Boards run other
kernels than the packager's machine: other vector widths and summation orders, and other rounding when integers are
scaled back. Largest differences measured on the digits model:

* between XNNPACK, TFLite's own and its reference kernels (``tests/benchmarks/packager/kernels.py``): 0.018 for dynamic
  int8, whose kernels quantize activations in different ways; 0.000001 for float forms; none for static ones;
* between ai-edge-litert 2.3.0 and tflite-runtime 2.14.0, with ranges calibrated in another order of images: 0.016 for
  static int8, which is four steps of its output; 0.0001 for static int16.

The shares below leave a factor of three for integers and, because rounding adds up in deeper nets, more for floats.
A wrong kernel is far outside: it answers at random.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from contract.manifest import Tolerance
from contract.profile import Precision
from packager.evaluate import Evaluation

SAMPLES = 16
TOLERANCE_SHARE: dict[Precision, float] = {
    Precision.STATIC_INT8: 0.05,
    Precision.DYNAMIC_INT8: 0.05,
    Precision.STATIC_INT16: 0.005,
    Precision.WEIGHT_ONLY_INT8: 0.001,
    Precision.WEIGHT_ONLY_INT4: 0.001,
    Precision.FLOAT16: 0.001,
    Precision.FLOAT32: 0.001,
}


CHANGED_SHARE = {kind: 0.25 if share >= 0.005 else 0.1 for kind, share in TOLERANCE_SHARE.items()}
"""How many elements of outputs that are choices may be others: places in a list of boxes, classes of pixels."""
DENSE_SHARE = {kind: 0.01 if share >= 0.005 else 0.0 for kind, share in TOLERANCE_SHARE.items()}
"""The same for outputs with a score per place. Among thousands some stand where a softmax is steepest: between XNNPACK
and TFLite's own kernels 0.0032 of a static int8 detector's scores are off by more than the tolerance, 0.0009 of a
dynamic one's, 0.0004 of a static int8 segmenter's, none of float ones' (the models of ``tests/data/vision``)."""


@dataclass(frozen=True)
class GoldenChoice:
    """Which samples are golden (positions in the evaluation set), and the tolerance per variant name."""

    positions: tuple[int, ...]
    tolerance: dict[str, Tolerance]


def choose_golden(
    classes: npt.NDArray[np.int64],
    variants: Mapping[str, tuple[Precision, Evaluation]],
    outputs: Sequence[str],
    *,
    are_choices: bool = False,
) -> GoldenChoice:
    """Choose golden samples: spread over the classes, and clear enough that rounding cannot turn their answer.

    A sample is clear when, for every variant, its best score leads by more than twice the tolerance: then outputs
    within the tolerance have the same best class, and full agreement may be asked for. Where too few are clear,
    the clearest are taken and less agreement is asked for. Of a task without a best class none is asked for.

    Args:
        classes: (N,) kind of each evaluation sample.
        variants: Variant name to its precision and evaluation.
        outputs: Names of the model's outputs, in its order.
        are_choices: Whether the model's graph chooses: outputs jump where two scores are nearly equal.
    """
    limits = {
        name: [TOLERANCE_SHARE[kind] * spread for spread in found.spread]
        for name, (kind, found) in variants.items()
    }
    allowed = {name: one[0] for name, one in limits.items()}
    has_best = {name: bool(np.isfinite(found.margin).any()) for name, (_, found) in variants.items()}
    clear = {name: found.margin > 2 * allowed[name] for name, (_, found) in variants.items()}
    clear_for_all = np.logical_and.reduce(list(clear.values()))
    wanted = min(SAMPLES, len(classes))
    positions = _spread(classes, np.flatnonzero(clear_for_all), wanted)
    if len(positions) < wanted:
        # How much of the needed lead each sample has, for the variant where it has least.
        leads = [
            found.margin / max(2 * allowed[name], float(np.finfo(np.float32).tiny))
            for name, (_, found) in variants.items()
        ]
        order = np.argsort(-np.minimum.reduce(leads), kind="stable")
        rest = [int(position) for position in order if int(position) not in positions]
        positions = sorted([*positions, *rest[: wanted - len(positions)]])
    chosen = np.array(positions)
    return GoldenChoice(
        positions=tuple(positions),
        tolerance={
            name: Tolerance(
                max_abs_error=allowed[name],
                min_top1_agreement=float(clear[name][chosen].mean()) if has_best[name] else 0.0,
                outputs=dict(zip(outputs[1:], limits[name][1:], strict=True)),
                max_changed=_changed(kind, has_best=has_best[name], are_choices=are_choices),
            )
            for name, (kind, _) in variants.items()
        },
    )


def _changed(kind: Precision, *, has_best: bool, are_choices: bool) -> float:
    if are_choices:
        return CHANGED_SHARE[kind]
    return 0.0 if has_best else DENSE_SHARE[kind]


def _spread(classes: npt.NDArray[np.int64], candidates: npt.NDArray[np.intp], wanted: int) -> list[int]:
    """Take candidates class by class in turns, first ones first; evenly over the classes when there are many."""
    present = sorted({int(classes[position]) for position in candidates})
    if len(present) > wanted:
        present = [present[step * len(present) // wanted] for step in range(wanted)]
    queues = [[int(p) for p in candidates if classes[p] == label] for label in present]
    chosen: list[int] = []
    for turn in range(wanted):
        chosen += [queue[turn] for queue in queues if turn < len(queue)]
    return sorted(chosen[:wanted])


def encode_golden(
    inputs: Mapping[str, npt.NDArray[Any]], expected: Sequence[tuple[str, Mapping[str, npt.NDArray[Any]]]]
) -> bytes:
    """Store golden inputs and outputs as an uncompressed .npz.

    Args:
        inputs: Name of each input to (samples, ...) in the manifest's dtype.
        expected: Variant name, and name of each output to (samples, ...); stored as float32.
    """
    arrays = {f"input.{name}": values for name, values in inputs.items()}
    for variant, outputs in expected:
        arrays |= {
            f"expected.{variant}.{name}": values.astype(np.float32) for name, values in outputs.items()
        }
    sink = io.BytesIO()
    np.savez(sink, allow_pickle=False, **arrays)
    return sink.getvalue()
