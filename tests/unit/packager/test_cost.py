"""What a rung costs on a board, and how a pack run says it."""

from __future__ import annotations

import msgspec
import pytest

from contract.profile import Cpu, Delegate, DelegateName, Precision
from packager.cost import Speed, cost_of
from packager.coverage.coverage import Coverage, LeftOut
from packager.edgetpu import runtime_of
from packager.edgetpu_log import OperatorRow, parse_compiler_log
from packager.notes import note_line, rung_notes
from packager.plan import Rung, plan_pack
from tests.support import edgetpu_compiler
from tests.support.packager_builders import profile

PLAIN = profile(delegates=(Delegate(name=DelegateName.NONE),))
DOT = profile(cpu=Cpu(cores=4, model="Cortex-A76", features=("asimd", "asimddp")))


def test_int16_activations_are_never_chosen_for_speed_on_any_board() -> None:
    for board in (profile(), PLAIN, DOT):
        cost = cost_of(board, Precision.STATIC_INT16)
        assert (cost.delegate, cost.is_for_speed) == (DelegateName.NONE, False)
        assert "never for speed" in cost.note


@pytest.mark.parametrize("precision", Precision)
def test_every_precision_has_a_cost_on_every_board(precision: Precision) -> None:
    assert cost_of(profile(), precision).note
    assert cost_of(PLAIN, precision).speed is Speed.SLOW


def test_int8_is_for_speed_and_says_whether_the_board_has_the_dot_product() -> None:
    cost = cost_of(DOT, Precision.STATIC_INT8)
    assert cost.is_for_speed
    assert cost.note == "XNNPACK computes in int8, with the int8 dot product (asimddp)"
    bare = profile(cpu=Cpu(cores=4, model="Cortex-A53", features=("asimd",)))
    assert cost_of(bare, Precision.STATIC_INT8).note.endswith("without an int8 dot product")
    assert not cost_of(DOT, Precision.FLOAT32).is_for_speed


def test_a_rung_is_planned_on_the_delegate_that_its_cost_is_stated_for() -> None:
    (plan,) = plan_pack([profile(ladder=tuple(Precision))]).profiles
    assert all(rung.delegate is cost_of(profile(), rung.precision).delegate for rung in plan.rungs)


def coverage(*kinds: str) -> Coverage:
    left = tuple(
        LeftOut(node=n, operator=kind, rule="operator", detail="none") for n, kind in enumerate(kinds)
    )
    return Coverage(
        delegate="xnnpack",
        nodes_total=9,
        nodes_delegated=9 - len(left),
        partitions=1,
        left_out=left,
        source="s",
    )


def test_a_note_says_cost_coverage_and_the_first_reasons() -> None:
    rungs = [
        (DOT, Rung(precision, DelegateName.XNNPACK))
        for precision in (Precision.FLOAT32, Precision.STATIC_INT16, Precision.FLOAT16)
    ]
    found = {"float32": coverage("A", "B", "C", "D"), "static-int16": coverage(), "float16": coverage()}
    plain, slow, half = rung_notes(rungs, found)
    assert note_line(plain) == (
        "float32: as float; XNNPACK computes in float; it takes 5/9 operators, not 1 x A: none (operator); "
        "1 x B: none (operator); 1 x C: none (operator) and 1 kinds more"
    )
    assert slow.coverage is None
    assert note_line(half).endswith("it takes 9/9 operators")
    split = msgspec.structs.replace(coverage(), partitions=2)
    assert note_line(rung_notes(rungs[:1], {"float32": split})[0]).endswith(
        "it takes 9/9 operators in 2 parts"
    )
    assert note_line(rung_notes(rungs[:1], {})[0]) == "float32: as float; XNNPACK computes in float"
    assert note_line(rung_notes(rungs[:1], {"float32": coverage("A")})[0]).endswith(
        "not 1 x A: none (operator)"
    )


def test_a_boards_edge_tpu_runtime_comes_from_its_profile() -> None:
    def runtime(**options: str) -> int | None:
        return runtime_of(profile(delegates=(Delegate(name=DelegateName.EDGETPU, options=options),)))

    assert (runtime(min_runtime="13"), runtime(), runtime_of(profile())) == (13, 14, None)


def test_a_log_of_a_model_that_is_mapped_whole_has_no_line_on_the_cpu() -> None:
    report = parse_compiler_log("Edge TPU Compiler version 16.0.384591198\n" + edgetpu_compiler.log(9))
    assert report is not None
    assert (report.operations_tpu, report.operations_cpu, report.subgraphs) == (9, 0, 1)
    assert report.operators == (OperatorRow(operator="CONV_2D", count=9, status="Mapped to Edge TPU"),)
    assert report.describe() == (
        "9 of 9 operations on the Edge TPU, 115,200 bytes of parameters on the chip, 0 streamed"
    )


def test_a_log_without_its_usual_lines_is_no_report() -> None:
    assert parse_compiler_log("Edge TPU Compiler version 16.0\nsomething else") is None
    assert parse_compiler_log(edgetpu_compiler.log(9)) is None
