"""Whether a model answers its golden inputs on this board as it did on the packager's machine.

PURE. Rules:

1. Every output element of every sample is compared; one outside the tolerance, or NaN, fails the test. Where the
   tolerance lets a share of them change, more than that share fails it.
2. The best class of the first output must be the expected one for the share of samples that the tolerance asks for.
3. A failure names the samples, the worst error and the limit. Golden data that does not fit the model fails too:
   nothing is skipped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from contract.errors import SelfTestError
from contract.manifest import Tolerance

_NAMED_SAMPLES = 5


class GoldenCases(msgspec.Struct, frozen=True):
    """Golden inputs and expected outputs.

    Attributes:
        samples: How many.
        inputs: Per model input (samples, ...), in the manifest's dtype.
        expected: Output name to (samples, ...) float32.
    """

    samples: int
    inputs: tuple[npt.NDArray[Any], ...]
    expected: dict[str, npt.NDArray[np.float32]]


class Verdict(msgspec.Struct, frozen=True):
    """What a passed test showed: largest difference, share of samples (0 to 1) with the expected best class."""

    worst_abs_error: float
    top1_agreement: float


def golden_cases(
    arrays: Mapping[str, npt.NDArray[Any]],
    *,
    variant: str,
    inputs: Sequence[tuple[str, int, np.dtype[Any]]],
    outputs: Sequence[tuple[str, int]],
    samples: int,
) -> GoldenCases:
    """Pick a variant's cases out of the golden artifact.

    Args:
        arrays: ``input.<name>`` and ``expected.<variant>.<name>``.
        variant: The variant that runs.
        inputs: Name, elements of one sample and dtype, per model input.
        outputs: Name and elements of one sample, per model output.
        samples: How many the manifest promises.

    Raises:
        SelfTestError: Arrays are missing or do not fit, with every one.
    """
    faults: list[str] = []
    wanted = [(f"input.{name}", size, dtype) for name, size, dtype in inputs]
    wanted += [(f"expected.{variant}.{name}", size, np.dtype(np.float32)) for name, size in outputs]
    for key, size, dtype in wanted:
        array = arrays.get(key)
        if array is None:
            faults.append(f"{key}: missing")
        elif array.ndim < 1 or array.shape[0] != samples or array.size != samples * size:
            faults.append(f"{key}: shape {array.shape} for {samples} samples of {size} elements")
        elif array.dtype != dtype:
            faults.append(f"{key}: {array.dtype}, must be {dtype}")
    if faults:
        raise SelfTestError("the golden inputs do not fit the model", faults=faults)
    return GoldenCases(
        samples=samples,
        inputs=tuple(arrays[f"input.{name}"] for name, _, _ in inputs),
        expected={name: arrays[f"expected.{variant}.{name}"] for name, _ in outputs},
    )


def judge(
    expected: Mapping[str, npt.NDArray[np.float32]],
    actual: Mapping[str, npt.NDArray[np.float32]],
    tolerance: Tolerance,
) -> Verdict:
    """Compare outputs with the expected ones.

    Args:
        expected: Output name to (samples, ...) float32; the first one decides the best class.
        actual: The same, from this board.
        tolerance: How far they may be apart.

    Raises:
        SelfTestError: They are too far apart.
    """
    worst = {name: _worst_of_samples(actual[name], expected[name]) for name in expected}
    faults: list[str] = []
    for name, errors in worst.items():
        limit = tolerance.limit(name)
        bad = np.flatnonzero(errors > limit)
        if bad.size and _changed_share(actual[name], expected[name], limit) > tolerance.max_changed:
            faults.append(
                f"output {name!r}: {_name_samples(bad)} of {errors.size} off by up to {errors.max():.6g}, "
                f"at most {limit:g} is allowed"
            )
    first = next(iter(expected))
    hits = _best(actual[first]) == _best(expected[first])
    agreement = float(np.mean(hits))
    if agreement < tolerance.min_top1_agreement:
        faults.append(
            f"best class: {_name_samples(np.flatnonzero(~hits))} of {hits.size} differ, agreement {agreement:.3f}, "
            f"at least {tolerance.min_top1_agreement:g} is needed"
        )
    if faults:
        raise SelfTestError(
            "the model does not answer its golden inputs as expected on this board",
            faults=faults,
            remedy="compare the board's runtime and delegate with the packager's; the file itself is intact",
        )
    return Verdict(max(float(errors.max()) for errors in worst.values()), agreement)


def _worst_of_samples(actual: npt.NDArray[Any], expected: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Largest difference per sample; infinite where a value is NaN."""
    flat = [array.reshape(array.shape[0], -1).astype(np.float64) for array in (actual, expected)]
    with np.errstate(invalid="ignore"):
        difference = np.abs(flat[0] - flat[1])
    difference[flat[0] == flat[1]] = 0.0  # infinities of the same sign
    worst: npt.NDArray[np.float64] = np.where(np.isnan(difference), np.inf, difference).max(axis=1)
    return worst


def _changed_share(actual: npt.NDArray[Any], expected: npt.NDArray[Any], limit: float) -> float:
    """Share of the elements that are off by more than the limit or NaN, among those that are not 0 on both sides."""
    with np.errstate(invalid="ignore"):
        is_close = (np.abs(actual.astype(np.float64) - expected) <= limit) | (actual == expected)
    told = int(((actual != 0) | (expected != 0)).sum())
    return float((~is_close).sum()) / max(told, 1)


def _best(scores: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    best: npt.NDArray[np.int64] = scores.reshape(scores.shape[0], -1).argmax(axis=1)
    return best


def _name_samples(indices: npt.NDArray[np.int64]) -> str:
    shown = ", ".join(str(index) for index in indices[:_NAMED_SAMPLES])
    more = indices.size - _NAMED_SAMPLES
    return f"samples {shown}" + (f" and {more} more" if more > 0 else "")
