"""How the memory estimate in the manifest compares with what a process really grows by.

The digits model is too small to see among the pages that loading a runtime takes, so this builds a net of four
dense layers with 64 MiB of float weights. The growth is measured in a child, from before the file is read until
after three runs.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from contract.profile import Precision
from packager.quantize import Ranges, quantize
from packager.runtime.flatbuffer import estimate_memory_bytes
from tests.benchmarks.harness import Row, at_least, versions_of
from tests.support.packager_models import digits_model

WIDTH, LAYERS, MIB = 2048, 4, 1 << 20
PROGRAM = f"""
import sys
import numpy as np
from contract.profile import DelegateName
from packager.runtime.interpreter import LoadedModel

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

LoadedModel(open(sys.argv[1], "rb").read(), DelegateName.XNNPACK).run([np.zeros((1, 8, 8, 1), np.float32)])
before = resident()
model = LoadedModel(open(sys.argv[2], "rb").read(), DelegateName.XNNPACK)
model.run([np.zeros((3, {WIDTH}), np.float32)])
print(resident() - before)
"""


def rows() -> list[Row]:
    """Compare for float32 and dynamic int8."""
    content = dense_model()
    versions = versions_of("ai-edge-litert")
    made: list[Row] = []
    dynamic = quantize(content, Precision.DYNAMIC_INT8, Ranges(None))
    for precision, model in ((Precision.FLOAT32, content), (Precision.DYNAMIC_INT8, dynamic)):
        estimate, growth = estimate_memory_bytes(model), _growth_bytes(model)
        made += [
            Row(
                f"{precision.value} dense net: memory estimate / measured growth",
                estimate / growth,
                "ratio",
                1,
                at_least(0.9),
                1.0,
                versions,
            ),
            Row(
                f"{precision.value} dense net: memory estimate",
                estimate / MIB,
                "MiB",
                1,
                baseline=growth / MIB,
            ),
        ]
    return made


def _growth_bytes(content: bytes) -> int:
    with tempfile.TemporaryDirectory() as folder:
        small, large = Path(folder) / "small.tflite", Path(folder) / "large.tflite"
        small.write_bytes(digits_model())
        large.write_bytes(content)
        command = [sys.executable, "-c", PROGRAM, str(small), str(large)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
        return int(done.stdout)


def dense_model() -> bytes:
    """A float model of dense layers in a row, (1, WIDTH) float32 in and out."""
    rng = np.random.default_rng(7)
    model = schema.ModelT()
    model.version = 3
    model.buffers = [_filled(schema.BufferT(), data=None)]
    code = _filled(schema.OperatorCodeT(), version=1)
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.FULLY_CONNECTED
    model.operatorCodes = [code]
    graph = _filled(schema.SubGraphT(), name="main", tensors=[], operators=[])
    model.subgraphs = [graph]
    graph.tensors.append(_tensor("x", (1, WIDTH), 0))
    for layer in range(LAYERS):
        weights = rng.normal(size=(WIDTH, WIDTH)).astype(np.float32)
        model.buffers.append(_filled(schema.BufferT(), data=weights.reshape(-1).view(np.uint8)))
        graph.tensors += [
            _tensor(f"w{layer}", (WIDTH, WIDTH), len(model.buffers) - 1),
            _tensor(f"y{layer}", (1, WIDTH), 0),
        ]
        before, kernel, after = (0 if layer == 0 else 2 * layer), 2 * layer + 1, 2 * layer + 2
        operator = _filled(schema.OperatorT(), inputs=[before, kernel, -1], outputs=[after])
        operator.builtinOptionsType = schema.BuiltinOptions.FullyConnectedOptions
        operator.builtinOptions = schema.FullyConnectedOptionsT()
        graph.operators.append(operator)
    graph.inputs, graph.outputs = [0], [2 * LAYERS]
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _tensor(name: str, shape: tuple[int, ...], buffer: int) -> Any:
    return _filled(
        schema.TensorT(), name=name, shape=list(shape), buffer=buffer, type=schema.TensorType.FLOAT32
    )


def _filled(table: Any, **fields: Any) -> Any:
    for name, value in fields.items():
        setattr(table, name, value)
    return table
