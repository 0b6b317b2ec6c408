"""One executable form of a model, and what proves it on a board.

PURE. Rules:

1. A file is known by its sha256 and size, never by a name.
2. Every variant has a tolerance: how far a board's golden outputs may be from the expected ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import msgspec

from contract.errors import ManifestError
from contract.identifiers import parse_digest, parse_model, parse_version
from contract.profile import DelegateName, Precision

ARTIFACT_MAX_BYTES = 2 << 30
"""2 GiB: the size limit of a flatbuffer, hence of any .tflite file (https://flatbuffers.dev/internals/)."""


class Artifact(msgspec.Struct, frozen=True, kw_only=True):
    """One immutable file.

    Attributes:
        sha256: Its digest, and its name.
        size_bytes: Its size, 1 byte to 2 GiB.
    """

    sha256: str
    size_bytes: int


class VariantRequires(msgspec.Struct, frozen=True, kw_only=True):
    """What a variant needs of the board.

    Attributes:
        runtime: ``tflite`` for anything that reads TFLite flatbuffers.
        min_version: Lowest TFLite runtime (TensorFlow numbering) that has all ops.
        libraries: Shared libraries needed beyond the runtime.
    """

    runtime: str = "tflite"
    min_version: str = "2.5.0"
    libraries: tuple[str, ...] = ()


class VariantMetrics(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured on the packager's machine.

    Attributes:
        metric: Name of the task metric, for example ``accuracy``.
        value: The variant's, as a ratio 0 to 1.
        float_value: The float model's on the same samples.
        samples: How many samples.
        host_latency_ms_p50: Median of single invocations on the packager's machine, one thread, ms.
    """

    metric: str
    value: float
    float_value: float
    samples: int
    host_latency_ms_p50: float = 0.0

    @property
    def drop(self) -> float:
        """How much is lost against the float model; negative when the variant is better."""
        return self.float_value - self.value


class Variant(msgspec.Struct, frozen=True, kw_only=True):
    """One executable form of the model.

    Attributes:
        name: Unique in the bundle.
        artifact: The model file.
        precision: Its numeric form.
        delegate: The back-end it is made for.
        requires: What it needs.
        metrics: What was measured.
        peak_memory_bytes: Memory that one interpreter takes with it.
    """

    name: str
    artifact: Artifact
    precision: Precision
    delegate: DelegateName
    metrics: VariantMetrics
    peak_memory_bytes: int
    requires: VariantRequires = VariantRequires()


class Tolerance(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How far a board's golden outputs may be from the expected ones.

    Attributes:
        max_abs_error: Largest difference of a real-valued output element.
        min_top1_agreement: Share of samples (0 to 1) whose best class must be the expected one.
        outputs: Largest difference by output name, where it is another than ``max_abs_error``.
        max_changed: Share (0 to 1) of an output's elements over all samples that may be off by more; of those that are
            not 0 on both sides. For outputs that are choices, such as the class of a pixel: a nearly equal score flips.
    """

    max_abs_error: float
    min_top1_agreement: float = 1.0
    outputs: dict[str, float] = {}
    max_changed: float = 0.0

    def limit(self, output: str) -> float:
        """Largest difference of an element of an output."""
        return self.outputs.get(output, self.max_abs_error)


class Golden(msgspec.Struct, frozen=True, kw_only=True):
    """Golden inputs with expected outputs.

    Attributes:
        artifact: Uncompressed .npz with ``input.<name>`` (samples, ...) in the manifest's input dtype, and
            ``expected.<variant>.<name>`` (samples, ...) float32 real values.
        samples: How many.
        tolerance: Per variant name.
    """

    artifact: Artifact
    samples: int
    tolerance: dict[str, Tolerance]


def variant_faults(variant: Variant, where: str) -> list[str]:
    """List every fault of a variant; empty when it is sound.

    Args:
        variant: The variant.
        where: How to call it in the texts, for example ``variants[0]``.
    """
    faults = parse_faults(parse_model, variant.name, f"{where}.name")
    faults += _artifact_faults(variant.artifact, f"{where}.artifact")
    faults += parse_faults(parse_version, variant.requires.min_version, f"{where}.requires.min_version")
    if variant.peak_memory_bytes < 1:
        faults.append(f"{where}.peak_memory_bytes: must be above 0")
    metrics = variant.metrics
    if not (0 <= metrics.value <= 1 and 0 <= metrics.float_value <= 1):
        faults.append(f"{where}.metrics: value and float_value must be 0 to 1")
    if metrics.samples < 1:
        faults.append(f"{where}.metrics.samples: at least one is needed")
    if not (math.isfinite(metrics.host_latency_ms_p50) and metrics.host_latency_ms_p50 >= 0):
        faults.append(f"{where}.metrics.host_latency_ms_p50: must be finite and not negative")
    return faults


def golden_faults(golden: Golden, names: Sequence[str]) -> list[str]:
    """List every fault of the self-test data; empty when it is sound.

    Args:
        golden: The self-test data.
        names: Of all variants; each needs a tolerance.
    """
    faults = _artifact_faults(golden.artifact, "golden.artifact")
    faults += [f"golden.tolerance: missing for {name}" for name in names if name not in golden.tolerance]
    if golden.samples < 1:
        faults.append("golden.samples: at least one is needed")
    for name, tolerance in golden.tolerance.items():
        errors = (tolerance.max_abs_error, *tolerance.outputs.values())
        ok = all(math.isfinite(error) and error >= 0 for error in errors)
        if not ok or not (0 <= tolerance.min_top1_agreement <= 1 and 0 <= tolerance.max_changed <= 1):
            faults.append(f"golden.tolerance.{name}: error must be finite and not negative, shares 0 to 1")
    return faults


def parse_faults(parse: Callable[[str], str], text: str, where: str) -> list[str]:
    """What a ``parse_`` function says against a text; empty when it accepts it."""
    try:
        parse(text)
    except ManifestError as error:
        return [f"{where}: {error}"]
    return []


def _artifact_faults(artifact: Artifact, where: str) -> list[str]:
    faults = parse_faults(parse_digest, artifact.sha256, f"{where}.sha256")
    if not 1 <= artifact.size_bytes <= ARTIFACT_MAX_BYTES:
        faults.append(f"{where}.size_bytes: {artifact.size_bytes} is not within 1 to {ARTIFACT_MAX_BYTES}")
    return faults
