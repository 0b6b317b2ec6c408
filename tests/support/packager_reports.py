"""Sound reports for tests; each test spoils one thing."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from contract.profile import DelegateName, Precision
from packager.coverage.coverage import Coverage, LeftOut
from packager.gate import Measurement, Outcome, Reference, Verdict
from packager.lint.rules import Finding
from packager.lint.table import Severity
from packager.notes import rung_notes
from packager.plan import Rung
from packager.report import PackResult
from packager.reporting.build import build_report
from packager.reporting.document import OperatorError, Ranked, Report, ReportBundle, ReportProvenance
from packager.reporting.evidence import Evidence, Made
from tests.support.packager_builders import measurement, profile, reference

XNNPACK = DelegateName.XNNPACK
BOARD = profile("raspberry-pi-4")
STATIC, FLOAT = Rung(Precision.STATIC_INT8, XNNPACK), Rung(Precision.FLOAT32, XNNPACK)
DYNAMIC = Rung(Precision.DYNAMIC_INT8, XNNPACK)
RECOVERED = Rung(Precision.STATIC_INT8, XNNPACK, floats=("conv1;fused;",))
WIDE = Rung(Precision.STATIC_INT16, DelegateName.NONE, unavailable="needs TFLite 2.17.0")
COVERAGE = Coverage(
    delegate="xnnpack",
    nodes_total=9,
    nodes_delegated=8,
    partitions=1,
    left_out=(LeftOut(node=8, operator="SOFTMAX", rule="type", detail="scores is int8"),),
    source="a test",
)
FINDING = Finding(code="LF009", severity=Severity.WARNING, message="12 inputs", remedy="give 100")


def a_measurement(value: float, classes: tuple[float, ...], **changes: Any) -> Measurement:
    """Over two classes and one without samples."""
    interval = 0.99 - value - 0.005, 0.99 - value + 0.005
    return measurement(value=value, classes=(*classes, math.nan), drop_interval=interval, **changes)


def a_reference(**changes: Any) -> Reference:
    """Of a task with three classes."""
    sound: dict[str, Any] = {
        "class_names": ("cat", "dog", "owl"),
        "float_classes": (1.0, 0.98, math.nan),
    }
    return reference(**(sound | changes))


def verdicts(board: str = BOARD.id) -> tuple[Verdict, ...]:
    """Static int8 fails and is recovered, int16 cannot be made, the float model ships."""
    plain = a_measurement(0.5, (0.6, 0.4))
    saved = a_measurement(0.988, (1.0, 0.976), size_bytes=150_000)
    floating = a_measurement(0.99, (1.0, 0.98), size_bytes=400_000)
    return (
        Verdict(board, STATIC, Outcome.REFUSED, "accuracy 0.5000 is below 0.9800", plain),
        Verdict(board, RECOVERED, Outcome.SHIPPED, "", saved, plain),
        Verdict(board, WIDE, Outcome.UNAVAILABLE, WIDE.unavailable, None),
        Verdict(board, FLOAT, Outcome.SHIPPED, "", floating),
    )


def a_result(**changes: Any) -> PackResult:
    """A run over one board."""
    rows = changes.pop("rows", verdicts())
    sound: dict[str, Any] = {
        "name": "digits",
        "version": "1.0.0",
        "reference": a_reference(),
        "float_measured": a_measurement(0.99, (1.0, 0.98)),
        "verdicts": {BOARD.id: rows},
        "faults": (),
        "notes": rung_notes([(BOARD, row.rung) for row in rows], {STATIC.name: COVERAGE}),
        "warnings": ("2 images are in both sets", FINDING.text()),
    }
    return PackResult(**(sound | changes))


def an_evidence(**changes: Any) -> Evidence:
    """Beside ``a_result``."""
    ranked = Ranked(
        operators=(
            OperatorError(operator="CONV_2D", name="conv1;fused;", added=0.4),
            OperatorError(operator="CONV_2D", name="conv2;", added=0.004),
            OperatorError(operator="ADD", name="sum;", added=-0.1),
        ),
        samples=4,
    )
    made = {
        (rung.name, rung.delegate): Made(sha256="a" * 64, recipe="a recipe", ranking=ranked)
        for rung in (STATIC, RECOVERED, DYNAMIC)
    }
    made[FLOAT.name, XNNPACK] = Made(sha256="b" * 64, recipe="none", ranking=None)
    sound: dict[str, Any] = {
        "profiles": (BOARD,),
        "task": "classification",
        "source_name": "digits.tflite",
        "source_sha256": "c" * 64,
        "inputs": ("image [1, 8, 8, 1] float32",),
        "outputs": ("scores [1, 3] float32",),
        "findings": (FINDING,),
        "provenance": ReportProvenance(
            evaluation_sha256="d" * 64,
            calibration_sha256="e" * 64,
            calibration_samples=12,
            tools={"numpy": "2.4.6"},
            project='[pack]\nname = "digits"\n',
        ),
        "made": made,
    }
    return Evidence(**(sound | changes))


def a_report(**changes: Any) -> Report:
    """The report of ``a_result``, with some fields changed."""
    bundle = ReportBundle(name="digits-1.0.0-raspberry-pi-4.bundle", sha256="f" * 64, size_bytes=604_190)
    return msgspec.structs.replace(build_report(a_result(), an_evidence(), {BOARD.id: bundle}), **changes)
