"""Puts a model for the Edge TPU into a bundle, in front of the CPU variant that it was compiled from.

PURE. Rules:

1. It is compiled from a variant that computes everything in 8 bits. One that was recovered by leaving operators in
   float is none: the chip has no float, and the compiler would end its mapping at the first of them.
2. It ships beside its CPU variant, never alone: a board whose Edge TPU is not there takes the next variant.
3. Its accuracy is that of the CPU variant, which computes the same integers; it cannot be run on the packager's
   machine. The self-test proves it on the board, with the CPU variant's expected outputs and tolerance.
4. It counts against the profile's budgets; where it does not fit, it stays out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from contract.manifest import MANIFEST_MAX_BYTES, Artifact, Golden, Manifest, Variant
from contract.profile import Budgets, DelegateName, Precision
from packager.edgetpu_log import CompilerReport

NAME = "static-int8-edgetpu"
_Array = TypeVar("_Array")


@dataclass(frozen=True)
class EdgetpuModel:
    """A compiled model.

    Attributes:
        content: The file.
        report: What the compiler said.
        runtime: Edge TPU runtime version that it was compiled for.
        library: Shared library that it needs.
        peak_memory_bytes: Estimate for one interpreter.
    """

    content: bytes
    report: CompilerReport
    runtime: int
    library: str
    peak_memory_bytes: int


def source_variant(manifest: Manifest, has_float: Callable[[Variant], bool]) -> Variant | None:
    """The variant that is compiled for the Edge TPU: the first that is wholly of 8 bits; None when there is none.

    Args:
        manifest: A complete manifest.
        has_float: Whether a variant's file computes anything in float.
    """
    candidates = (one for one in manifest.variants if one.precision is Precision.STATIC_INT8)
    return next((one for one in candidates if not has_float(one)), None)


def fit_fault(manifest: Manifest, model: EdgetpuModel, budgets: Budgets) -> str:
    """Why a compiled model does not fit a board's budgets; empty when it does."""
    if model.peak_memory_bytes > budgets.peak_memory_bytes:
        return f"takes {model.peak_memory_bytes} bytes of memory, the budget is {budgets.peak_memory_bytes}"
    total = len(model.content) + sum(variant.artifact.size_bytes for variant in manifest.variants)
    if total > budgets.bundle_bytes:
        return f"makes the bundle {total} bytes, the budget is {budgets.bundle_bytes}"
    return ""


def add_variant(manifest: Manifest, cpu: Variant, model: EdgetpuModel, golden: Artifact) -> Manifest:
    """The manifest with the Edge TPU variant in front of the CPU variant that it comes from.

    Args:
        manifest: A complete manifest.
        cpu: What ``source_variant`` gave.
        model: The compiled model.
        golden: Self-test data that has expected outputs for the new variant too.
    """
    added = msgspec.structs.replace(
        cpu,
        name=NAME,
        artifact=artifact_of(model.content),
        delegate=DelegateName.EDGETPU,
        requires=msgspec.structs.replace(cpu.requires, libraries=(model.library,)),
        peak_memory_bytes=model.peak_memory_bytes,
    )
    position = manifest.variants.index(cpu)
    variants = (*manifest.variants[:position], added, *manifest.variants[position:])
    assert manifest.golden is not None  # noqa: S101 - a complete manifest has them
    assert manifest.requires is not None  # noqa: S101
    assert manifest.provenance is not None  # noqa: S101
    recipes = manifest.provenance.recipes
    return msgspec.structs.replace(
        manifest,
        variants=variants,
        golden=Golden(
            artifact=golden,
            samples=manifest.golden.samples,
            tolerance=manifest.golden.tolerance | {NAME: manifest.golden.tolerance[cpu.name]},
        ),
        requires=msgspec.structs.replace(
            manifest.requires,
            memory_bytes=max(variant.peak_memory_bytes for variant in variants),
            disk_bytes=max(variant.artifact.size_bytes for variant in variants)
            + golden.size_bytes
            + MANIFEST_MAX_BYTES,
        ),
        provenance=msgspec.structs.replace(
            manifest.provenance,
            tools=manifest.provenance.tools | {"edgetpu-compiler": model.report.version},
            recipes=recipes
            | {NAME: f"{recipes.get(cpu.name, cpu.name)}, edgetpu_compiler -m {model.runtime}"},
        ),
    )


def with_expected(arrays: Mapping[str, _Array], cpu: str) -> dict[str, _Array]:
    """Golden arrays in which the new variant is expected to answer as the CPU variant does.

    Args:
        arrays: Of the bundle's golden artifact.
        cpu: Name of the CPU variant.
    """
    prefix = f"expected.{cpu}."
    added = {
        f"expected.{NAME}.{name.removeprefix(prefix)}": values
        for name, values in arrays.items()
        if name.startswith(prefix)
    }
    return dict(arrays) | added


def artifact_of(content: bytes) -> Artifact:
    """A file as the manifest names it."""
    return Artifact(sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content))
