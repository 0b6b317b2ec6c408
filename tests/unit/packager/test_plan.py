"""Rungs, delegates, and work that profiles share."""

from __future__ import annotations

import pytest

from contract.profile import Delegate, DelegateName, Precision, RuntimeRange
from packager.plan import MIN_TFLITE, plan_pack
from tests.support.packager_builders import profile

OLD = (RuntimeRange(name="tflite-runtime", minimum="2.14.0", maximum="2.14.0"),)


def test_rungs_keep_the_ladders_order() -> None:
    (plan,) = plan_pack([profile()]).profiles
    assert [rung.precision for rung in plan.rungs] == list(plan.profile.ladder)


def test_profiles_that_want_the_same_precision_share_its_work() -> None:
    plan = plan_pack([profile("generic-x86-64"), profile("generic-x86-64-small"), profile("raspberry-pi-4")])
    assert plan.precisions == (
        Precision.STATIC_INT8,
        Precision.DYNAMIC_INT8,
        Precision.FLOAT32,
        Precision.WEIGHT_ONLY_INT8,
    )
    assert plan.measurements == tuple((precision, DelegateName.XNNPACK) for precision in plan.precisions)


def test_only_static_rungs_need_calibration() -> None:
    assert plan_pack([profile("generic-x86-64")]).needs_calibration
    assert not plan_pack([profile("generic-x86-64-small")]).needs_calibration


def test_a_profile_without_xnnpack_runs_on_plain_kernels() -> None:
    plain = profile(delegates=(Delegate(name=DelegateName.NONE),))
    (plan,) = plan_pack([plain]).profiles
    assert {rung.delegate for rung in plan.rungs} == {DelegateName.NONE}


def test_int16_activations_run_on_plain_kernels_because_xnnpack_has_none() -> None:
    (plan,) = plan_pack([profile(ladder=(Precision.STATIC_INT16, Precision.FLOAT32))]).profiles
    assert [rung.delegate for rung in plan.rungs] == [DelegateName.NONE, DelegateName.XNNPACK]


def test_a_rung_that_the_boards_only_runtime_answers_wrongly_is_not_planned() -> None:
    plan = plan_pack([profile(runtimes=OLD)])
    static, dynamic, floating = plan.profiles[0].rungs
    assert dynamic.unavailable == "needs TFLite 2.17.0, the board's runtimes have 2.14.0 at most"
    assert static.unavailable == floating.unavailable == ""
    assert Precision.DYNAMIC_INT8 not in plan.precisions


@pytest.mark.parametrize(
    "runtimes",
    [
        (*OLD, RuntimeRange(name="ai-edge-litert", minimum="2.1.3")),
        (*OLD, RuntimeRange(name="ai-edge-litert", maximum="2.1.3")),
        (RuntimeRange(name="tflite-runtime", maximum="2.17.1"),),
    ],
)
def test_one_runtime_that_is_new_enough_is_enough(runtimes: tuple[RuntimeRange, ...]) -> None:
    (plan,) = plan_pack([profile(runtimes=runtimes)]).profiles
    assert [rung.unavailable for rung in plan.rungs] == ["", "", ""]


def test_every_precision_has_a_lowest_runtime() -> None:
    assert set(MIN_TFLITE) == set(Precision)
