"""The report's document: every rung with its reason, each variant once, nothing that differs between two runs."""

from __future__ import annotations

import dataclasses
import json

import msgspec
import pytest

from packager.gate import Outcome, Verdict
from packager.notes import EdgetpuNote, rung_notes
from packager.project import PackTable, parse_project
from packager.reporting.build import build_report
from packager.reporting.document import Report, to_json
from packager.reporting.project_text import project_text
from tests.support.packager_builders import profile
from tests.support.packager_reports import (
    BOARD,
    COVERAGE,
    FINDING,
    FLOAT,
    STATIC,
    XNNPACK,
    a_measurement,
    a_reference,
    a_report,
    a_result,
    an_evidence,
    verdicts,
)


def test_every_rung_has_its_outcome_and_reason_also_those_that_do_not_ship() -> None:
    (board,) = a_report().profiles
    assert [(rung.variant, rung.outcome, rung.reason) for rung in board.rungs] == [
        ("static-int8", "refused", "accuracy 0.5000 is below 0.9800"),
        ("static-int8-selective", "shipped", ""),
        ("static-int16", "not available", "needs TFLite 2.17.0"),
        ("float32", "shipped", ""),
    ]
    assert board.rungs[2].speed == "slow"
    assert board.bundle is not None


def test_a_variant_tells_what_was_measured_and_what_recovery_cost() -> None:
    report = a_report()
    found = report.variant("static-int8-selective", "xnnpack")
    assert found is not None
    assert (found.size_bytes, found.size_ratio, found.cost_bytes) == (150_000, 0.375, 50_000)
    assert found.floats == ("conv1;fused;",)
    assert (found.drop, found.drop_low, found.drop_high) == pytest.approx((0.002, -0.003, 0.007))
    assert found.classes == (1.0, 0.976, None)
    assert found.ranking is not None
    assert found.coverage is None
    plain = report.variant("static-int8", "xnnpack")
    assert plain is not None
    assert (plain.coverage, plain.cost_bytes) == (COVERAGE, None)
    assert report.variant("static-int16", "none") is None


def test_a_variant_for_two_boards_stands_in_it_once() -> None:
    other = profile("raspberry-pi-5")
    rows = {BOARD.id: (verdicts()[3],), other.id: (dataclasses.replace(verdicts()[3], profile=other.id),)}
    both = dataclasses.replace(
        a_result(), verdicts=rows, notes=rung_notes([(BOARD, FLOAT), (other, FLOAT)], {})
    )
    report = build_report(both, an_evidence(profiles=(BOARD, other)), {})
    assert [one.name for one in report.variants] == ["float32"]
    assert [board.profile for board in report.profiles] == [BOARD.id, other.id]


def test_what_was_measured_without_an_interval_has_none() -> None:
    bare = dataclasses.replace(a_measurement(0.99, (1.0, 0.98)), drop_interval=None)
    report = build_report(
        a_result(rows=(Verdict(BOARD.id, FLOAT, Outcome.SHIPPED, "", bare),)), an_evidence(), {}
    )
    assert (report.variants[0].drop_low, report.variants[0].drop_high) == (None, None)


def test_a_refused_release_says_why_and_has_no_bundle() -> None:
    report = build_report(a_result(faults=("raspberry-pi-4: best accuracy is 0.5",)), an_evidence(), {})
    assert (report.outcome, report.faults) == ("refused", ("raspberry-pi-4: best accuracy is 0.5",))
    assert report.profiles[0].bundle is None


def test_lint_is_told_once_as_findings_and_the_samples_as_warnings() -> None:
    report = a_report()
    assert report.findings == (FINDING,)
    assert report.warnings == ("2 images are in both sets",)


def test_an_edge_tpu_note_stands_with_its_board() -> None:
    note = EdgetpuNote(profile=BOARD.id, text="not installed", is_shipped=False)
    report = build_report(a_result(edgetpu=(note,)), an_evidence(), {})
    assert report.profiles[0].edgetpu == note


def test_a_baseline_that_sets_the_reference_is_told() -> None:
    better = a_reference(baseline_value=0.995, baseline_name="digits 0.9.0")
    report = build_report(a_result(reference=better), an_evidence(), {})
    assert (report.gate.baseline, report.gate.reference) == ("digits 0.9.0", 0.995)
    assert report.gate.limit == 0.985


def test_the_document_reads_back_from_its_json_form() -> None:
    report = a_report()
    text = to_json(report)
    assert msgspec.json.decode(text, type=Report) == report
    assert text.endswith(b"}\n")
    assert b"latency" not in text
    assert json.loads(text)["float_classes"] == [1.0, 0.98, None]


def test_a_task_without_classes_has_none() -> None:
    flat = a_reference(class_names=(), float_classes=(), metric="r2")
    rows = (
        Verdict(
            BOARD.id, STATIC, Outcome.SHIPPED, "", dataclasses.replace(a_measurement(0.98, ()), classes=())
        ),
    )
    report = build_report(a_result(reference=flat, rows=rows), an_evidence(), {})
    assert (report.metric, report.class_names, report.variants[0].classes) == ("r2", (), ())
    assert report.variants[0].delegate == XNNPACK.value


def test_a_project_text_without_options_of_the_task_has_no_table_of_them() -> None:
    assert project_text(PackTable(name="digits"), {}) == '[pack]\nname = "digits"\n'


def test_the_project_text_asks_for_the_same_without_a_path() -> None:
    table = PackTable(
        model='/home/me/\x7fmy "model".tflite',
        name="digits",
        version="1.0.0",
        profiles=("raspberry-pi-4",),
        evaluation="/data/evaluation-7",
        labels="/data/labels.de.txt",
        mean=(1.0, 2.0),
        max_drop="1%",
        bgr=True,
        output="/elsewhere",
        cache=False,
    )
    text = project_text(
        table, {"background": True, "anchors": "/data/anchors.csv", "sizes": [1, 2], "kind": "ssd"}
    )
    assert "/" not in text
    asked = parse_project(text.encode())
    assert asked.task_options == {
        "background": True,
        "anchors": "anchors.csv",
        "sizes": [1, 2],
        "kind": "ssd",
    }
    assert asked.pack == msgspec.structs.replace(
        table,
        model='\x7fmy "model".tflite',
        evaluation="evaluation",
        labels="labels.txt",
        output="dist",
        cache=True,
    )
