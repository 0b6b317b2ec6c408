"""The child process that runs a converted model on the inputs of a reference.

``python -m packager.sources.replay MODEL REFERENCE FOUND`` reads ``input.<name>`` of REFERENCE (.npz) and writes
what MODEL gives as ``<name>`` to FOUND (.npz). Ends with 1 and one line on standard error when it cannot.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from contract.errors import RuntimeLoadError
from packager.runtime.signature import run_signature

_PREFIX = "input."


def replay(model: Path, reference: Path, found: Path) -> str:
    """Run and write; the reason when it cannot, else nothing."""
    with np.load(reference, allow_pickle=False) as arrays:
        inputs = {
            name.removeprefix(_PREFIX): arrays[name] for name in arrays.files if name.startswith(_PREFIX)
        }
    try:
        outputs = run_signature(model.read_bytes(), inputs)
    except RuntimeLoadError as error:
        return str(error)
    with found.open("wb") as file:
        # By position: an output may be called "file", which is savez's own argument.
        rows: dict[str, Any] = {f"_{i}": one for i, one in enumerate(outputs.values())}
        np.savez(file, names=np.array(list(outputs)), **rows)
    return ""


if __name__ == "__main__":
    reason = replay(*map(Path, sys.argv[1:]))
    sys.stderr.write(reason)
    raise SystemExit(1 if reason else 0)
