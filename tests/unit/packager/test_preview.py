"""What ``pack --dry-run`` says before anything is made."""

from __future__ import annotations

from contract.manifest import Task
from contract.profile import Precision
from packager.app import Preparation
from packager.description import check_source
from packager.metadata.card import ModelCard
from packager.plan import MIN_TFLITE, plan_pack
from packager.preview import PURPOSE, preview, rule_texts
from packager.rules import Allowance, Rules
from packager.sources.tflite import SourceModel
from packager.tasks.kind import Presentation
from packager.workshop import Material
from tests.support.packager_builders import classified, description, profile

BOARD = profile(
    "raspberry-pi-4-32bit", ladder=(Precision.DYNAMIC_INT8, Precision.STATIC_INT16, Precision.FLOAT32)
)


def preparation() -> Preparation:
    source = check_source(description(), "m")
    material = Material(
        model=SourceModel(name="digits.tflite", content=b"", sha256="0" * 64, source=source),
        task=classified([1, 2], [0, 1]),
        calibration=None,
        presentation=Presentation(task=Task.CLASSIFICATION),
    )
    card = ModelCard(name="digits", version="1.0.0", text="", inputs=(), outputs=())
    return Preparation(plan_pack([BOARD]), material, None, ("look at this",), (), card)


def test_every_rung_stands_in_the_ladders_order_with_its_reason() -> None:
    found = preview(preparation(), Rules())
    (board,) = found.profiles
    assert board.profile == "raspberry-pi-4-32bit"
    dynamic, wide, floating = board.rungs
    assert (dynamic.variant, dynamic.is_made) == ("dynamic-int8", False)
    assert dynamic.reason == "needs TFLite 2.17.0, the board's runtimes have 2.14.0 at most"
    assert (wide.delegate, wide.is_made, wide.reason) == ("none", True, PURPOSE[Precision.STATIC_INT16])
    assert (wide.is_recoverable, floating.is_recoverable) == (True, False)
    assert floating.min_tflite == MIN_TFLITE[Precision.FLOAT32]


def test_the_shared_work_and_the_samples_are_told() -> None:
    found = preview(preparation(), Rules(recovery_trials=0))
    assert found.work == ("static-int16 on plain kernels", "float32 on XNNPACK")
    assert (found.model, found.metric, found.samples, found.calibration_samples) == (
        "digits.tflite",
        "accuracy",
        2,
        0,
    )
    assert found.warnings == ("look at this",)
    assert not any(rung.is_recoverable for rung in found.profiles[0].rungs)


def test_every_rule_that_is_set_has_a_sentence_and_no_other() -> None:
    few = rule_texts(Rules(recovery_trials=0), "accuracy")
    assert len(few) == 2
    assert few[0].startswith("accuracy may drop by 0.01 at most")
    many = rule_texts(
        Rules(Allowance(0.01, is_relative=True), Allowance(0.05), 0.8, 0.95, min_samples=7), "accuracy"
    )
    assert len(many) == 6
    assert "by 1% at most" in many[0]
    assert "upper end of the 0.95 bootstrap interval" in many[1]
    assert many[4] == "at least 7 evaluation samples"


def test_every_precision_has_a_purpose() -> None:
    assert set(PURPOSE) == set(Precision)
