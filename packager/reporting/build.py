"""Puts the report of a pack run together.

PURE. Rules:

1. Every rung of every board is in it, also those that do not ship, with the reason.
2. Nothing is judged here: drops, limits and outcomes are those of the gate.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from contract.profile import Profile
from packager.bootstrap import SHOWN_CONFIDENCE
from packager.coverage.coverage import Coverage
from packager.gate import Measurement, Reference, Verdict
from packager.notes import EdgetpuNote, RungNote
from packager.report import PackResult
from packager.reporting.document import (
    SCHEMA,
    Report,
    ReportBundle,
    ReportGate,
    ReportProfile,
    ReportRung,
    ReportSource,
    ReportVariant,
)
from packager.reporting.evidence import Evidence, RungName


def build_report(result: PackResult, evidence: Evidence, bundles: Mapping[str, ReportBundle]) -> Report:
    """The whole document.

    Args:
        result: Verdicts over every rung.
        evidence: What is known beside them.
        bundles: Profile id to what was written for it; empty when the release is refused.
    """
    reference = result.reference
    linted = {one.text() for one in evidence.findings}
    return Report(
        schema=SCHEMA,
        model=result.name,
        version=result.version,
        outcome="refused" if result.faults else "shipped",
        faults=result.faults,
        task=evidence.task,
        metric=reference.metric,
        samples=result.float_measured.samples,
        float_value=reference.float_value,
        class_names=reference.class_names,
        float_classes=_without_nan(reference.float_classes),
        source=ReportSource(
            name=evidence.source_name,
            sha256=evidence.source_sha256,
            float_bytes=reference.float_bytes,
            inputs=evidence.inputs,
            outputs=evidence.outputs,
            conversion=result.conversion,
            normalized=result.normalized,
        ),
        gate=_gate(reference),
        variants=_variants(result, evidence),
        profiles=tuple(_profile(result, profile, bundles.get(profile.id)) for profile in evidence.profiles),
        downloads=result.downloads,
        findings=evidence.findings,
        warnings=tuple(text for text in result.warnings if text not in linted),
        provenance=evidence.provenance,
    )


def _gate(reference: Reference) -> ReportGate:
    rules = reference.rules
    return ReportGate(
        reference=reference.value,
        limit=reference.limit,
        max_drop=str(rules.max_drop),
        baseline=reference.baseline_name,
        baseline_value=reference.baseline_value,
        max_class_drop=str(rules.max_class_drop) if rules.max_class_drop else "",
        class_floor=rules.class_floor,
        confidence=rules.confidence,
        interval_confidence=rules.confidence or SHOWN_CONFIDENCE,
        min_samples=rules.min_samples,
    )


def _variants(result: PackResult, evidence: Evidence) -> tuple[ReportVariant, ...]:
    coverage = {
        (note.variant, note.delegate): note.coverage for note in result.notes if note.coverage is not None
    }
    found: dict[RungName, ReportVariant] = {}
    for verdicts in result.verdicts.values():
        for verdict in verdicts:
            key = verdict.rung.name, verdict.rung.delegate
            if verdict.measured is not None and key not in found:
                taken = coverage.get((key[0], key[1].value))
                found[key] = _variant(verdict, verdict.measured, result.reference, evidence, taken)
    return tuple(found.values())


def _variant(
    verdict: Verdict, found: Measurement, reference: Reference, evidence: Evidence, coverage: Coverage | None
) -> ReportVariant:
    rung, plain = verdict.rung, verdict.plain
    made = evidence.made[rung.name, rung.delegate]
    low, high = found.drop_interval or (None, None)
    return ReportVariant(
        name=rung.name,
        delegate=rung.delegate.value,
        precision=rung.precision.value,
        recipe=made.recipe,
        sha256=made.sha256,
        size_bytes=found.size_bytes,
        size_ratio=found.size_bytes / reference.float_bytes,
        value=found.value,
        drop=reference.value - found.value,
        drop_low=low,
        drop_high=high,
        classes=_without_nan(found.classes),
        useless_samples=found.useless,
        peak_memory_bytes=found.peak_memory_bytes,
        floats=rung.floats,
        cost_bytes=found.size_bytes - plain.size_bytes if plain else None,
        ranking=made.ranking,
        coverage=coverage,
    )


def _profile(result: PackResult, profile: Profile, bundle: ReportBundle | None) -> ReportProfile:
    notes = {note.variant: note for note in result.notes if note.profile == profile.id}
    tpu: dict[str, EdgetpuNote] = {note.profile: note for note in result.edgetpu}
    return ReportProfile(
        profile=profile.id,
        name=profile.name,
        memory_budget_bytes=profile.budgets.peak_memory_bytes,
        bundle_budget_bytes=profile.budgets.bundle_bytes,
        rungs=tuple(_rung(verdict, notes[verdict.rung.name]) for verdict in result.verdicts[profile.id]),
        edgetpu=tpu.get(profile.id),
        bundle=bundle,
    )


def _rung(verdict: Verdict, note: RungNote) -> ReportRung:
    return ReportRung(
        variant=verdict.rung.name,
        delegate=verdict.rung.delegate.value,
        precision=verdict.rung.precision.value,
        outcome=verdict.outcome.value,
        reason=verdict.reason,
        speed=note.speed,
        cost=note.cost,
    )


def _without_nan(values: Iterable[float]) -> tuple[float | None, ...]:
    """JSON has no NaN."""
    return tuple(None if math.isnan(value) else value for value in values)
