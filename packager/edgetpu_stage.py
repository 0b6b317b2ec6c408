"""Adds the Edge TPU variant to a profile's bundle, where the board has the chip and this machine the compiler.

Guarantees: whatever becomes of the compiler, the bundle with its CPU variants is given back, and a line says why
there is no Edge TPU variant in it.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np

from contract.errors import RejectedError
from contract.manifest import Variant
from contract.profile import Profile
from packager.bundle_writer import BundleContent
from packager.coverage.coverage import Coverage
from packager.coverage.edgetpu import computes_float, predict_edgetpu
from packager.edgetpu import COMMAND, LIBRARY, compile_edgetpu, find_compiler, runtime_of
from packager.edgetpu_log import CompilerReport
from packager.edgetpu_variant import (
    EdgetpuModel,
    add_variant,
    artifact_of,
    fit_fault,
    source_variant,
    with_expected,
)
from packager.notes import EdgetpuNote
from packager.runtime.flatbuffer import estimate_memory_bytes
from packager.runtime.graph import read_graph

_ALONE = "the CPU variants ship alone"


def add_edgetpu(
    bundle: BundleContent, profile: Profile, integers: Callable[[Variant], bytes] | None = None
) -> tuple[BundleContent, EdgetpuNote | None]:
    """Compile a bundle's static int8 variant for the board's Edge TPU and put it in front of that variant.

    Args:
        bundle: A complete bundle for the profile.
        profile: The board.
        integers: The form of a static int8 variant that computes no floats at its border; None where the file that
            ships is one.

    Returns:
        The bundle, with the variant where it could be made; and what became of it, None for a board without the chip.
    """
    runtime = runtime_of(profile)
    if runtime is None:
        return bundle, None
    source = integers or (lambda one: bundle.artifacts[one.artifact.sha256])
    cpu = source_variant(bundle.manifest, lambda one: computes_float(read_graph(source(one))))
    if cpu is None:
        text = f"no variant passed that is static int8 throughout, which the Edge TPU needs: {_ALONE}"
        return bundle, EdgetpuNote(profile=profile.id, text=text, is_shipped=False)
    content = source(cpu)
    predicted = predict_edgetpu(read_graph(content), runtime)
    compiler = find_compiler()
    if compiler is None:
        text = f"{COMMAND} is not installed (it exists for x86-64 Linux only): {_ALONE}; {_expectation(predicted)}"
        return bundle, EdgetpuNote(profile=profile.id, text=text, is_shipped=False, predicted=predicted)
    try:
        compiled = compile_edgetpu(compiler, content, runtime)
    except RejectedError as error:
        return bundle, EdgetpuNote(
            profile=profile.id, text=f"{error}: {_ALONE}", is_shipped=False, predicted=predicted
        )
    model = EdgetpuModel(
        content=compiled.content,
        report=compiled.report,
        runtime=runtime,
        library=LIBRARY,
        peak_memory_bytes=estimate_memory_bytes(compiled.content),
    )
    fault = fit_fault(bundle.manifest, model, profile.budgets)
    if fault:
        return bundle, _note(profile, f"{fault}: {_ALONE}", predicted, model.report, is_shipped=False)
    assert bundle.manifest.golden is not None  # noqa: S101 - a complete bundle has self-test data
    golden = _golden(bundle, bundle.manifest.golden.artifact.sha256, cpu.name)
    manifest = add_variant(bundle.manifest, cpu, model, artifact_of(golden))
    artifacts = {
        digest: data
        for digest, data in bundle.artifacts.items()
        if digest != bundle.manifest.golden.artifact.sha256
    }
    artifacts |= {artifact_of(data).sha256: data for data in (model.content, golden)}
    note = _note(profile, model.report.describe(), predicted, model.report, is_shipped=True)
    return BundleContent(manifest, artifacts), note


def _note(
    profile: Profile, text: str, predicted: Coverage, report: CompilerReport, *, is_shipped: bool
) -> EdgetpuNote:
    return EdgetpuNote(
        profile=profile.id, text=text, is_shipped=is_shipped, predicted=predicted, report=report
    )


def _expectation(predicted: Coverage) -> str:
    text = f"{predicted.nodes_delegated} of {predicted.nodes_total} operators would fit the Edge TPU"
    reasons = predicted.reasons()
    return f"{text}, not {'; '.join(reasons)}" if reasons else text


def _golden(bundle: BundleContent, digest: str, cpu: str) -> bytes:
    """The self-test data with expected outputs for the new variant too, as ``packager.golden`` stores them."""
    with np.load(io.BytesIO(bundle.artifacts[digest]), allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}
    stream = io.BytesIO()
    np.savez(stream, **with_expected(arrays, cpu))
    return stream.getvalue()
