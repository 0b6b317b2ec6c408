"""A model whose weights are many: a stack of dense layers, with a signature; knows nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from contract.profile import DelegateName, Precision
from contract.tensor import DType, Layout, TensorSpec
from packager.runtime.objects import make_signature
from tests.support.coverage_models import ModelBuilder
from tests.support.inference_slots import a_slot, npz_of

WIDTH = 1536
LAYERS = 2
"""Together 18.9 MB, above the size from which weights are cached."""


def a_large_model(*, has_signature: bool = True) -> bytes:
    """Its file; without a signature its tensors go by their own names."""
    builder = ModelBuilder()
    drawn = np.random.default_rng(11)
    at = builder.input((1, WIDTH))
    for _ in range(LAYERS):
        weights = builder.constant(drawn.normal(0, WIDTH**-0.5, (WIDTH, WIDTH)))
        made = builder.tensor((1, WIDTH))
        at = builder.node(
            "FULLY_CONNECTED", [at, weights, builder.constant(np.zeros(WIDTH))], [made],
            table="FullyConnectedOptions",
        )  # fmt: skip
    if has_signature:
        builder.model.signatureDefs = [make_signature("serving_default", [("input", 0)], [("output", at)])]
    return builder.build(at)


def a_large_slot(folder: Path, *, has_signature: bool = True) -> Path:
    """A slot that says digits 1.0.0 and holds it; golden outputs are zeros."""
    source, sink = ("input", "output") if has_signature else ("t0", f"t{2 * LAYERS + 1}")
    arrays = {
        f"input.{source}": np.zeros((1, WIDTH), np.float32),
        f"expected.float32.{sink}": np.zeros((1, WIDTH), np.float32),
    }
    return a_slot(
        folder,
        content=a_large_model(has_signature=has_signature),
        golden=npz_of(arrays),
        variant={"name": "float32", "precision": Precision.FLOAT32, "delegate": DelegateName.XNNPACK},
        inputs=(TensorSpec(name=source, shape=(1, WIDTH), dtype=DType.FLOAT32, layout=Layout.NC),),
        outputs=(TensorSpec(name=sink, shape=(1, WIDTH), dtype=DType.FLOAT32, layout=Layout.NC),),
        labels=(),
        preprocessing=None,
        postprocessing=None,
    )  # fmt: skip
