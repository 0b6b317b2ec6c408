"""How far the outputs of one model are apart between kernels: what the golden tolerances are made from."""

from __future__ import annotations

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from contract.profile import DelegateName, Precision
from packager.golden import TOLERANCE_SHARE
from packager.quantize import calibrate, quantize
from packager.runtime.interpreter import LoadedModel
from packager.sources.tflite import load_tflite
from packager.tasks.task import Floats
from tests.benchmarks.harness import Row, at_most, versions_of
from tests.support.packager_builders import DIGITS, digits_calibration, digits_task


def rows() -> list[Row]:
    """Run every precision of digits with XNNPACK, with TFLite's own kernels and with its reference kernels."""
    model = load_tflite(DIGITS / "digits-1.0.0.tflite")
    calibration, task = digits_calibration(), digits_task()
    learnt = calibration.inputs(range(len(calibration)))
    (inputs,) = task.inputs(range(len(task)))
    versions = versions_of("ai-edge-litert", "litert-quantizer")
    made: list[Row] = []
    for precision in Precision:
        content = model.content
        if precision is not Precision.FLOAT32:
            content = quantize(
                model.content, precision, calibrate(model.content, precision, model.source, learnt)
            )
        (fast,) = LoadedModel(content, DelegateName.XNNPACK).run([inputs])
        (plain,) = LoadedModel(content, DelegateName.NONE).run([inputs])
        others = [plain, _run_reference(content, inputs)]
        made.append(
            Row(
                f"{precision.value}: largest output difference between kernels",
                max(float(np.abs(fast - other).max()) for other in others),
                "spread",
                len(inputs),
                at_most(TOLERANCE_SHARE[precision]),
                versions=versions,
            )
        )
    return made


def _run_reference(content: bytes, inputs: Floats) -> Floats:
    interpreter = Interpreter(
        model_content=content, num_threads=1, experimental_op_resolver_type=OpResolverType.BUILTIN_REF
    )
    interpreter.allocate_tensors()
    source, sink = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    outputs: list[Floats] = []
    for image in inputs:
        stored = image[np.newaxis]
        if source["dtype"] is not np.float32:
            scale, zero_point = source["quantization"]
            limits = np.iinfo(source["dtype"])
            stored = np.clip(np.rint(stored / np.float32(scale)) + zero_point, limits.min, limits.max)
        interpreter.set_tensor(source["index"], stored.astype(source["dtype"]))
        interpreter.invoke()
        outputs.append(interpreter.get_tensor(sink["index"])[0].astype(np.float32))
    scores = np.stack(outputs)
    if sink["dtype"] is not np.float32:
        scale, zero_point = sink["quantization"]
        scores = (scores - np.float32(zero_point)) * np.float32(scale)
    return scores
