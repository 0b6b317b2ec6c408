"""The packager's side of the MobileNetV2 benchmark, and the bare quantizer's; each run in a process of its own.

``packager|bare MODEL CALIBRATION MADE`` makes static int8 and prints what it took as one JSON line. ``packager`` reads
and checks the file as ``litefleet-packager pack`` does, then calibrates and quantizes with its code; ``bare`` hands the
normalised file to litert-quantizer with its defaults.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

RANGE = -1.0, 1.0
"""What the preprocessing makes of an image's pixels; ``pack`` takes it from there, not from the calibration images."""


def packager(model: Path, calibration: Path, made: Path) -> dict[str, float]:
    """What ``pack`` does for the rung static int8."""
    started = time.perf_counter()
    import litert_quantizer.quantizer
    import numpy as np

    from contract.profile import Precision
    from packager.quantize import calibrate, pin_range, quantize
    from packager.runtime.graph import read_graph
    from packager.sources.tflite import load_tflite

    assert litert_quantizer.quantizer  # its import counts as import
    imported = time.perf_counter()
    source = load_tflite(model)
    loaded = time.perf_counter()
    samples = np.load(calibration)
    ready = time.perf_counter()
    precision = Precision.STATIC_INT8
    graph = read_graph(source.content)
    found = calibrate(source.content, precision, source.source, [samples])
    ranges = pin_range(found, graph.tensors[graph.inputs[0]].name, *RANGE)
    content = quantize(source.content, precision, ranges)
    done = time.perf_counter()
    made.write_bytes(content)
    made.with_suffix(".normalized").write_bytes(source.content)
    return {"import_s": imported - started, "load_s": loaded - imported, "work_s": done - ready}


def bare(model: Path, calibration: Path, made: Path) -> dict[str, float]:
    """litert-quantizer as its guide has it."""
    started = time.perf_counter()
    import numpy as np
    from litert_quantizer import quantizer, recipe

    imported = time.perf_counter()
    samples = np.load(calibration)
    ready = time.perf_counter()
    work = quantizer.Quantizer(bytearray(model.read_bytes()), recipe.static_wi8_ai8())
    runner: Any = _signature(model)
    key, name = next((key, one["inputs"][0]) for key, one in runner.items())
    ranges = work.calibrate({key: [{name: sample[np.newaxis]} for sample in samples]})
    content = bytes(work.quantize(ranges).quantized_model)
    done = time.perf_counter()
    made.write_bytes(content)
    return {"import_s": imported - started, "load_s": 0.0, "work_s": done - ready}


def _signature(model: Path) -> Any:
    from ai_edge_litert.interpreter import Interpreter

    return Interpreter(model_path=str(model)).get_signature_list()


def peak_bytes() -> int:
    """The most memory that this process or one of its children ever had resident."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    own = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    return max(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) * 1024


if __name__ == "__main__":
    side, *places = sys.argv[1:]
    took = {"packager": packager, "bare": bare}[side](*map(Path, places))
    sys.stdout.write(f"\n{json.dumps({**took, 'peak_bytes': peak_bytes()})}\n")
