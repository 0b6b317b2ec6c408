"""What a pack run and a bundle have to say, as rows and as JSON.

PURE. Rules:

1. Every rung of every profile has a row, also those that do not ship, with the reason.
2. A drop is measured against the gate's reference, so it can be compared with ``max_drop``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from contract.manifest import Manifest
from packager.bootstrap import SHOWN_CONFIDENCE
from packager.compression.report import DownloadRow
from packager.gate import Measurement, Reference, Verdict
from packager.notes import EdgetpuNote, RungNote


@dataclass(frozen=True)
class PackResult:
    """What came of it.

    Attributes:
        name: Model name.
        version: SemVer.
        reference: What variants were measured against.
        float_measured: The float model itself.
        verdicts: Profile id to the verdicts over its ladder.
        faults: One per profile that nothing passes for; then there are no bundles.
        bundles: Paths, one per profile.
        reports: Paths of the report, as a page and as JSON; empty when none was asked for.
        normalized: What was done to the model before anything was made of it.
        conversion: How it was made of another framework's model; empty for a .tflite file.
        warnings: What should be looked at, although it stopped nothing.
        notes: What every rung costs on its board, and what XNNPACK takes of it.
        edgetpu: One per board with an Edge TPU: what became of its variant.
        stages_reused: How many quantizations, measurements and comparisons earlier runs had done already.
        stages_made: How many were done now.
        downloads: What each rung takes to download, of the model as given and of the compressed one; empty where the
            model was not compressed.
    """

    name: str
    version: str
    reference: Reference
    float_measured: Measurement
    verdicts: Mapping[str, tuple[Verdict, ...]]
    faults: tuple[str, ...]
    bundles: tuple[Path, ...] = ()
    reports: tuple[Path, ...] = ()
    normalized: tuple[str, ...] = ()
    conversion: str = ""
    warnings: tuple[str, ...] = ()
    notes: tuple[RungNote, ...] = ()
    edgetpu: tuple[EdgetpuNote, ...] = ()
    stages_reused: int = 0
    stages_made: int = 0
    downloads: tuple[DownloadRow, ...] = ()


class RungRow(msgspec.Struct, frozen=True, kw_only=True):
    """One rung of one profile.

    Attributes:
        profile: Profile id.
        variant: Name in the bundle.
        precision: Numeric form.
        delegate: What it runs on.
        verdict: ``shipped``, ``refused`` or ``not available``.
        reason: Why it does not ship; empty when it does.
        size_bytes: Of the model file; None, as the rest, when it could not be made.
        size_ratio: To the float model's size.
        value: The metric, 0 to 1.
        drop: Reference less value.
        drop_low: Lower end of the drop's bootstrap interval.
        drop_high: Upper end.
        classes: The metric of each class, in the order of ``class_names``; None for a class without samples.
        host_latency_ms_p50: Median on this machine, one thread.
        peak_memory_bytes: Estimate for one interpreter.
        floats: Operators that were left in float; empty for a plain rung.
        cost_bytes: What leaving them in float cost in size, against the plain rung.
        cost_ms: What it cost in host latency.
    """

    profile: str
    variant: str
    precision: str
    delegate: str
    verdict: str
    reason: str
    size_bytes: int | None = None
    size_ratio: float | None = None
    value: float | None = None
    drop: float | None = None
    drop_low: float | None = None
    drop_high: float | None = None
    classes: tuple[float | None, ...] = ()
    host_latency_ms_p50: float | None = None
    peak_memory_bytes: int | None = None
    floats: tuple[str, ...] = ()
    cost_bytes: int | None = None
    cost_ms: float | None = None


def rung_rows(result: PackResult) -> Iterator[RungRow]:
    """Rows in the order of the profiles and their ladders."""
    for verdicts in result.verdicts.values():
        for verdict in verdicts:
            yield _row(result, verdict)


def _row(result: PackResult, verdict: Verdict) -> RungRow:
    found, plain = verdict.measured, verdict.plain
    row = RungRow(
        profile=verdict.profile,
        variant=verdict.rung.name,
        precision=verdict.rung.precision.value,
        delegate=verdict.rung.delegate.value,
        verdict=verdict.outcome.value,
        reason=verdict.reason,
    )
    if found is None:
        return row
    low, high = found.drop_interval or (None, None)
    return msgspec.structs.replace(
        row,
        size_bytes=found.size_bytes,
        size_ratio=found.size_bytes / result.reference.float_bytes,
        value=found.value,
        drop=result.reference.value - found.value,
        drop_low=low,
        drop_high=high,
        classes=_without_nan(found.classes),
        host_latency_ms_p50=found.latency_ms_p50,
        peak_memory_bytes=found.peak_memory_bytes,
        floats=verdict.rung.floats,
        cost_bytes=found.size_bytes - plain.size_bytes if plain else None,
        cost_ms=found.latency_ms_p50 - plain.latency_ms_p50 if plain else None,
    )


def _without_nan(values: Iterable[float]) -> tuple[float | None, ...]:
    """JSON has no NaN."""
    return tuple(None if math.isnan(value) else value for value in values)


def pack_json(result: PackResult) -> dict[str, object]:
    """The whole result for ``pack --json``."""
    reference = result.reference
    rules = reference.rules
    return {
        "model": result.name,
        "version": result.version,
        "metric": reference.metric,
        "samples": result.float_measured.samples,
        "float": {
            "value": reference.float_value,
            "size_bytes": reference.float_bytes,
            "host_latency_ms_p50": result.float_measured.latency_ms_p50,
            "classes": _without_nan(reference.float_classes),
        },
        "class_names": list(reference.class_names),
        "gate": {
            "max_drop": str(rules.max_drop),
            "max_class_drop": str(rules.max_class_drop) if rules.max_class_drop else None,
            "class_floor": rules.class_floor,
            "confidence": rules.confidence,
            "interval_confidence": rules.confidence or SHOWN_CONFIDENCE,
            "min_samples": rules.min_samples,
            "allowed_drop": reference.allowed,
            "reference": reference.value,
            "limit": reference.limit,
            "baseline": reference.baseline_name,
            "baseline_value": reference.baseline_value,
        },
        "normalized": list(result.normalized),
        "conversion": result.conversion,
        "rows": msgspec.to_builtins(list(rung_rows(result))),
        "notes": msgspec.to_builtins(result.notes),
        "edgetpu": msgspec.to_builtins(result.edgetpu),
        "bundles": [str(path) for path in result.bundles],
        "reports": [str(path) for path in result.reports],
        "faults": list(result.faults),
        "warnings": list(result.warnings),
        "downloads": msgspec.to_builtins(result.downloads),
        "stages": {"reused": result.stages_reused, "made": result.stages_made},
    }


def manifest_json(manifest: Manifest) -> object:
    """The whole manifest for ``inspect --json``."""
    return msgspec.to_builtins(manifest)


def manifest_rows(manifest: Manifest) -> list[tuple[str, str]]:
    """What a person wants to know of a bundle, as label and text."""
    rows = [
        ("model", f"{manifest.model} {manifest.version}"),
        ("profile", manifest.profile),
        ("task", manifest.task.value),
        *(("input", f"{spec.name} {spec.shape} {spec.dtype.value}") for spec in manifest.inputs),
        *(("output", f"{spec.name} {spec.shape} {spec.dtype.value}") for spec in manifest.outputs),
        ("labels", str(len(manifest.labels)) if manifest.labels else "none"),
    ]
    if manifest.requires:
        needs = manifest.requires
        text = f"{needs.memory_bytes:,} bytes of memory, {needs.disk_bytes:,} of disk, agent {needs.agent}"
        rows.append(("needs", text))
    if manifest.golden:
        rows.append(("golden", f"{manifest.golden.samples} samples"))
    if manifest.provenance:
        tools = ", ".join(f"{name} {version}" for name, version in manifest.provenance.tools.items())
        rows.append(("source", f"{manifest.provenance.source_name} {manifest.provenance.source_sha256}"))
        if manifest.provenance.normalized:
            rows.append(("changed", ", ".join(manifest.provenance.normalized)))
        rows += [
            ("made with", tools),
        ]
    return rows
