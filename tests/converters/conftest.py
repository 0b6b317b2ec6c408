"""What all tests of converters share: the place of their environments, and the digits model's weights."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from tests.support.packager_models import digits_model


@pytest.fixture(scope="session")
def cache() -> Path:
    """Where environments are; conversions of earlier runs are removed, so that they are made in this one."""
    folder = Path(
        os.environ.get("LITEFLEET_TEST_CACHE") or Path.home() / ".cache" / "litefleet-tests"
    ).resolve()
    shutil.rmtree(folder / "litefleet" / "conversions", ignore_errors=True)
    shutil.rmtree(folder / "litefleet" / "pack", ignore_errors=True)
    os.environ["XDG_CACHE_HOME"] = str(folder)
    return folder


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits model's own weights, as ``make_sources.py`` takes them."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(digits_model(), 0))
    graph = model.subgraphs[0]
    found: dict[str, Any] = {}
    convolutions = iter(("conv1", "conv2", "conv3", "conv4"))
    for operator in graph.operators:
        code = model.operatorCodes[operator.opcodeIndex].builtinCode
        if code in {schema.BuiltinOperator.CONV_2D, schema.BuiltinOperator.FULLY_CONNECTED}:
            name = next(convolutions) if code == schema.BuiltinOperator.CONV_2D else "dense"
            for key, index in ((name, operator.inputs[1]), (f"{name}_bias", operator.inputs[2])):
                tensor = graph.tensors[index]
                values = bytes(model.buffers[tensor.buffer].data)
                found[key] = np.frombuffer(values, dtype=np.float32).reshape(tensor.shape)
    path = tmp_path_factory.mktemp("weights") / "weights.npz"
    np.savez(path, **found)
    return path
