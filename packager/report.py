"""What a pack run and a bundle have to say, as rows and as JSON.

PURE. Rules:

1. Every rung of every profile has a row, also those that do not ship, with the reason.
2. A drop is measured against the gate's reference, so it can be compared with ``max_drop``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from contract.manifest import Manifest
from packager.gate import METRIC, Measurement, Reference, Verdict


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
        normalized: What was done to the model before anything was made of it.
    """

    name: str
    version: str
    reference: Reference
    float_measured: Measurement
    verdicts: Mapping[str, tuple[Verdict, ...]]
    faults: tuple[str, ...]
    bundles: tuple[Path, ...]
    normalized: tuple[str, ...] = ()


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
        host_latency_ms_p50: Median on this machine, one thread.
        peak_memory_bytes: Estimate for one interpreter.
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
    host_latency_ms_p50: float | None = None
    peak_memory_bytes: int | None = None


def rung_rows(result: PackResult) -> Iterator[RungRow]:
    """Rows in the order of the profiles and their ladders."""
    for verdicts in result.verdicts.values():
        for verdict in verdicts:
            yield _row(result, verdict)


def _row(result: PackResult, verdict: Verdict) -> RungRow:
    precision, found = verdict.rung.precision.value, verdict.measured
    row = RungRow(
        profile=verdict.profile,
        variant=precision,
        precision=precision,
        delegate=verdict.rung.delegate.value,
        verdict=verdict.outcome.value,
        reason=verdict.reason,
    )
    if found is None:
        return row
    return msgspec.structs.replace(
        row,
        size_bytes=found.size_bytes,
        size_ratio=found.size_bytes / result.reference.float_bytes,
        value=found.value,
        drop=result.reference.value - found.value,
        host_latency_ms_p50=found.latency_ms_p50,
        peak_memory_bytes=found.peak_memory_bytes,
    )


def pack_json(result: PackResult) -> dict[str, object]:
    """The whole result for ``pack --json``."""
    reference = result.reference
    return {
        "model": result.name,
        "version": result.version,
        "metric": METRIC,
        "samples": result.float_measured.samples,
        "float": {
            "value": reference.float_value,
            "size_bytes": reference.float_bytes,
            "host_latency_ms_p50": result.float_measured.latency_ms_p50,
        },
        "gate": {
            "max_drop": reference.max_drop,
            "reference": reference.value,
            "limit": reference.limit,
            "baseline": reference.baseline_name,
            "baseline_value": reference.baseline_value,
        },
        "normalized": list(result.normalized),
        "rows": msgspec.to_builtins(list(rung_rows(result))),
        "bundles": [str(path) for path in result.bundles],
        "faults": list(result.faults),
    }


def manifest_json(manifest: Manifest) -> object:
    """The whole manifest for ``inspect --json``."""
    return msgspec.to_builtins(manifest)


def manifest_rows(manifest: Manifest) -> list[tuple[str, str]]:
    """What a person wants to know of a bundle, as label and text."""
    (image, *_), (scores, *_) = manifest.inputs, manifest.outputs
    rows = [
        ("model", f"{manifest.model} {manifest.version}"),
        ("profile", manifest.profile),
        ("task", manifest.task.value),
        ("input", f"{image.name} {image.shape} {image.dtype.value}"),
        ("output", f"{scores.name} {scores.shape} {scores.dtype.value}"),
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
            rows.append(("normalised", ", ".join(manifest.provenance.normalized)))
        rows += [
            ("made with", tools),
        ]
    return rows
