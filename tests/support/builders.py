"""Valid things to start from; a test spoils one of them.

The bytes of the artifacts are not models: nothing that uses these builders runs an interpreter.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import msgspec

from contract.bundle import write_bundle
from contract.compat import Capabilities, RuntimeFact
from contract.manifest import (
    Artifact,
    BundleRequires,
    Golden,
    Manifest,
    Provenance,
    Task,
    Tolerance,
    Variant,
    VariantMetrics,
)
from contract.profile import Arch, DelegateName, Precision
from contract.tensor import DType, Layout, TensorSpec

MODEL_BYTES = b"not really a model " * 512
GOLDEN_BYTES = b"not really golden inputs " * 64
PROFILE = "generic-x86-64"


def an_artifact(content: bytes) -> Artifact:
    """Description of some bytes."""
    return Artifact(sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content))


def a_variant(content: bytes = MODEL_BYTES, **changes: Any) -> Variant:
    """A float variant for XNNPACK whose model file has these bytes."""
    variant = Variant(
        name="float32",
        artifact=an_artifact(content),
        precision=Precision.FLOAT32,
        delegate=DelegateName.XNNPACK,
        metrics=VariantMetrics(metric="accuracy", value=0.97, float_value=0.98, samples=100),
        peak_memory_bytes=1 << 20,
    )
    return msgspec.structs.replace(variant, **changes)


def a_manifest(
    *, model_bytes: bytes = MODEL_BYTES, golden_bytes: bytes = GOLDEN_BYTES, **changes: Any
) -> Manifest:
    """A complete manifest of digits 1.0.0: one float variant, golden inputs.

    Args:
        model_bytes: What the variant's artifact holds.
        golden_bytes: What the golden artifact holds.
        changes: Fields of the manifest to replace.
    """
    variant = a_variant(model_bytes)
    manifest = Manifest(
        schema=1,
        model="digits",
        version="1.0.0",
        profile=PROFILE,
        task=Task.CLASSIFICATION,
        inputs=(
            TensorSpec(
                name="image",
                shape=(-1, 8, 8, 1),
                dtype=DType.FLOAT32,
                layout=Layout.NHWC,
                value_range=(0.0, 1.0),
            ),
        ),
        outputs=(
            TensorSpec(
                name="probabilities",
                shape=(-1, 10),
                dtype=DType.FLOAT32,
                layout=Layout.NC,
                value_range=(0.0, 1.0),
            ),
        ),
        labels=tuple("0123456789"),
        variants=(variant,),
        golden=Golden(
            artifact=an_artifact(golden_bytes),
            samples=4,
            tolerance={variant.name: Tolerance(max_abs_error=0.01)},
        ),
        requires=BundleRequires(memory_bytes=1 << 20, disk_bytes=1 << 20),
        provenance=Provenance(
            source_name="digits.tflite",
            source_sha256=hashlib.sha256(b"source").hexdigest(),
            calibration_sha256=hashlib.sha256(b"calibration").hexdigest(),
            evaluation_sha256=hashlib.sha256(b"evaluation").hexdigest(),
            tools={"litert-quantizer": "0.11"},
            recipes={variant.name: "none"},
        ),
    )
    return msgspec.structs.replace(manifest, **changes)


def a_bundle(
    folder: Path, *, model_bytes: bytes = MODEL_BYTES, golden_bytes: bytes = GOLDEN_BYTES, **changes: Any
) -> Path:
    """Write the bundle of ``a_manifest`` into a folder, which is made when it is missing.

    Args:
        folder: Where to.
        model_bytes: What the variant's artifact holds.
        golden_bytes: What the golden artifact holds.
        changes: Fields of the manifest to replace (not ``variants`` or ``golden``: their files would be missing).

    Returns:
        The bundle's path.
    """
    folder.mkdir(parents=True, exist_ok=True)
    manifest = a_manifest(model_bytes=model_bytes, golden_bytes=golden_bytes, **changes)
    files: dict[str, Path] = {}
    for content in (model_bytes, golden_bytes):
        digest = hashlib.sha256(content).hexdigest()
        files[digest] = folder / f".{digest}"
        files[digest].write_bytes(content)
    try:
        return write_bundle(folder, manifest, files)
    finally:
        for path in files.values():
            path.unlink(missing_ok=True)


def some_capabilities(**changes: Any) -> Capabilities:
    """A board that can run ``a_manifest``."""
    capabilities = Capabilities(
        profile=PROFILE,
        arch=Arch.X86_64,
        memory_bytes=1 << 30,
        disk_free_bytes=1 << 30,
        runtimes=(RuntimeFact(name="ai-edge-litert", version="2.3.0"),),
        delegates=(DelegateName.XNNPACK,),
        agent_version="0.1.0",
    )
    return msgspec.structs.replace(capabilities, **changes)
