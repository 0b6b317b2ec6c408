"""Compares two bundles.

PURE. Rules:

1. Variants are the same when they have the same name: that is what devices, telemetry and reports call them.
2. A device is taken to have every file of the first bundle that the second has too; what it has to fetch is a variant's
   model file and the self-test data, where these are new. Devices fetch the manifest as well, which is not counted.
3. Values of a metric are compared only where metric and evaluation samples are the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping

import msgspec

from contract.identifiers import Version
from contract.manifest import Manifest, Variant
from packager.comparison.clients import client_changes, differences, shown
from packager.comparison.document import (
    BREAKS,
    FINE,
    LOOK,
    SCHEMA,
    Change,
    ComparedBundle,
    Comparison,
    ProvenanceChange,
    VariantChange,
    VariantFacts,
)

_WEIGHT = {BREAKS: 0, LOOK: 1, FINE: 2}


class Content(msgspec.Struct, frozen=True, kw_only=True):
    """A bundle that was checked whole.

    Attributes:
        bundle: What it is.
        manifest: What it says.
    """

    bundle: ComparedBundle
    manifest: Manifest


def compare(before: Content, after: Content, bytes_changed: Mapping[str, int]) -> Comparison:
    """Say what changed.

    Args:
        before: The first bundle.
        after: The second.
        bytes_changed: Variant name to the number of bytes of its model file that are others, where both have one of the
            same size.
    """
    old, new = before.manifest, after.manifest
    is_comparable = _is_comparable(old, new)
    variants = tuple(_variants(old, new, bytes_changed))
    changes = [
        *client_changes(old, new),
        *_device_changes(old, new),
        *_variant_changes(variants, is_comparable),
    ]
    known = old.artifacts()
    added = [file for digest, file in new.artifacts().items() if digest not in known]
    return Comparison(
        schema=SCHEMA,
        before=before.bundle,
        after=after.bundle,
        is_same=old == new,
        is_comparable=is_comparable,
        changes=tuple(sorted(changes, key=lambda change: _WEIGHT[change.effect])),
        variants=variants,
        new_artifacts=len(added),
        new_bytes=sum(file.size_bytes for file in added),
        provenance=tuple(_provenance(old, new)),
    )


def _is_comparable(old: Manifest, new: Manifest) -> bool:
    samples = [one.provenance.evaluation_sha256 if one.provenance else None for one in (old, new)]
    metrics = {variant.metrics.metric for one in (old, new) for variant in one.variants}
    return samples[0] is not None and samples[0] == samples[1] and len(metrics) == 1


def _variants(old: Manifest, new: Manifest, changed: Mapping[str, int]) -> Iterator[VariantChange]:
    was = {one.name: _facts(old, index, one) for index, one in enumerate(old.variants, start=1)}
    known = old.artifacts()
    golden = new.golden.artifact if new.golden else None
    golden_bytes = golden.size_bytes if golden and golden.sha256 not in known else 0
    for index, variant in enumerate(new.variants, start=1):
        before, after = was.get(variant.name), _facts(new, index, variant)
        file_bytes = 0 if variant.artifact.sha256 in known else variant.artifact.size_bytes
        yield VariantChange(
            name=variant.name,
            change="added" if before is None else "same" if before == after else "changed",
            before=before,
            after=after,
            bytes_changed=changed.get(variant.name),
            fetch_bytes=file_bytes + golden_bytes,
        )
    names = {variant.name for variant in new.variants}
    for name, before in was.items():
        if name not in names:
            yield VariantChange(
                name=name, change="removed", before=before, after=None, bytes_changed=None, fetch_bytes=None
            )


def _facts(manifest: Manifest, position: int, variant: Variant) -> VariantFacts:
    assert manifest.golden is not None  # noqa: S101 - a complete manifest has self-test data (check_built)
    tolerance = manifest.golden.tolerance[variant.name]
    return VariantFacts(
        position=position,
        sha256=variant.artifact.sha256,
        size_bytes=variant.artifact.size_bytes,
        precision=variant.precision.value,
        delegate=variant.delegate.value,
        metric=variant.metrics.metric,
        value=variant.metrics.value,
        float_value=variant.metrics.float_value,
        samples=variant.metrics.samples,
        peak_memory_bytes=variant.peak_memory_bytes,
        min_version=variant.requires.min_version,
        libraries=variant.requires.libraries,
        max_abs_error=tolerance.max_abs_error,
        min_top1_agreement=tolerance.min_top1_agreement,
    )


def _device_changes(old: Manifest, new: Manifest) -> Iterator[Change]:
    if old.profile != new.profile:
        text = f"is {new.profile}, was {old.profile}: the bundles are for different boards"
        yield Change(area="profile", effect=LOOK, text=text)
    if Version(new.version) < Version(old.version):
        text = f"is {new.version}, was {old.version}: the second bundle is the older one"
        yield Change(area="version", effect=LOOK, text=text)
    if old.requires is not None and new.requires is not None:
        for field, was, is_now in differences(old.requires, new.requires):
            text = f"{field} is {_number(is_now)}, was {_number(was)}"
            is_more = _is_more(field, was, is_now)
            if is_more:
                text += ": boards with less refuse it" if field != "agent" else ": older agents refuse it"
            yield Change(area="requires", effect=LOOK if is_more else FINE, text=text)


def _is_more(field: str, was: object, is_now: object) -> bool:
    if field == "agent":
        return Version(str(was)) < Version(str(is_now))
    return isinstance(was, int) and isinstance(is_now, int) and was < is_now


def _number(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else shown(value)


def _variant_changes(variants: tuple[VariantChange, ...], is_comparable: bool) -> Iterator[Change]:  # noqa: FBT001
    if not is_comparable:
        text = "values were measured by another metric or on other samples: they cannot be compared"
        yield Change(area="metric", effect=LOOK, text=text)
    for one in variants:
        if one.before is None:
            yield Change(area="variants", effect=FINE, text=f"{one.name} is new")
        elif one.after is None:
            yield Change(area="variants", effect=LOOK, text=f"{one.name} is gone")
        else:
            yield from _fact_changes(one.name, one.before, one.after, is_comparable)


def _fact_changes(
    name: str,
    was: VariantFacts,
    new: VariantFacts,
    is_comparable: bool,  # noqa: FBT001 - a fact of both, handed on
) -> Iterator[Change]:
    for field in ("precision", "delegate"):
        old, now = getattr(was, field), getattr(new, field)
        if old != now:
            yield Change(area="variants", effect=LOOK, text=f"{name} has {field} {now}, had {old}")
    if was.min_version != new.min_version:
        effect = LOOK if Version(was.min_version) < Version(new.min_version) else FINE
        text = f"{name} needs TFLite {new.min_version}, needed {was.min_version}"
        yield Change(area="variants", effect=effect, text=text)
    if missing := [shown(one) for one in new.libraries if one not in was.libraries]:
        yield Change(area="variants", effect=LOOK, text=f"{name} also needs {', '.join(missing)}")
    if new.position != was.position:
        text = f"{name} is number {new.position} in the order of preference, was {was.position}"
        yield Change(area="variants", effect=LOOK, text=text)
    if is_comparable and new.value != was.value:
        effect = LOOK if new.value < was.value else FINE
        text = f"{new.metric} of {name} is {new.value:.4f}, was {was.value:.4f}"
        yield Change(area="metric", effect=effect, text=text)
    if (new.max_abs_error, -new.min_top1_agreement) != (was.max_abs_error, -was.min_top1_agreement):
        is_looser = new.max_abs_error > was.max_abs_error or new.min_top1_agreement < was.min_top1_agreement
        text = (
            f"{name} may be off by {new.max_abs_error:g} and agree in {new.min_top1_agreement:g} of its self-test, "
            f"before by {was.max_abs_error:g} and in {was.min_top1_agreement:g}"
        )
        yield Change(area="tolerance", effect=LOOK if is_looser else FINE, text=text)


def _provenance(old: Manifest, new: Manifest) -> Iterator[ProvenanceChange]:
    was, now = _origin(old), _origin(new)
    for what in dict.fromkeys([*was, *now]):
        if was.get(what, "") != now.get(what, ""):
            yield ProvenanceChange(what=what, before=was.get(what, ""), after=now.get(what, ""))


def _origin(manifest: Manifest) -> dict[str, str]:
    found = manifest.provenance
    if found is None:
        return {}
    rows = {
        "source_name": found.source_name,
        "source_sha256": found.source_sha256,
        "calibration_sha256": found.calibration_sha256,
        "evaluation_sha256": found.evaluation_sha256,
        "normalized": "; ".join(found.normalized),
    }
    rows |= {f"tool {name}": version for name, version in sorted(found.tools.items())}
    if manifest.fingerprint is not None:
        rows["fingerprint"] = hashlib.sha256(msgspec.json.encode(manifest.fingerprint)).hexdigest()
    if manifest.documents is not None:
        rows |= {name: file.sha256 for name, file in manifest.documents.members().items()}
    return rows | {f"recipe {name}": recipe for name, recipe in sorted(found.recipes.items())}
