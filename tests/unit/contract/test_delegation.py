"""What a delegate report and a verdict say of themselves."""

from __future__ import annotations

from contract.delegation import DelegateReport
from contract.probing import Cause, Verdict


def test_something_else_than_was_asked_for_is_a_fallback() -> None:
    assert DelegateReport(requested="edgetpu", actual="xnnpack").is_fallback
    assert not DelegateReport(requested="none", actual="none").is_fallback


def test_a_verdict_without_a_cause_is_usable() -> None:
    assert Verdict(runtime="ai-edge-litert").is_usable
    assert not Verdict(runtime="ai-edge-litert", cause=Cause.HANG).is_usable
