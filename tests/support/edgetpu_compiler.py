"""An ``edgetpu_compiler`` to put on the path: a program that behaves as the real one's documentation and logs say.

It writes ``<name>_edgetpu.tflite`` into ``-o``, with one ``edgetpu-custom-op`` in place of the graph, and prints the
real one's log. Files beside it tell it how to misbehave, and it notes there how it was called.
"""

from __future__ import annotations

import sys
from pathlib import Path

_SCRIPT = """#!{python}
import pathlib, sys, time
home = pathlib.Path({home!r})
calls = home / "calls"
with calls.open("a") as file:
    file.write(" ".join(sys.argv[1:]) + "\\n")
attempt = len(calls.read_text().splitlines())
mode = (home / "mode").read_text()
print("Edge TPU Compiler version 16.0.384591198")
if mode == "crash always" or (mode == "crash once" and attempt == 1):
    print("\\nInternal compiler error. Aborting! ")
    sys.exit(1)
if mode == "segfault once" and attempt == 1:
    import os, signal
    sys.stdout.flush()
    os.kill(os.getpid(), signal.SIGSEGV)
if mode == "refuse":
    print("Invalid model: " + sys.argv[-1] + "\\nModel not quantized")
    sys.exit(1)
if mode == "hang":
    sys.stdout.flush()
    time.sleep(600)
out, model = pathlib.Path(sys.argv[sys.argv.index("-o") + 1]), pathlib.Path(sys.argv[-1])
sys.path.insert(0, {root!r})
from tests.support.edgetpu_compiler import compiled, log
content = model.read_bytes() if mode == "map nothing" else compiled(model.read_bytes())
(out / (model.stem + "_edgetpu.tflite")).write_bytes(content)
print("" if mode == "say nothing" else log(0 if mode == "map nothing" else 8))
"""


def install(folder: Path, mode: str = "well") -> Path:
    """Write the program; ``calls`` beside it gets a line of arguments for each call.

    Args:
        folder: To put on the path.
        mode: ``well``, ``crash once``, ``segfault once``, ``crash always``, ``refuse``, ``hang``, ``map nothing`` or
            ``say nothing``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "edgetpu_compiler"
    root = str(Path(__file__).resolve().parents[2])
    program.write_text(_SCRIPT.format(python=sys.executable, home=str(folder), root=root))
    program.chmod(0o755)
    (folder / "mode").write_text(mode)
    return program


def compiled(content: bytes) -> bytes:
    """A model with the same inputs and outputs whose only operator is the Edge TPU's."""
    import flatbuffers
    import numpy as np
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    graph = model.subgraphs[0]
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    code.customCode, code.version = b"edgetpu-custom-op", 1
    operator = schema.OperatorT()
    operator.inputs = np.array(graph.inputs, dtype=np.int32)
    operator.outputs = np.array(graph.outputs, dtype=np.int32)
    model.operatorCodes, graph.operators = [code], [operator]
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def log(mapped: int, total: int = 9) -> str:
    """What compiler 16.0 prints with ``-s`` (google-coral/edgetpu issues 427 and 572)."""
    lines = [
        "Started a compilation timeout timer of 180 seconds.",
        "",
        "Model compiled successfully in 113 ms.",
        "",
        "Input model: model.tflite",
        "Input size: 104.19KiB",
        "Output model: model_edgetpu.tflite",
        "Output size: 164.78KiB",
        "On-chip memory used for caching model parameters: 112.50KiB",
        "On-chip memory remaining for caching model parameters: 7.89MiB",
        "Off-chip memory used for streaming uncached model parameters: 0.00B",
        f"Number of Edge TPU subgraphs: {min(mapped, 1)}",
        f"Total number of operations: {total}",
        "Operation log: model_edgetpu.log",
        "",
    ]
    if mapped < total:
        lines += [
            (
                "Model successfully compiled but not all operations are supported by the Edge TPU. A percentage of the "
                "model will instead run on the CPU, which is slower. If possible, consider updating your model to use "
                "only operations supported by the Edge TPU. For details, visit g.co/coral/model-reqs."
            ),
            f"Number of operations that will run on Edge TPU: {mapped}",
            f"Number of operations that will run on CPU: {total - mapped}",
            "",
        ]
    lines += ["Operator                       Count      Status", ""]
    lines += [f"CONV_2D                        {mapped}          Mapped to Edge TPU"] if mapped else []
    if mapped < total:
        lines.append(
            f"SOFTMAX                        {total - mapped}          Operation is otherwise supported, but not "
            "mapped due to some unspecified limitation"
        )
    lines += ["Compilation child process completed within timeout period.", "Compilation succeeded! "]
    return "\n".join(lines)
