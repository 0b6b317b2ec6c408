"""The child process that reads a model file for its coverage: predicts, or loads it to count.

Reads the file's bytes from standard input. ``python -m packager.coverage_probe RUNTIME`` writes the predictions as
JSON, ``python -m packager.coverage_probe --measure`` what XNNPACK really took. A model may crash the native loader;
then this process dies and its parent (``packager.coverage_file``) says so.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import msgspec

from contract.errors import RuntimeLoadError
from packager import confined
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


def main(arguments: Sequence[str]) -> None:
    """Answer one question."""
    if arguments == ["--measure"]:
        confined.answer(lambda content: msgspec.json.encode(count(content)))
    else:
        confined.answer(lambda content: msgspec.json.encode(predict(content, int(arguments[0]))))


if __name__ == "__main__":
    main(sys.argv[1:])
