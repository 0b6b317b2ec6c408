"""A comparison of two bundles as a document: what ``compare --json`` prints.

PURE. Rules:

1. Both bundles were checked whole before; what is compared is what their manifests say.
2. A change has one of three effects: ``breaks`` (an application or a device that worked stops working, or answers
   something else), ``look`` (it may matter), ``fine``.
"""

from __future__ import annotations

import msgspec

SCHEMA = 1
BREAKS, LOOK, FINE = "breaks", "look", "fine"


class ComparedBundle(msgspec.Struct, frozen=True, kw_only=True):
    """One of the two.

    Attributes:
        file: File name.
        model: Model name.
        version: SemVer.
        profile: Profile id.
        size_bytes: Of the file.
        sha256: Digest of the file.
    """

    file: str
    model: str
    version: str
    profile: str
    size_bytes: int
    sha256: str


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that changed.

    Attributes:
        area: What it is about: ``labels``, ``inputs``, ``variants`` and so on.
        effect: ``breaks``, ``look`` or ``fine``.
        text: What changed, and what that means.
    """

    area: str
    effect: str
    text: str


class VariantFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a manifest says of a variant.

    Attributes:
        position: In the order of preference, from 1.
        sha256: Digest of the model file.
        size_bytes: Of the model file.
        precision: Numeric form.
        delegate: What it is made for.
        metric: Name of the accuracy metric.
        value: The variant's.
        float_value: The float model's.
        samples: Over how many samples.
        peak_memory_bytes: What one interpreter takes.
        min_version: Lowest TFLite runtime.
        libraries: Shared libraries that it needs.
        max_abs_error: How far a board's golden outputs may be off.
        min_top1_agreement: Share of golden samples whose best class must be the expected one.
    """

    position: int
    sha256: str
    size_bytes: int
    precision: str
    delegate: str
    metric: str
    value: float
    float_value: float
    samples: int
    peak_memory_bytes: int
    min_version: str
    libraries: tuple[str, ...]
    max_abs_error: float
    min_top1_agreement: float


class VariantChange(msgspec.Struct, frozen=True, kw_only=True):
    """A variant of either bundle.

    Attributes:
        name: Of the variant.
        change: ``same``, ``changed``, ``added`` or ``removed``.
        before: Null when it was added.
        after: Null when it was removed.
        bytes_changed: How many bytes of the model file are others; null where its size changed too, or one is missing.
        fetch_bytes: What a device that has every file of the first bundle fetches to run it; null when it was removed.
    """

    name: str
    change: str
    before: VariantFacts | None
    after: VariantFacts | None
    bytes_changed: int | None
    fetch_bytes: int | None


class ProvenanceChange(msgspec.Struct, frozen=True, kw_only=True):
    """A difference in where the bundles come from.

    Attributes:
        what: For example ``tool numpy`` or ``source_sha256``.
        before: Empty when it was not there.
        after: Empty when it is not there any more.
    """

    what: str
    before: str
    after: str


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that changed from one bundle to another.

    Attributes:
        schema: 1.
        before: The first bundle.
        after: The second.
        is_same: Whether nothing changed at all.
        is_comparable: Whether values of the metric were measured on the same samples.
        changes: What changed for applications and devices, worst first.
        variants: Those of the second bundle in its order, then those that are gone.
        new_artifacts: How many files the second has and the first has not.
        new_bytes: How many bytes these are.
        provenance: What changed in where they come from.
    """

    schema: int
    before: ComparedBundle
    after: ComparedBundle
    is_same: bool
    is_comparable: bool
    changes: tuple[Change, ...]
    variants: tuple[VariantChange, ...]
    new_artifacts: int
    new_bytes: int
    provenance: tuple[ProvenanceChange, ...]
