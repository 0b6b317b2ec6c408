"""Runs a model's only signature by the names of its inputs and outputs, whatever their number and type.

Guarantees: plain kernels, no delegate, so that differences come from the model and not from a back-end. Does not
catch crashes: it is run in a child process (``packager.sources.replay``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from contract.errors import RuntimeLoadError
from packager.quiet import native_output_hidden

Array = npt.NDArray[Any]


def run_signature(content: bytes, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Run samples one after another.

    Args:
        content: The .tflite file.
        inputs: Name to (samples, ...): what follows is the input's whole shape, the batch included.

    Returns:
        Name to (samples, ...) of every output.

    Raises:
        RuntimeLoadError: LiteRT does not load or run it, or it has other inputs.
    """
    try:
        with native_output_hidden():
            interpreter: Any = Interpreter(
                model_content=content,
                num_threads=1,
                experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
            )
            (name,) = interpreter.get_signature_list()
            run = interpreter.get_signature_runner(name)
            samples = len(next(iter(inputs.values())))
            answers = [run(**{key: rows[i] for key, rows in inputs.items()}) for i in range(samples)]
    except (ValueError, RuntimeError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise RuntimeLoadError(f"LiteRT does not run the converted model: {reason}") from error
    return {key: np.stack([answer[key] for answer in answers]) for key in answers[0]}
