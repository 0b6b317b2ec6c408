"""The child that packs a model's weights into a file and proves it: ``python -m edge_agent.inference.pack_weights``.

Guarantees: a cache is kept only when the model answers with it as it does on the classic interpreter, to the last
bit; a model that cannot have one is written down with the reason. Leaves the processor to those who answer requests.
A native crash ends this process and nothing else.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from contract.digest import digest_of
from contract.errors import DeviceError, LitefleetError
from contract.manifest import Variant
from contract.profile import DelegateName
from edge_agent.files import read_bounded
from edge_agent.inference.cached_weights import DRAFT_FILE, FOLDER, LIMIT_S, RECORD_FILE, keep
from edge_agent.inference.compiled import CompiledGraph, edge_of
from edge_agent.inference.engine import Engine
from edge_agent.inference.memory import release_free_memory
from edge_agent.inference.runtime import Border, Graph, Runtime, find_runtime
from edge_agent.inference.slot import load_slot
from edge_agent.inference.weight_cache import RECORD_MAX_BYTES, RUNTIME, Packed, Record, parse_record

_NICE = 10
_RUNS = 2
"""The second run finds what the first one spoils."""
_SEED = 20260419


def pack(folder: Path, path: Path, variant: Variant, record: Record) -> None:
    """Make a cache, prove it, and write down what became of it.

    Args:
        folder: Where it is kept.
        path: Model file, checked.
        variant: It belongs to.
        record: What was written down when this was begun.

    Raises:
        StorageError: Nothing could be written.
    """
    draft = folder / DRAFT_FILE
    try:
        packed = _prove(draft, path, variant, find_runtime(RUNTIME))
    except LitefleetError as error:
        keep(folder, msgspec.structs.replace(record, refused=error.summary()), None)
    else:
        keep(folder, msgspec.structs.replace(record, packed=packed), draft)


def _prove(draft: Path, path: Path, variant: Variant, runtime: Runtime) -> Packed:
    graph = Graph(runtime, path, variant, 1, Engine(runtime=runtime.name))
    if graph.delegate.actual != DelegateName.XNNPACK.value:
        raise DeviceError("XNNPACK takes no node of this model")
    if not graph.signature:
        raise DeviceError("the model has no signature to run it by")
    trials = [_trial(graph.inputs, run) for run in range(_RUNS)]
    expected = [graph.run(inputs) for inputs in trials]
    packed = Packed(
        sha256="",
        size_bytes=0,
        signature=graph.signature,
        inputs=tuple(edge_of(border) for border in graph.inputs),
        outputs=tuple(edge_of(border) for border in graph.outputs),
        delegate=graph.delegate,
    )
    del graph
    release_free_memory()
    compiled = CompiledGraph(path, draft, packed, 1)
    for inputs, wanted in zip(trials, expected, strict=True):
        for found, one in zip(compiled.run(inputs), wanted, strict=True):
            if not np.array_equal(found, one, equal_nan=one.dtype.kind == "f"):
                raise DeviceError("with cached weights it answers otherwise than without")
    try:
        with draft.open("rb") as file:
            digest = digest_of(file)
    except FileNotFoundError as error:
        raise DeviceError("the runtime wrote no cache") from error
    return msgspec.structs.replace(packed, sha256=digest.sha256, size_bytes=digest.size_bytes)


def _trial(borders: Sequence[Border], run: int) -> list[npt.NDArray[Any]]:
    """Inputs to compare with: zeros first, then values all over; whole numbers that may be places stay 0."""
    drawn = np.random.default_rng(_SEED)
    found: list[npt.NDArray[Any]] = []
    for border in borders:
        if run == 0 or (border.dtype.kind in "iub" and border.dtype.itemsize > 1) or border.dtype.kind == "b":
            found.append(np.zeros(border.shape, border.dtype))
        elif border.dtype.kind == "f":
            found.append(drawn.uniform(-1.0, 1.0, border.shape).astype(border.dtype))
        else:
            ends = np.iinfo(border.dtype)
            found.append(drawn.integers(ends.min, ends.max, border.shape, border.dtype, endpoint=True))
    return found


def main(arguments: list[str]) -> int:
    """Pack one model's weights; the exit code is 0 when that was found possible or not, 1 when nothing is known.

    Args:
        arguments: Folder of the slot, and the variant's name.
    """
    signal.alarm(round(LIMIT_S) + 1)  # ends native code too, and an orphan
    os.nice(_NICE)
    slot = load_slot(Path(arguments[0]))
    variant = next(each for each in slot.manifest.variants if each.name == arguments[1])
    folder = slot.folder / FOLDER
    record = parse_record(read_bounded(folder / RECORD_FILE, RECORD_MAX_BYTES))
    if record is None:
        return 1
    pack(folder, slot.path_of(variant), variant, record)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
