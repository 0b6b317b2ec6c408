"""What all tests of converters share: the place of their environments, and the digits model's weights."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from packager.sources.environment import prepare
from packager.sources.keras import keras_converter
from packager.sources.onnx import onnx_converter
from packager.sources.torch import torch_converter
from tests.support.packager_conversion import Ear
from tests.support.packager_models import digits_model

_KINDS = {"keras": keras_converter(".keras"), "onnx": onnx_converter(), "torch": torch_converter()}
_MAKER = Path(__file__).parent / "make_sources.py"
_TIMEOUT_S = 1200.0


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


@pytest.fixture(scope="session")
def sources(cache: Path, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every framework's files, each made in its converter's environment."""
    folder = tmp_path_factory.mktemp("sources")
    for kind, converter in _KINDS.items():
        started, ear = time.monotonic(), Ear()
        toolchain = prepare(converter, ear.tell)
        sys.stdout.write(f"\n{converter.title}: {ear.lines[-1:]} {time.monotonic() - started:.0f} s\n")
        command = [str(toolchain.python), *toolchain.flags, str(_MAKER), kind, str(weights), str(folder)]
        subprocess.run(command, check=True, timeout=_TIMEOUT_S)
    return folder
