"""What ships, what does not, and what the reason says."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import msgspec
import pytest

from contract.profile import DelegateName, Precision
from packager.gate import (
    Measurement,
    Outcome,
    Recovery,
    Reference,
    Verdict,
    decide_profile,
    gate_faults,
)
from packager.plan import ProfilePlan, Rung
from packager.rules import Allowance, Rules
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


def judged(found: Measurement, **changes: Any) -> str:
    """What the gate says against a variant under changed rules, for a model with two classes."""
    against = reference(
        rules=dataclasses.replace(Rules(), **changes),
        class_names=("cat", "dog"),
        float_classes=(0.98, 1.0),
    )
    return against.accuracy_fault(found)


def test_a_relative_drop_is_a_share_of_the_reference() -> None:
    against = reference(float_value=0.5, rules=Rules(max_drop=Allowance(0.1, is_relative=True)))
    assert against.limit == pytest.approx(0.45)
    assert against.is_met(0.45)
    assert not against.is_met(0.4499)
    assert against.describe() == "0.4500 (0.5000 of the float model less 10%)"


def test_a_class_below_the_floor_is_refused_by_name_although_the_whole_passes() -> None:
    found = measurement(classes=(0.7, 1.0))
    assert judged(found) == ""
    assert judged(found, class_floor=0.8) == "class cat: accuracy 0.7000 is below 0.8000"
    assert judged(measurement(classes=(0.8, 1.0)), class_floor=0.8) == ""


def test_a_class_that_loses_too_much_is_refused_with_what_it_had() -> None:
    found = measurement(classes=(0.97, 0.9))
    assert judged(found, max_class_drop=Allowance(0.05)) == (
        "class dog: accuracy 0.9000 is below 0.9500 (1.0000 less 0.05)"
    )
    assert judged(found, max_class_drop=Allowance(0.1, is_relative=True)) == ""


def test_a_class_without_samples_is_not_judged() -> None:
    assert judged(measurement(classes=(math.nan, 1.0)), class_floor=0.9) == ""


def test_many_bad_classes_are_told_by_the_first_three_and_a_number() -> None:
    against = reference(rules=Rules(class_floor=0.9), class_names=tuple("abcde"), float_classes=(1.0,) * 5)
    fault = against.accuracy_fault(measurement(classes=(0.0,) * 5))
    assert fault.count("is below") == 3
    assert fault.endswith(" and 2 classes more")


def test_asked_for_confidence_the_upper_end_of_the_drop_decides() -> None:
    doubtful = measurement(value=0.985, classes=(1.0, 1.0), drop_interval=(-0.005, 0.015))
    assert judged(doubtful) == ""
    assert judged(doubtful, confidence=0.95) == (
        "the drop is up to 0.0150 with 0.95 confidence, 0.0100 is allowed"
    )
    sure = measurement(classes=(1.0, 1.0), drop_interval=(0.0, 0.01))
    assert judged(sure, confidence=0.95) == ""


def test_answers_that_are_no_numbers_are_refused_however_high_the_metric() -> None:
    assert judged(measurement(useless=3)) == "answers NaN or infinity for 3 of 500 samples"


def recovered(recovery: Recovery, found: Measurement) -> tuple[Verdict, ...]:
    measured = {(STATIC, XNNPACK): found}
    return decide_profile(plan((STATIC,)), measured, reference(), {(STATIC, XNNPACK): recovery})


def test_a_recovered_form_ships_after_the_rung_that_failed_with_what_it_cost() -> None:
    bad, good = measurement(value=0.1), measurement(size_bytes=150_000)
    selective = Rung(STATIC, XNNPACK, floats=("conv;",))
    plain, saved = recovered(Recovery(2, selective, good, 1), bad)
    assert (plain.outcome, plain.reason) == (Outcome.REFUSED, "accuracy 0.1000 is below 0.9800")
    assert (saved.outcome, saved.rung.name, saved.plain) == (Outcome.SHIPPED, "static-int8-selective", bad)
    assert gate_faults({"board": (plain, saved)}, reference()) == []


def test_a_recovered_form_must_pass_every_other_rule_too() -> None:
    selective = Rung(STATIC, XNNPACK, floats=("conv;",))
    large = measurement(peak_memory_bytes=1 << 40)
    _, saved = recovered(Recovery(1, selective, large, 1), measurement(value=0.1))
    assert saved.outcome is Outcome.REFUSED
    assert saved.reason.startswith("takes ")


def test_a_recovery_in_vain_is_told_with_the_refusal() -> None:
    (verdict,) = recovered(Recovery(8, None, measurement(value=0.9), 12), measurement(value=0.1))
    assert verdict.reason == (
        "accuracy 0.1000 is below 0.9800; still 0.9000 with 12 operators in float, after 8 trials"
    )
    (verdict,) = recovered(Recovery(0, None, None, 0), measurement(value=0.1))
    assert verdict.reason.endswith("; no operator stands out that could be left in float")
