"""The probe process: one runtime, one delegate, one small model, run as ``python -m edge_agent.inference.probe``.

Guarantees: says each stage before it begins, so that a crash tells where it was; ends itself after a time even when
nobody is left to end it; leaves without tearing anything down, as a worker that is killed does: only what happens while
a model is served counts. A native crash ends this process and nothing else.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_agent.inference.delegates import Attempt, share_of
from edge_agent.inference.probe_protocol import (
    TEXT_MAX_CHARS,
    WRONG_ANSWER,
    At,
    Failed,
    Line,
    Loaded,
    Passed,
    ProbeJob,
    Stage,
    encode_probe,
    parse_job,
)

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

FOLDER = Path(__file__).parent / "probe_data"
"""Model and golden arrays, made by ``tests/data/make_probe.py``."""
RUNS = 2
"""The second run finds delegates that spoil their own state in the first."""
TOLERANCE = {"sum": 0.03, "scores": 0.25}
"""Largest difference per output. Float kernels are exact to 1e-6 here, half precision to 0.003; eight int8 steps of
1/32 are what rounding before two int8 layers can add up to. A wrong kernel is off by the values' own size, about 1."""


def probe(job: ProbeJob, tell: Callable[[Line], None]) -> Passed | Failed:
    """Try one thing.

    Args:
        job: What to try.
        tell: Told each stage before it begins.
    """
    try:
        tell(Stage(at=At.IMPORTING))
        from edge_agent.inference.runtime import import_runtime, open_interpreter, ops_in

        module = import_runtime(job.runtime).module
        tell(Stage(at=At.LOADING if job.delegate is not None else At.BUILDING))
        loaded = _Watched(module, tell)
        interpreter = open_interpreter(
            loaded, FOLDER / "probe.tflite", Attempt(job.delegate, job.has_xnnpack), 1
        )
        early = share_of(ops_in(interpreter))
        interpreter.allocate_tensors()
        share = early if job.delegate is not None else share_of(ops_in(interpreter))
        worst = _run(interpreter, tell)
    except Exception as error:  # noqa: BLE001 - whatever a runtime or delegate raises is the result of its probe
        return Failed(error=type(error).__name__, text=str(error)[:TEXT_MAX_CHARS])
    if worst is None:
        return Failed(error=WRONG_ANSWER, text="an output is not a number")
    faults = [f"{name} is off by {off:.3g}" for name, off in worst.items() if off > TOLERANCE[name]]
    if faults:
        return Failed(error=WRONG_ANSWER, text="; ".join(faults))
    return Passed(
        worst_abs_error=max(worst.values()), nodes_total=share.total, nodes_delegated=share.delegated
    )


class _Watched:
    """The runtime's module, telling when the delegate was loaded and building begins."""

    def __init__(self, module: object, tell: Callable[[Line], None]) -> None:
        self._module = module
        self._tell = tell

    def __getattr__(self, name: str) -> object:
        if name == "Interpreter":
            self._tell(Stage(at=At.BUILDING))
        return getattr(self._module, name)


def _run(interpreter: Any, tell: Callable[[Line], None]) -> dict[str, float] | None:
    """Largest difference of each output from the golden one; None when one is NaN."""
    import numpy as np

    with np.load(FOLDER / "golden.npz", allow_pickle=False) as archive:
        golden = {name: archive[name] for name in archive.files}
    tell(Stage(at=At.RUNNING))
    answers = [_invoke(interpreter, golden["image"]) for _ in range(RUNS)]
    tell(Stage(at=At.COMPARING))
    worst = dict.fromkeys(TOLERANCE, 0.0)
    for answer in answers:
        for name in TOLERANCE:
            off = float(np.abs(answer[name] - golden[name]).max())
            if np.isnan(off):
                return None
            worst[name] = max(worst[name], off)
    return worst


def _invoke(interpreter: Any, image: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[np.float32]]:
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image)
    interpreter.invoke()
    return {each["name"]: interpreter.get_tensor(each["index"]) for each in interpreter.get_output_details()}


def main(arguments: list[str]) -> None:
    """Do one job and leave.

    Args:
        arguments: Descriptor to write lines to, and a ``ProbeJob`` in JSON.
    """
    job = parse_job(arguments[1])
    signal.alarm(max(1, round(job.limit_s)))  # ends native code too, and an orphan

    def tell(line: Line) -> None:
        os.write(int(arguments[0]), encode_probe(line) + b"\n")

    tell(probe(job, tell))
    from edge_agent.inference.loaded import loaded_libraries

    tell(Loaded(libraries=tuple(loaded_libraries())))
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
