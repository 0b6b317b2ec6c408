"""What ships, what does not, and what the reason says."""

from __future__ import annotations

import msgspec
import pytest

from contract.profile import DelegateName, Precision
from packager.gate import Measurement, Outcome, Reference, Verdict, decide_profile, gate_faults
from packager.plan import ProfilePlan, Rung
from tests.support.packager_builders import XNNPACK, measurement, plan, profile, reference

STATIC, DYNAMIC, FLOAT = Precision.STATIC_INT8, Precision.DYNAMIC_INT8, Precision.FLOAT32


def decide(
    ladder: tuple[Precision, ...], found: dict[Precision, Measurement | str], against: Reference | None = None
) -> tuple[Verdict, ...]:
    measured = {(precision, XNNPACK): one for precision, one in found.items()}
    return decide_profile(plan(ladder), measured, against or reference())


def test_every_rung_that_passes_ships_in_the_ladders_order() -> None:
    verdicts = decide((DYNAMIC, STATIC), {STATIC: measurement(), DYNAMIC: measurement()})
    assert [verdict.rung.precision for verdict in verdicts] == [DYNAMIC, STATIC]
    assert {verdict.outcome for verdict in verdicts} == {Outcome.SHIPPED}
    assert {verdict.reason for verdict in verdicts} == {""}


@pytest.mark.parametrize(
    ("value", "outcome"),
    [(0.98, Outcome.SHIPPED), (0.9799, Outcome.REFUSED), (1.0, Outcome.SHIPPED)],
)
def test_a_drop_of_just_the_limit_passes_and_one_above_does_not(value: float, outcome: Outcome) -> None:
    (verdict,) = decide((STATIC,), {STATIC: measurement(value=value)})
    assert verdict.outcome is outcome


def test_a_refused_rung_names_metric_value_and_limit() -> None:
    (verdict,) = decide((STATIC,), {STATIC: measurement(value=0.9)})
    assert verdict.reason == "accuracy 0.9000 is below 0.9800"


def test_a_worse_model_does_not_pass_by_being_measured_against_itself() -> None:
    spoiled = reference(float_value=0.57, baseline_value=0.99, baseline_name="digits 1.0.0")
    (verdict,) = decide((FLOAT,), {FLOAT: measurement(value=0.57)}, spoiled)
    assert verdict.outcome is Outcome.REFUSED
    assert spoiled.describe() == "0.9800 (0.9900 of digits 1.0.0 less 0.01)"


def test_a_better_model_is_measured_against_itself_and_not_the_baseline() -> None:
    better = reference(float_value=0.99, baseline_value=0.9, baseline_name="digits 1.0.0")
    assert better.value == 0.99
    assert better.describe() == "0.9800 (0.9900 of the float model less 0.01)"


def test_a_rung_that_could_not_be_made_is_not_available_with_its_reason() -> None:
    static, dynamic = decide((STATIC, DYNAMIC), {STATIC: "no such kernel", DYNAMIC: measurement()})
    assert (static.outcome, static.reason, static.measured) == (Outcome.UNAVAILABLE, "no such kernel", None)
    assert dynamic.outcome is Outcome.SHIPPED


def test_a_rung_that_was_not_planned_is_not_looked_up() -> None:
    planned = ProfilePlan(profile(), (Rung(DYNAMIC, DelegateName.XNNPACK, "needs TFLite 2.17.0"),))
    (verdict,) = decide_profile(planned, {}, reference())
    assert (verdict.outcome, verdict.reason) == (Outcome.UNAVAILABLE, "needs TFLite 2.17.0")


def test_a_quantized_file_that_is_not_smaller_is_refused() -> None:
    (verdict,) = decide((DYNAMIC,), {DYNAMIC: measurement(size_bytes=400_000)})
    assert verdict.reason == "not smaller than the float model: nothing in it could be quantized"


def test_the_float_rung_may_be_as_large_as_the_float_model() -> None:
    (verdict,) = decide((FLOAT,), {FLOAT: measurement(size_bytes=400_000)})
    assert verdict.outcome is Outcome.SHIPPED


def test_a_rung_that_takes_more_memory_than_the_board_gives_is_refused() -> None:
    (verdict,) = decide((STATIC,), {STATIC: measurement(peak_memory_bytes=1 << 40)})
    assert verdict.reason == f"takes {1 << 40} bytes of memory, the budget is {256 << 20}"


def test_rungs_that_do_not_fit_into_the_bundle_any_more_are_left_out() -> None:
    budgets = msgspec.structs.replace(profile().budgets, bundle_bytes=250_000)
    planned = plan((STATIC, FLOAT, DYNAMIC), budgets=budgets)
    measured = {
        (STATIC, XNNPACK): measurement(),
        (FLOAT, XNNPACK): measurement(size_bytes=200_000),
        (DYNAMIC, XNNPACK): measurement(),
    }
    static, floating, dynamic = decide_profile(planned, measured, reference())
    assert (static.outcome, dynamic.outcome) == (Outcome.SHIPPED, Outcome.SHIPPED)
    assert floating.reason == "makes the bundle 300000 bytes, the budget is 250000"


def test_a_profile_that_nothing_passes_for_names_the_best_value_and_the_limit() -> None:
    verdicts = decide((STATIC, DYNAMIC), {STATIC: measurement(value=0.5), DYNAMIC: measurement(value=0.6)})
    (fault,) = gate_faults({"board": verdicts}, reference())
    assert fault.startswith("board: best accuracy is 0.6000 (dynamic-int8), at least 0.9800 ")
    assert fault.endswith("(0.9900 of the float model less 0.01) is needed")


def test_a_profile_that_nothing_passes_for_by_other_reasons_names_them_all() -> None:
    verdicts = decide(
        (STATIC, DYNAMIC), {STATIC: measurement(peak_memory_bytes=1 << 40), DYNAMIC: "no kernel"}
    )
    (fault,) = gate_faults({"board": verdicts}, reference())
    assert fault == f"board: static-int8 {verdicts[0].reason}, dynamic-int8 no kernel"


def test_one_rung_that_passes_is_enough_for_a_profile() -> None:
    verdicts = decide((STATIC, DYNAMIC), {STATIC: measurement(value=0.5), DYNAMIC: measurement()})
    assert gate_faults({"board": verdicts}, reference()) == []
