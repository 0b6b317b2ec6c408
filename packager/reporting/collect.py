"""Collects what a report tells beside the verdicts, and has every quantized variant compared with the float model.

Guarantees: a variant that cannot be compared has a note with the reason instead of a ranking; a report stops nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

from contract.errors import RejectedError
from contract.profile import Profile
from contract.tensor import TensorSpec
from packager.gate import Verdict
from packager.lint.rules import Finding
from packager.plan import Rung
from packager.quantize import describe_recipe, tool_versions
from packager.reporting.document import OperatorError, Ranked, ReportProvenance
from packager.reporting.evidence import Evidence, Made
from packager.selective import RECOVERABLE
from packager.workshop import Workshop

RANKING_SAMPLES = 4
"""A comparison runs both models with every tensor kept: MobileNetV2 224 takes 0.35 s a sample (measured here, one
thread), so four rungs stay within six seconds. What recovery compared on more samples is taken from it."""


def collect_evidence(
    profiles: Sequence[Profile],
    workshop: Workshop,
    verdicts: Mapping[str, Sequence[Verdict]],
    findings: tuple[Finding, ...],
    project: str,
) -> Evidence:
    """Collect what is known of a run.

    Args:
        profiles: The boards.
        workshop: Where everything was made and measured.
        verdicts: Profile id to the verdicts over its ladder.
        findings: What lint found.
        project: Text of a project file that asks for the same; empty for none.
    """
    material = workshop.material
    model, calibration = material.model, material.calibration
    rungs = dict.fromkeys(one.rung for rows in verdicts.values() for one in rows if one.measured is not None)
    return Evidence(
        profiles=tuple(profiles),
        task=material.presentation.task.value,
        # A file's name need not be text: what is not, is shown as such.
        source_name=model.name.encode("utf-8", "replace").decode(),
        source_sha256=model.sha256,
        inputs=_describe(model.source.inputs),
        outputs=_describe(model.source.outputs),
        findings=findings,
        provenance=ReportProvenance(
            evaluation_sha256=material.task.sha256,
            calibration_sha256=calibration.sha256 if calibration else "",
            calibration_samples=len(calibration) if calibration else 0,
            tools=tool_versions() | model.tools,
            project=project,
        ),
        made={(rung.name, rung.delegate): _made(workshop, rung) for rung in rungs},
    )


def _describe(tensors: Iterable[TensorSpec]) -> tuple[str, ...]:
    return tuple(f"{one.name} {list(one.shape)} {one.dtype.value}" for one in tensors)


def _made(workshop: Workshop, rung: Rung) -> Made:
    content = workshop.make(rung)
    assert isinstance(content, bytes)  # noqa: S101 - what was measured was made
    return Made(
        sha256=hashlib.sha256(content).hexdigest(),
        recipe=describe_recipe(rung.precision, rung.floats),
        ranking=_ranked(workshop, rung) if rung.precision in RECOVERABLE else None,
    )


def _ranked(workshop: Workshop, rung: Rung) -> Ranked:
    try:
        ranking = workshop.blame(rung, RANKING_SAMPLES)
    except RejectedError as error:
        return Ranked(note=str(error))
    return Ranked(
        operators=tuple(
            OperatorError(operator=one.step.operator, name=one.step.name, added=one.added)
            for one in ranking.operators
        ),
        samples=ranking.samples,
    )
