from __future__ import annotations

from datetime import timedelta

import pytest

from contract.deployment import State
from contract.errors import ConflictError
from contract.messages import COUNT_MAX, MAX_MODELS, Desired, DesiredModel, Reported, ReportedModel
from server.rollout.desired import (
    REST_BEFORE_RAISE,
    Resend,
    decide_resend,
    is_busy,
    raised,
    runs_version,
    with_model,
    without_model,
)

LONG = REST_BEFORE_RAISE
DIGITS = DesiredModel(version="1.0.0", deployment="d1")
FACES = DesiredModel(version="2.0.0", deployment="d2", rollout="r", trial_s=3.0)


def document(revision: int = 5, **models: DesiredModel) -> Desired:
    return Desired(v=1, revision=revision, models=models)


def report(revision: int = 5, **models: ReportedModel) -> Reported:
    return Reported(v=1, revision=revision, models=models)


def test_setting_a_model_raises_the_revision_and_keeps_the_others() -> None:
    assert with_model(document(digits=DIGITS), "faces", FACES) == document(6, digits=DIGITS, faces=FACES)


def test_removing_a_model_raises_the_revision_and_keeps_the_others() -> None:
    assert without_model(document(digits=DIGITS, faces=FACES), "faces") == document(6, digits=DIGITS)


def test_a_device_holds_no_more_models_than_a_document_can() -> None:
    full = Desired(v=1, revision=5, models={f"m{index}": DIGITS for index in range(MAX_MODELS)})
    assert with_model(full, "m0", FACES).models["m0"] == FACES
    with pytest.raises(ConflictError, match="at most 32"):
        with_model(full, "one-more", DIGITS)


def test_a_document_that_is_too_large_to_send_is_refused() -> None:
    large = DesiredModel(version="1.0.0", deployment="d" * 64, rollout="r" * 200)
    models = {f"m{index}": large for index in range(MAX_MODELS - 1)}
    with pytest.raises(ConflictError, match="too large"):
        with_model(Desired(v=1, revision=5, models=models), "digits", DIGITS)


@pytest.mark.parametrize(
    ("revision", "above", "expected"), [(5, 5, 6), (5, 9, 10), (5, COUNT_MAX, COUNT_MAX)]
)
def test_a_raised_document_is_new_to_the_device(revision: int, above: int, expected: int) -> None:
    assert raised(document(revision, digits=DIGITS), above) == document(expected, digits=DIGITS)


@pytest.mark.parametrize(
    ("situation", "found", "rested", "expected"),
    [
        ("older revision", report(4), timedelta(0), Resend.SAME),
        ("newer revision", report(6), timedelta(0), Resend.RAISED),
        ("agrees", report(digits=ReportedModel(deployment="d1")), LONG, Resend.NOTHING),
        ("other deployment", report(digits=ReportedModel(deployment="x")), LONG, Resend.RAISED),
        ("no such model", report(), LONG, Resend.RAISED),
        ("other deployment, just changed", report(), LONG - timedelta(seconds=1), Resend.NOTHING),
        ("busy", report(digits=ReportedModel(deployment="x", state=State.TRIAL)), LONG, Resend.NOTHING),
        (
            "at rest",
            report(digits=ReportedModel(deployment="x", state=State.FAILED)),
            LONG,
            Resend.RAISED,
        ),
    ],
)
def test_resend_for_a_report(situation: str, found: Reported, rested: timedelta, expected: Resend) -> None:
    assert decide_resend(document(digits=DIGITS), found, rested) is expected


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (None, False),
        (report(), False),
        (report(digits=ReportedModel(version="0.9.0", state=State.SUCCEEDED)), False),
        (report(digits=ReportedModel(version="1.0.0", state=State.TRIAL)), False),
        (report(digits=ReportedModel(version="1.0.0", state=State.FAILED)), True),
        (report(digits=ReportedModel(version="1.0.0")), True),
    ],
)
def test_a_device_runs_a_version_once_it_is_at_rest_with_it(
    found: Reported | None, *, expected: bool
) -> None:
    assert runs_version(found, "digits", "1.0.0") is expected


def test_a_model_is_busy_while_its_deployment_has_not_ended() -> None:
    assert is_busy(ReportedModel(state=State.ROLLING_BACK))
    assert not is_busy(ReportedModel(state=State.SUCCEEDED))
    assert not is_busy(ReportedModel())
