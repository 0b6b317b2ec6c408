"""Changes to a desired document, and when to send one again.

PURE. Rules:

1. Other models stay untouched; every change raises the revision by one.
2. A device that reports an older revision, or a birth, gets the document as it is.
3. A device that reports a newer revision than ever was (the database came from a backup), or that claims the
   revision but holds another deployment and is at rest, would ignore the document as it is: its revision is
   raised. The second only once the document has rested a while, so that two sides that disagree cannot chase
   each other.
"""

from __future__ import annotations

import enum
from datetime import timedelta

import msgspec

from contract.deployment import ENDS
from contract.errors import ConflictError, MessageError
from contract.messages import (
    COUNT_MAX,
    MAX_MODELS,
    Desired,
    DesiredModel,
    Reported,
    ReportedModel,
    encode_message,
)

REST_BEFORE_RAISE = timedelta(seconds=30)
"""Longer than a device takes to take over a document and report; short enough for an operator to wait."""


class Resend(enum.Enum):
    """What a report asks of the server."""

    NOTHING = "nothing"
    SAME = "same"
    RAISED = "raised"


def with_model(document: Desired, model: str, wanted: DesiredModel) -> Desired:
    """The document with one model set.

    Raises:
        ConflictError: It would hold too many models, or be too large to send.
    """
    models = {**document.models, model: wanted}
    changed = msgspec.structs.replace(document, revision=document.revision + 1, models=models)
    if len(models) > MAX_MODELS:
        raise ConflictError(f"a device holds at most {MAX_MODELS} models")
    try:
        encode_message(changed)
    except MessageError as error:
        raise ConflictError(f"the device's desired document would be too large: {error}") from error
    return changed


def without_model(document: Desired, model: str) -> Desired:
    """The document without one model."""
    models = {name: wanted for name, wanted in document.models.items() if name != model}
    return msgspec.structs.replace(document, revision=document.revision + 1, models=models)


def raised(document: Desired, above: int) -> Desired:
    """The same document with a revision that is new to a device which knows ``above``."""
    revision = min(max(document.revision, above) + 1, COUNT_MAX)
    return msgspec.structs.replace(document, revision=revision)


def decide_resend(document: Desired, report: Reported, rested: timedelta) -> Resend:
    """What a device's report asks of the server.

    Args:
        document: What the device is to have.
        report: What it has.
        rested: Since the document last changed.
    """
    if report.revision < document.revision:
        return Resend.SAME
    if report.revision > document.revision:
        return Resend.RAISED
    if rested < REST_BEFORE_RAISE or any(is_busy(model) for model in report.models.values()):
        return Resend.NOTHING
    held = {name: model.deployment for name, model in report.models.items()}
    agrees = all(held.get(name) == wanted.deployment for name, wanted in document.models.items())
    return Resend.NOTHING if agrees else Resend.RAISED


def is_busy(model: ReportedModel) -> bool:
    """Whether a deployment of this model is going on."""
    return model.state is not None and model.state not in ENDS


def runs_version(report: Reported | None, model: str, version: str) -> bool:
    """Whether a device runs a version of a model and nothing is going on with it."""
    held = None if report is None else report.models.get(model)
    return held is not None and held.version == version and not is_busy(held)
