"""The earlier release that a new one must not fall behind.

Guarantees: like is compared with like: the same model name, the same metric, the same evaluation samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from contract.bundle import BundleReader
from contract.errors import ConflictError


@dataclass(frozen=True)
class Baseline:
    """An earlier release: how to call it, its metric, its float model's value, and the digest of its samples."""

    name: str
    metric: str
    float_value: float
    evaluation_sha256: str


def read_baseline(path: Path, model: str) -> Baseline:
    """Read the baseline's figures from any of its bundles.

    Raises:
        ManifestError: No usable bundle.
        ConflictError: It holds another model.
    """
    with BundleReader(path) as reader:
        manifest = reader.manifest
    if manifest.model != model:
        raise ConflictError(
            f"baseline {path.name} holds the model {manifest.model}, not {model}",
            remedy="give a bundle of an earlier version of the same model",
        )
    metrics = [variant.metrics for variant in manifest.variants]
    return Baseline(
        name=f"{manifest.model} {manifest.version}",
        metric=metrics[0].metric,
        float_value=max(one.float_value for one in metrics),
        evaluation_sha256=manifest.provenance.evaluation_sha256 if manifest.provenance else "",
    )


def check_comparable(baseline: Baseline, metric: str, evaluation_sha256: str) -> None:
    """Refuse a baseline that was measured in another way, or on other samples.

    Raises:
        ConflictError: It was.
    """
    if baseline.metric != metric:
        raise ConflictError(f"baseline {baseline.name} was measured by {baseline.metric}, not {metric}")
    if baseline.evaluation_sha256 != evaluation_sha256:
        raise ConflictError(
            f"baseline {baseline.name} was measured on other evaluation samples",
            remedy="give the same --evaluation folder, or pack the baseline again with this one",
        )
