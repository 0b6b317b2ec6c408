"""Writes the report of a pack run beside its bundles, or in their place when nothing passes.

Guarantees: bundles and report appear together, whole, or not at all (``packager.bundle_writer``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from contract.digest import digest_of
from packager.bundle_writer import BundleContent, write_bundles
from packager.report import PackResult
from packager.reporting.build import build_report
from packager.reporting.document import Report, ReportBundle, to_json
from packager.reporting.evidence import Evidence
from packager.reporting.render import render_report


def report_files(report: Report) -> dict[str, bytes]:
    """Names and contents of both forms of a report."""
    name = f"{report.model}-{report.version}.report"
    return {f"{name}.html": render_report(report), f"{name}.json": to_json(report)}


def write_with_report(
    output: Path, contents: Sequence[BundleContent], result: PackResult, evidence: Evidence
) -> list[Path]:
    """Write bundles and report.

    Args:
        output: Folder to write to; made when it is not there.
        contents: One per profile; none when the release is refused.
        result: What came of the run.
        evidence: What is known beside it.

    Returns:
        Paths of the bundles in the same order, then of the report as a page and as JSON.

    Raises:
        StorageError: The folder cannot be written to.
        ManifestError: A manifest is not complete.
    """

    def tell(staged: Sequence[Path]) -> Mapping[str, bytes]:
        written = {
            content.manifest.profile: _describe(path) for content, path in zip(contents, staged, strict=True)
        }
        return report_files(build_report(result, evidence, written))

    return write_bundles(output, contents, tell)


def _describe(path: Path) -> ReportBundle:
    with path.open("rb") as file:
        found = digest_of(file)
    return ReportBundle(name=path.name, sha256=found.sha256, size_bytes=found.size_bytes)
