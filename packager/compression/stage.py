"""Compression as a step of packing: the ladder's rungs are made from the compressed float model.

Guarantees: the gate's reference stays the model as it was given; what was done stands in the manifest's provenance.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import msgspec

from packager.compression.bench import download_rows, with_content
from packager.compression.plan import Compression
from packager.compression.report import DownloadRow
from packager.compression.rewrite import compress_model
from packager.gate import Verdict
from packager.workshop import Material, Progress, Workshop


def compress_material(material: Material, wanted: Compression, progress: Progress) -> Material:
    """The same with smaller weights.

    Raises:
        ManifestError: There is no layer to touch, or a weight is NaN or infinite.
    """
    progress.start(f"compressing: {wanted.describe()}", None)
    content, _ = compress_model(material.model.content, wanted)
    known = material.model.normalized
    changes = (*known.changes, wanted.describe())
    made = with_content(material, content)
    model = dataclasses.replace(made.model, normalized=msgspec.structs.replace(known, changes=changes))
    return dataclasses.replace(made, model=model)


def verdict_downloads(
    before: Workshop, after: Workshop, verdicts: Iterable[tuple[Verdict, ...]]
) -> tuple[DownloadRow, ...]:
    """What every measured rung takes to download, made from the model as given and from the compressed one."""
    rungs = dict.fromkeys(verdict.rung for rows in verdicts for verdict in rows if verdict.measured)
    return download_rows(before, after, list(rungs))
