"""Puts a profile's manifest together.

PURE. Rules:

1. Nothing in a manifest depends on the clock, the machine's speed or a path, so the same inputs give the same
   bytes. That is why the host latency, which differs between runs, is left out.
2. Variants stand in the ladder's order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from contract.manifest import (
    MANIFEST_MAX_BYTES,
    SCHEMA,
    Artifact,
    BundleRequires,
    Golden,
    Manifest,
    Provenance,
    Variant,
    VariantMetrics,
    VariantRequires,
)
from contract.tensor import TensorSpec
from packager.description import Source
from packager.gate import Verdict
from packager.plan import MIN_TFLITE
from packager.preprocess import input_range
from packager.tasks.kind import Presentation


@dataclass(frozen=True)
class Release:
    """What all profiles of a release share.

    Attributes:
        name: Model name.
        version: SemVer.
        source: What the model takes and gives.
        presentation: What is said of the task.
        metric: The task's.
        float_value: The float model's, 0 to 1.
        provenance: Where it comes from; recipes of all variants made.
    """

    name: str
    version: str
    source: Source
    presentation: Presentation
    metric: str
    float_value: float
    provenance: Provenance


def assemble_manifest(
    release: Release,
    profile_id: str,
    shipped: Sequence[Verdict],
    artifacts: Mapping[str, Artifact],
    golden: Golden,
) -> Manifest:
    """The complete manifest of one bundle.

    Args:
        release: What all profiles share.
        profile_id: The profile it is for.
        shipped: The rungs that passed, in the ladder's order.
        artifacts: Model file per variant name.
        golden: Self-test data over exactly these variants.
    """
    variants = tuple(_variant(release, verdict, artifacts[verdict.rung.name]) for verdict in shipped)
    names = {variant.name for variant in variants}
    shown = release.presentation
    recipes = {name: recipe for name, recipe in release.provenance.recipes.items() if name in names}
    return Manifest(
        schema=SCHEMA,
        model=release.name,
        version=release.version,
        profile=profile_id,
        task=shown.task,
        inputs=_inputs(release),
        outputs=release.source.outputs,
        preprocessing=shown.preprocessing,
        postprocessing=shown.postprocessing,
        decoding=shown.decoding,
        labels=shown.labels,
        variants=variants,
        golden=golden,
        requires=BundleRequires(
            memory_bytes=max(variant.peak_memory_bytes for variant in variants),
            # A device stores one variant, the golden inputs and the manifest.
            disk_bytes=max(variant.artifact.size_bytes for variant in variants)
            + golden.artifact.size_bytes
            + MANIFEST_MAX_BYTES,
        ),
        provenance=msgspec.structs.replace(release.provenance, recipes=recipes),
    )


def _inputs(release: Release) -> tuple[TensorSpec, ...]:
    first, *others = release.source.inputs
    recipe = release.presentation.preprocessing
    if recipe is not None:
        first = msgspec.structs.replace(first, layout=recipe.layout, value_range=input_range(recipe))
    return (first, *others)


def _variant(release: Release, verdict: Verdict, artifact: Artifact) -> Variant:
    measured = verdict.measured
    assert measured is not None  # noqa: S101 - a shipped rung was measured (gate, rule 4)
    return Variant(
        name=verdict.rung.name,
        artifact=artifact,
        precision=verdict.rung.precision,
        delegate=verdict.rung.delegate,
        requires=VariantRequires(min_version=MIN_TFLITE[verdict.rung.precision]),
        metrics=VariantMetrics(
            metric=release.metric,
            value=measured.value,
            float_value=release.float_value,
            samples=measured.samples,
        ),
        peak_memory_bytes=measured.peak_memory_bytes,
    )
