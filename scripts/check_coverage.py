#!/usr/bin/env python3
"""Refuses a test run that left too much untested: run after ``coverage combine``, from the repository's root.

Rules:

1. ``contract`` and every PURE module: every line and every branch.
2. Everything together: at least 90 %, branches counted.
3. A PURE module that the report does not mention was never loaded, which counts as nothing covered.

A module is PURE when a paragraph of its docstring starts with that word.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOTS = ("contract", "edge_agent", "packager", "server", "firmware_profiles")
OVERALL_MIN_PERCENT = 90.0
_SHOWN_GAPS = 8


@dataclass(frozen=True)
class Offender:
    """A file, or all of them, below what is asked.

    Attributes:
        name: Path relative to the repository, or ``all files``.
        percent: Lines and branches covered, 0 to 100.
        gaps: Lines and branches (``12->15``) that no test reaches, in order.
    """

    name: str
    percent: float
    gaps: tuple[str, ...] = ()


def is_pure(source: str) -> bool:
    """Whether a paragraph of the module's docstring starts with ``PURE``."""
    docstring = ast.get_docstring(ast.parse(source)) or ""
    return any(paragraph.startswith("PURE") for paragraph in docstring.split("\n\n"))


def find_complete(root: Path) -> list[str]:
    """Paths, relative to ``root``, of the modules that must be covered completely."""
    files = [path for folder in ROOTS for path in sorted((root / folder).rglob("*.py"))]
    return [
        path.relative_to(root).as_posix()
        for path in files
        if path.relative_to(root).parts[0] == "contract" or is_pure(path.read_text(encoding="utf-8"))
    ]


def find_offenders(report: Mapping[str, Any], complete: Iterable[str]) -> list[Offender]:
    """Everything in a report that breaks a rule, worst first.

    Args:
        report: What ``coverage json`` wrote.
        complete: Paths that must be covered completely.
    """
    offenders: list[Offender] = []
    for name in complete:
        entry = report["files"].get(name)
        if entry is None:
            offenders.append(Offender(name, 0.0, ("never loaded",)))
            continue
        # Leaving a function or module is written as a negative line number in the report.
        gaps = [(line, str(line)) for line in entry["missing_lines"]]
        gaps += [
            (start, f"{start}->{end if end > 0 else 'exit'}")
            for start, end in entry.get("missing_branches", ())
        ]
        if gaps:
            percent = float(entry["summary"]["percent_covered"])
            offenders.append(Offender(name, percent, tuple(text for _, text in sorted(gaps))))
    offenders.sort(key=lambda offender: offender.percent)
    overall = float(report["totals"]["percent_covered"])
    if overall < OVERALL_MIN_PERCENT:
        offenders.append(Offender(f"all files (at least {OVERALL_MIN_PERCENT:.0f})", overall))
    return offenders


def render(offenders: Iterable[Offender]) -> str:
    """One line per offender: percent, name, the first gaps."""
    lines: list[str] = []
    for offender in offenders:
        more = len(offender.gaps) - _SHOWN_GAPS
        gaps = " ".join(offender.gaps[:_SHOWN_GAPS]) + (f" and {more} more" if more > 0 else "")
        lines.append(f"{offender.percent:6.2f} %  {offender.name}  {gaps}".rstrip())
    return "\n".join(lines)


def main() -> int:
    """Read ``.coverage``, print what is missing; 0 when nothing is."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "coverage.json")
        command = [sys.executable, "-m", "coverage", "json", "--quiet", "--fail-under=0", "-o", str(file)]
        if subprocess.run(command, check=False).returncode != 0:
            sys.stderr.write(
                "error: coverage has no report; run the tests under `coverage run`, then combine\n"
            )
            return 1
        report = json.loads(file.read_bytes())
    complete = find_complete(Path())
    offenders = find_offenders(report, complete)
    if offenders:
        sys.stdout.write(f"coverage is too low:\n{render(offenders)}\n")
        return 1
    overall = report["totals"]["percent_covered"]
    sys.stdout.write(f"coverage: {overall:.2f} % of all, 100 % of {len(complete)} complete modules\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
