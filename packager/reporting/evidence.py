"""What a report tells of a pack run beside its verdicts.

PURE. Rules:

1. Nothing here is a path: only names, digests and what was found.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from contract.profile import DelegateName, Profile
from packager.lint.rules import Finding
from packager.reporting.document import Ranked, ReportProvenance

RungName = tuple[str, DelegateName]
"""Name of a rung and what it runs on: together they are one variant of a run."""


@dataclass(frozen=True)
class Made:
    """What is known of a model file that was made.

    Attributes:
        sha256: Its digest.
        recipe: How it was made.
        ranking: Its operators by error; None for a form that is not made operator by operator.
    """

    sha256: str
    recipe: str
    ranking: Ranked | None


@dataclass(frozen=True)
class Evidence:
    """What stands in a report and not in ``packager.report.PackResult``.

    Attributes:
        profiles: In the order asked for.
        task: What the model is for.
        source_name: File name of the given model.
        source_sha256: Its digest.
        inputs: One text per input.
        outputs: One text per output.
        findings: What lint found.
        provenance: What it was made from and with.
        made: Every variant that was measured.
    """

    profiles: tuple[Profile, ...]
    task: str
    source_name: str
    source_sha256: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    findings: tuple[Finding, ...]
    provenance: ReportProvenance
    made: Mapping[RungName, Made]
