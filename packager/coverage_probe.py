"""The child process that reads a model file for its coverage: predicts, and on request loads it to count.

Reads the file's bytes from standard input. Writes one JSON line with the predictions, then, with ``--measure``, one
with what XNNPACK really took. A damaged flatbuffer may crash the native loader; then this process dies and its
parent (``packager.coverage_file``) says so. Run as ``python -m packager.coverage_probe RUNTIME [--measure]``.
"""

from __future__ import annotations

import sys

import msgspec

from contract.errors import RuntimeLoadError
from packager.coverage.coverage import Count, Predictions
from packager.coverage.edgetpu import predict_edgetpu
from packager.coverage.xnnpack import predict_xnnpack
from packager.runtime.delegation import measure_delegation
from packager.runtime.graph import is_edgetpu_model, read_graph


def predict(content: bytes, runtime: int) -> Predictions:
    """Predict for both delegates.

    Args:
        content: A TFLite flatbuffer.
        runtime: Edge TPU runtime version.
    """
    graph = read_graph(content)
    return Predictions(
        xnnpack=predict_xnnpack(graph),
        edgetpu=predict_edgetpu(graph, runtime),
        is_compiled=is_edgetpu_model(content),
    )


def count(content: bytes) -> Count:
    """Load a model with XNNPACK and count."""
    try:
        found = measure_delegation(content)
    except RuntimeLoadError as error:
        return Count(refused=str(error))
    return Count(
        nodes_total=found.nodes_total, nodes_delegated=found.nodes_delegated, partitions=found.partitions
    )


if __name__ == "__main__":
    model = sys.stdin.buffer.read()
    sys.stdout.buffer.write(msgspec.json.encode(predict(model, int(sys.argv[1]))) + b"\n")
    sys.stdout.buffer.flush()
    if "--measure" in sys.argv[2:]:
        sys.stdout.buffer.write(msgspec.json.encode(count(model)) + b"\n")
