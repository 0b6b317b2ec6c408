"""The manifest's tensors found among those that an interpreter has at its border.

Guarantees: found by name; name, shape and dtype are as the manifest says, or every difference is told.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from contract.errors import RuntimeLoadError
from contract.identifiers import nearest
from contract.tensor import DType, TensorSpec
from edge_agent.inference.runtime import Border


def match_borders(specs: Sequence[TensorSpec], borders: Sequence[Border], what: str) -> list[Border]:
    """The interpreter's tensors in the manifest's order.

    Raises:
        RuntimeLoadError: They do not fit each other, with every fault.
    """
    by_name = {border.name: border for border in borders}
    faults = [
        f"{what} {name!r} is not in the manifest" for name in by_name if name not in {s.name for s in specs}
    ]
    found: list[Border] = []
    for spec in specs:
        border = by_name.get(spec.name)
        if border is None:
            faults.append(f"{what} {spec.name!r} is not in the model, {nearest(spec.name, by_name)}")
            continue
        found.append(border)
        if len(spec.shape) != len(border.shape) or any(
            wanted not in {-1, there} for wanted, there in zip(spec.shape, border.shape, strict=True)
        ):
            faults.append(f"{what} {spec.name!r}: shape {border.shape}, the manifest says {spec.shape}")
        is_quantized = spec.dtype is DType.FLOAT32 and border.scale > 0 and border.dtype.kind in "iu"
        if not is_quantized and border.dtype != np.dtype(spec.dtype.value):
            faults.append(f"{what} {spec.name!r}: {border.dtype}, the manifest says {spec.dtype.value}")
    if faults:
        raise RuntimeLoadError("the model is not what the manifest describes", faults=faults)
    return found
