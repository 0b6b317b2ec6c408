"""From verdicts to the content of a bundle: what ships, the golden self-test over it, and the manifest."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from contract.manifest import Artifact, Golden, Provenance
from contract.profile import Precision
from contract.results import ClassMapDecoding, PostprocessedDecoding
from contract.tensor import DType
from packager.assemble import Release, assemble_manifest
from packager.bundle_writer import BundleContent
from packager.evaluate import Evaluation
from packager.gate import Outcome, Verdict
from packager.golden import choose_golden, encode_golden
from packager.judge import Judgement
from packager.quantize import describe_recipe, tool_versions
from packager.tasks.task import Array
from packager.workshop import Material, Measured, Workshop

_NO_SAMPLES_SHA256 = hashlib.sha256().hexdigest()


def plan_release(name: str, version: str, material: Material, judgement: Judgement) -> Release:
    """What all bundles of a release share.

    Args:
        name: Model name.
        version: SemVer.
        material: What it is made from.
        judgement: What was found.
    """
    shipped = [verdict for rows in judgement.verdicts.values() for verdict in rows if not verdict.reason]
    return Release(
        name=name,
        version=version,
        source=material.model.source,
        presentation=material.presentation,
        metric=judgement.reference.metric,
        float_value=judgement.reference.float_value,
        provenance=Provenance(
            source_name=material.model.name,
            source_sha256=material.model.sha256,
            calibration_sha256=material.calibration.sha256 if material.calibration else _NO_SAMPLES_SHA256,
            evaluation_sha256=material.task.sha256,
            tools=tool_versions() | material.model.tools,
            recipes={one.rung.name: describe_recipe(one.rung.precision, one.rung.floats) for one in shipped},
            normalized=material.model.normalized.changes,
        ),
    )


def bundle_content(release: Release, workshop: Workshop, verdicts: Sequence[Verdict]) -> BundleContent:
    """One profile's manifest and artifacts.

    Args:
        release: What all profiles share.
        workshop: Where everything was made and measured.
        verdicts: Over the profile's ladder; at least one ships.
    """
    shipped = [verdict for verdict in verdicts if verdict.outcome is Outcome.SHIPPED]
    contents: dict[str, bytes] = {}
    artifacts: dict[str, Artifact] = {}
    measured: dict[str, tuple[Precision, Evaluation]] = {}
    for verdict in shipped:
        rung = verdict.rung
        content, found = workshop.make(rung), workshop.measure(rung)
        assert isinstance(content, bytes)  # noqa: S101 - shipped, so it was made
        assert isinstance(found, Measured)  # noqa: S101 - shipped, so it was measured
        artifacts[rung.name] = _artifact(content)
        contents[artifacts[rung.name].sha256] = content
        measured[rung.name] = rung.precision, found.evaluation
    outputs = [spec.name for spec in release.source.outputs]
    choice = choose_golden(workshop.task.strata, measured, outputs, are_choices=_chooses(release))
    golden = encode_golden(
        _named([spec.name for spec in release.source.inputs], workshop.task.inputs(choice.positions)),
        [
            (verdict.rung.name, _named(outputs, workshop.outputs(verdict.rung, choice.positions)))
            for verdict in shipped
        ],
    )
    golden_artifact = _artifact(golden)
    contents[golden_artifact.sha256] = golden
    manifest = assemble_manifest(
        release,
        shipped[0].profile,
        shipped,
        artifacts,
        Golden(artifact=golden_artifact, samples=len(choice.positions), tolerance=choice.tolerance),
    )
    return BundleContent(manifest, contents)


def _chooses(release: Release) -> bool:
    """Whether the graph itself chooses boxes or classes."""
    return isinstance(release.presentation.decoding, PostprocessedDecoding | ClassMapDecoding) or any(
        spec.dtype is not DType.FLOAT32 for spec in release.source.outputs
    )


def _named(names: Sequence[str], arrays: Sequence[Array]) -> dict[str, Array]:
    return dict(zip(names, arrays, strict=True))


def _artifact(content: bytes) -> Artifact:
    return Artifact(sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content))
