"""Each rule of lint finds its fault, and a sound model has none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from contract.errors import ManifestError
from contract.profile import Precision, Profile
from packager.lint.facts import Facts
from packager.lint.ranges import attribute_axis, coarse_columns
from packager.lint.rules import Finding, least_memory_bytes, lint
from packager.lint.run import check_findings, warning_texts
from packager.lint.table import RULES, Severity
from tests.support.packager_builders import profile
from tests.support.packager_lint import BOXES, IMAGE, columns, facts, model

PAGE = Path(__file__).resolve().parents[3] / "docs" / "reference" / "lint.md"
PI = profile("raspberry-pi-4")
CORAL = profile("raspberry-pi-4-coral-usb")
SMALL = profile("generic-x86-64-small")
DETECTIONS = columns((0, 640), (0, 640), (0, 640), (0, 640), (0, 1))


def codes(found: tuple[Finding, ...]) -> list[str]:
    return [one.code for one in found]


@pytest.mark.parametrize("boards", [(), (PI,), (PI, CORAL, SMALL)])
def test_a_sound_model_has_no_findings(boards: tuple[Profile, ...]) -> None:
    assert lint(facts(), boards) == ()


PLANTED: list[tuple[str, Facts, str]] = [
    ("LF001", facts(not_finite=("w",)), "w hold NaN or infinities"),
    ("LF001", facts(not_finite=tuple("abcdefg")), "a, b, c, d, e and 2 more hold NaN or infinities"),
    ("LF002", facts(refused="unresolved custom op: X"), "unresolved custom op: X"),
    ("LF003", facts(quantized=7), "7 constants are quantized"),
    (
        "LF004",
        facts(inputs=(msgspec.structs.replace(IMAGE, shape=(1, -1, -1, 3)),)),
        "input image has shape (1, -1, -1, 3)",
    ),
    ("LF004", facts(inputs=(msgspec.structs.replace(IMAGE, shape=(-1,)),)), "input image has shape (-1,)"),
    (
        "LF005",
        facts(columns=DETECTIONS),
        "1 of 5 columns of output boxes move by 1 at most, all of them by 640: int8 leaves the former 0.4 of 255 steps",
    ),
    ("LF006", facts(operators={"PRELU": 3, "EXP": 1, "CONV_2D": 9}), "1 EXP, 3 PRELU"),
    ("LF008", Facts(model=model()), "image: no calibration inputs are given"),
    ("LF008", facts({"is_constant": True}), "all values of all 200 calibration inputs are the same"),
    ("LF009", facts({"samples": 99}), "99 calibration inputs, 100 are the least"),
    ("LF010", facts({"classes": ("cat",)}), "all 200 calibration inputs are of 'cat'"),
    ("LF013", facts(changes=("free batch pinned to 1",)), "free batch pinned to 1"),
    ("LF014", facts(sparse=4), "4 constants are stored sparse"),
    ("LF015", facts(double_names=("conv",)), "conv stand for more than one tensor"),
]


@pytest.mark.parametrize(("code", "spoiled", "message"), PLANTED)
def test_a_planted_fault_is_found_with_its_code_and_remedy(code: str, spoiled: Facts, message: str) -> None:
    (found,) = lint(spoiled, [PI])
    rule = RULES[code]
    assert found == Finding(code=code, severity=rule.severity, message=message, remedy=rule.remedy)
    assert found.line() == f"{rule.severity.value} {code}: {message} - {rule.remedy}"


def test_rules_about_int8_apply_without_a_profile_and_not_to_a_ladder_without_static_rungs() -> None:
    spoiled = facts({"samples": 1}, operators={"PRELU": 1}, columns=DETECTIONS)
    assert codes(lint(spoiled, ())) == ["LF005", "LF006", "LF009"]
    assert codes(lint(spoiled, (PI,))) == ["LF005", "LF006", "LF009"]
    assert codes(lint(spoiled, (SMALL,))) == []


def test_what_an_error_makes_pointless_is_not_said() -> None:
    spoiled: dict[str, Any] = {"operators": {"PRELU": 1}, "constant_bytes": 1 << 40}
    assert codes(lint(facts(refused="no", **spoiled), (PI,))) == ["LF002"]
    assert codes(lint(facts(quantized=1, **spoiled), (PI,))) == ["LF003"]


def test_errors_come_first() -> None:
    spoiled = facts({"samples": 1}, not_finite=("w",), changes=("x",), operators={"EXP": 1})
    assert codes(lint(spoiled, (PI,))) == ["LF001", "LF006", "LF009", "LF013"]


def test_float_in_and_out_of_a_quantized_model_is_found_for_an_edge_tpu() -> None:
    found = lint(facts(quantized=7), (PI, CORAL))
    assert codes(found) == ["LF003", "LF007"]
    assert found[1].message == (
        "image, boxes of the quantized model are float32, raspberry-pi-4-coral-usb has an Edge TPU"
    )
    borders: dict[str, Any] = {
        "inputs": (msgspec.structs.replace(IMAGE, dtype="int8"),),
        "outputs": (msgspec.structs.replace(BOXES, dtype="int8"),),
    }
    assert codes(lint(facts(quantized=7, **borders), (CORAL,))) == ["LF003"]


def test_a_ladder_without_static_int8_on_an_edge_tpu_is_found() -> None:
    board = msgspec.structs.replace(CORAL, ladder=(Precision.FLOAT32,))
    (found,) = lint(facts(), (board,))
    assert found.code == "LF007"
    assert "has no static-int8" in found.message


def test_a_model_over_the_budget_in_every_precision_is_an_error_and_in_some_a_note() -> None:
    budget = PI.budgets.peak_memory_bytes
    for size, code, severity in ((budget, "LF012", Severity.NOTE), (3 * budget, "LF011", Severity.ERROR)):
        (found,) = lint(facts(constant_bytes=size), (PI,))
        assert (found.code, found.severity) == (code, severity)
        assert f"float32 takes at least {2 * size + 20_000:,} bytes" in found.message
        assert f"the budget of raspberry-pi-4 is {budget:,}" in found.message


@pytest.mark.parametrize(
    ("precision", "wanted"),
    [
        (Precision.FLOAT32, 800_000 + 20_000),
        (Precision.FLOAT16, 400_000 + 20_000),
        (Precision.WEIGHT_ONLY_INT4, 100_000 + 20_000),
        (Precision.DYNAMIC_INT8, 200_000 + 20_000),
        (Precision.STATIC_INT8, 200_000 + 5_000),
        (Precision.STATIC_INT16, 200_000 + 10_000),
    ],
)
def test_memory_is_bounded_from_below_for_every_precision(precision: Precision, wanted: int) -> None:
    assert least_memory_bytes(model(), precision) == wanted


def test_every_precision_has_a_bound() -> None:
    for precision in Precision:
        assert least_memory_bytes(model(), precision) > 0


@pytest.mark.parametrize(
    ("shape", "samples", "axis"),
    [
        ((1, 8400, 84), 1, 2),
        ((1, 84, 8400), 1, 1),
        ((1, 4, 4), 1, 2),
        ((1, 195), 16, 1),
        ((1, 195), 7, None),
        ((1, 1, 1, 195), 16, 3),
        ((1, 1000), 16, None),
        ((1, 256, 256, 2), 16, None),
        ((1, 1), 16, None),
    ],
)
def test_the_shorter_of_two_dimensions_holds_attributes(
    shape: tuple[int, ...], samples: int, axis: int | None
) -> None:
    assert attribute_axis(shape, samples) == axis


@pytest.mark.parametrize(
    ("spans", "wanted"),
    [
        (((0, 640), (0, 640), (0, 1)), [2]),
        (((0, 640), (0, 1), (0, 0.9)), [1, 2]),
        (((0, 640), (0, 90)), []),
        (((0, 640), (5, 5)), []),
        (((5, 5), (6, 6)), []),
        (((0, 640), (0, 200), (0, 60), (0, 30), (0, 1)), []),
        (((0, 1), (0, 1)), []),
    ],
)
def test_columns_are_coarse_when_they_are_a_kind_of_their_own(
    spans: tuple[tuple[float, float], ...], wanted: list[int]
) -> None:
    found = columns(*spans)
    assert coarse_columns(found.low, found.high) == wanted


@pytest.mark.parametrize("producer", ["SOFTMAX", "LOGISTIC"])
def test_scores_of_rare_classes_are_not_taken_for_another_range(producer: str) -> None:
    output = msgspec.structs.replace(BOXES, producer=producer)
    assert lint(facts(columns=columns((0, 1), (0, 1e-6), output=output)), (PI,)) == ()


def test_errors_stop_and_warnings_do_not() -> None:
    found = lint(facts({"samples": 1}, not_finite=("w",), changes=("x",)), (PI,))
    with pytest.raises(ManifestError, match=r"lint refuses m.tflite") as refused:
        check_findings(found, "m.tflite")
    assert [fault[:5] for fault in refused.value.faults] == ["LF001"]
    assert [text[:5] for text in warning_texts(found)] == ["LF009"]
    check_findings(found[1:], "m.tflite")


def test_every_code_is_documented_with_its_severity_and_remedy() -> None:
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `LF")]
    assert rows == [
        f"| `{code}` | {rule.severity.value} | {rule.title} | {rule.remedy} |" for code, rule in RULES.items()
    ]


def test_codes_are_numbered_without_a_gap() -> None:
    assert list(RULES) == [f"LF{number:03}" for number in range(1, len(RULES) + 1)]
