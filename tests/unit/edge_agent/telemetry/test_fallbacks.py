"""A model that runs on something else than was asked for is told of, once."""

from __future__ import annotations

import msgspec

from contract.delegation import DelegateReport
from contract.messages import TelemetryWindow
from edge_agent.telemetry.fallbacks import FallbackWatch
from edge_agent.telemetry.windows import merge_windows
from tests.support.contract_builders import a_window

FELL = DelegateReport(requested="edgetpu", actual="xnnpack", reason="no-device: none is connected")
FINE = DelegateReport(requested="edgetpu", actual="edgetpu")


def window_on(report: DelegateReport | None, version: str = "1.1.0") -> TelemetryWindow:
    return msgspec.structs.replace(a_window().window, delegate=report, version=version)


def test_a_fallback_is_told_once_and_again_after_it_was_over() -> None:
    watch = FallbackWatch()
    ((window, words),) = watch.take([window_on(FELL)])
    assert window.model == "digits"
    assert words == "runs on xnnpack instead of edgetpu: no-device: none is connected"
    assert watch.take([window_on(FELL)]) == []
    assert watch.take([window_on(FINE)]) == []
    assert len(watch.take([window_on(FELL)])) == 1


def test_a_new_version_that_falls_back_is_news() -> None:
    watch = FallbackWatch()
    assert len(watch.take([window_on(FELL), window_on(FELL, "1.2.0")])) == 2


def test_a_window_that_does_not_say_is_no_fallback() -> None:
    assert FallbackWatch().take([window_on(None)]) == []


def test_a_fallback_without_a_reason_says_that_none_was_given() -> None:
    silent = DelegateReport(requested="npu", actual="none")
    assert FallbackWatch().take([window_on(silent)])[0][1].endswith("no reason was given")


def test_merged_windows_tell_what_ran_last() -> None:
    assert merge_windows(window_on(FELL), window_on(FINE)).delegate == FINE
    assert merge_windows(window_on(FELL), window_on(None)).delegate == FELL
