"""A real agent whose delegate is lost, before a model is there or while one runs on it: what the server is told."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from contract.deployment import State
from contract.messages import DelegateReport, DeviceInfo, Event, EventKind, TelemetryWindow
from contract.probing import Cause, Verdict
from contract.profile import DelegateName
from edge_agent import connect
from tests.support.agent_bench import Bench, bench, wait_until
from tests.support.agent_releases import FOR_NPU, GOOD, Releases
from tests.support.digits import image_of
from tests.support.inference_delegates import delegate_library

CONFIG = """
[[delegates]]
name = "npu"
library = "{library}"
"""
LITERT = "ai-edge-litert"
TENSOR = np.zeros((1, 8, 8, 8), np.float32)
"""What the model of the agent's probe takes."""


@contextlib.contextmanager
def board_with(releases: Releases, behaviour: str) -> Iterator[tuple[Bench, Path]]:
    """A device with a delegate of its own, and where the delegate's library is; its agent has not started."""
    with tempfile.TemporaryDirectory(prefix="lf-") as folder:
        library = Path(folder) / "libnpu.so"
        install(library, behaviour)
        with bench(Path(folder), releases, extra=CONFIG.format(library=library)) as made:
            yield made, library
            assert made.agent.terminate() == 0, made.agent.log


def install(library: Path, behaviour: str) -> None:
    """Put another library there, as a package does: those that have the old one keep it."""
    new = library.with_suffix(".new")
    shutil.copyfile(delegate_library(behaviour), new)
    new.replace(library)


def fell_back(device: Bench) -> list[Event]:
    """Events of lost delegates so far."""
    return [event for event in device.server.events() if event.kind is EventKind.DELEGATE_FELL_BACK]


def wait_fell_back(device: Bench, count: int) -> Event:
    """The newest of so many."""
    wait_until(lambda: len(fell_back(device)) >= count, f"{count} events of lost delegates")
    assert len(fell_back(device)) == count
    return fell_back(device)[-1]


def verdict_of(info: DeviceInfo, delegate: str) -> Verdict:
    """The only one on a delegate; of the runtime itself for no name."""
    (found,) = [
        verdict for verdict in info.verdicts if (verdict.runtime, verdict.delegate) == (LITERT, delegate)
    ]
    return found


def windows(device: Bench, version: str, actual: str) -> list[TelemetryWindow]:
    """What telemetry told of a version on a delegate."""
    return [
        window
        for window in device.server.windows.values()
        if window.version == version and window.delegate is not None and window.delegate.actual == actual
    ]


def wait_windows(device: Bench, version: str, actual: str, what: npt.ArrayLike) -> list[TelemetryWindow]:
    """Ask the model until telemetry tells of three windows with requests on a delegate; idle ones are merged."""
    with connect(device.run_dir) as agent:
        model = agent.model("digits")

        def found() -> list[TelemetryWindow]:
            model.infer(what)
            return [window for window in windows(device, version, actual) if window.requests]

        wait_until(lambda: len(found()) >= 3, f"telemetry of {actual}")
        return windows(device, version, actual)


def reported_on(device: Bench, actual: str) -> tuple[str, DelegateReport]:
    """Variant and delegate of the model, once it was reported to run on that delegate."""

    def matches() -> bool:
        delegate = device.server.last_reported().models["digits"].delegate
        return delegate is not None and delegate.actual == actual

    wait_until(matches, f"a report of {actual}, not {device.server.last_reported()}")
    model = device.server.last_reported().models["digits"]
    assert model.delegate is not None
    return model.variant, model.delegate


def deploy(device: Bench, version: str) -> None:
    device.server.deploy(version, "d1")
    assert device.server.wait_end("d1").after is State.SUCCEEDED


@pytest.mark.parametrize(
    ("behaviour", "cause", "seen"),
    [
        ("REFUSES", Cause.REFUSED, "Failed to load delegate"),
        ("CRASHES", Cause.ABI_CRASH, "SIGSEGV while loading the delegate"),
    ],
)
def test_a_delegate_that_does_not_survive_its_probe_is_told_with_cause_and_event_and_models_run_without(
    releases: Releases, behaviour: str, cause: Cause, seen: str
) -> None:
    with board_with(releases, behaviour) as (device, _):
        device.agent.start().wait_ready()
        device.server.wait_birth()

        info = device.server.wait_for(DeviceInfo, lambda info: bool(info.verdicts))
        lost = verdict_of(info, "npu")
        assert (lost.cause, lost.is_usable) == (cause, False)
        assert seen in lost.detail
        assert lost.remedy
        assert verdict_of(info, "").is_usable
        assert verdict_of(info, "xnnpack").nodes_delegated == 6
        assert [runtime.name for runtime in info.capabilities.runtimes] == [LITERT]
        assert info.capabilities.delegates == (DelegateName.XNNPACK, DelegateName.NONE)
        told = wait_fell_back(device, 1)
        assert (told.model, told.version) == ("", "")
        assert told.detail.startswith(f"npu cannot be used: {cause.value}: ")
        assert seen in told.detail

        deploy(device, GOOD)
        variant, report = reported_on(device, "xnnpack")
        assert variant == "static-int8"
        assert (report.requested, report.nodes_total, report.nodes_delegated) == ("npu", 9, 8)
        assert report.partitions == 1
        assert report.reason.startswith(f"{cause.value}: ")
        assert seen in report.reason
        told = wait_fell_back(device, 2)
        assert (told.model, told.version) == ("digits", GOOD)
        assert told.detail == f"runs on xnnpack instead of npu: {report.reason}"
        assert {window.delegate for window in wait_windows(device, GOOD, "xnnpack", image_of("7"))} == {
            report
        }
        assert len(fell_back(device)) == 2, "once is enough"
        assert windows(device, GOOD, "npu") == []


def test_what_is_known_of_a_board_is_reported_at_each_start_and_is_an_event_at_the_first(
    releases: Releases,
) -> None:
    with board_with(releases, "REFUSES") as (device, _):
        device.agent.start().wait_ready()
        deploy(device, GOOD)
        wait_fell_back(device, 2)
        session = device.server.last_state().session
        assert device.agent.terminate() == 0
        before = len(device.server.heard(DeviceInfo))
        device.agent.start().wait_ready()
        device.server.wait_birth(after_session=session)

        told = wait_fell_back(device, 3)

        assert (told.model, told.version) == ("digits", GOOD), "the model's, not the board's"
        assert len(device.server.heard(DeviceInfo)) == before + 1
        assert verdict_of(device.server.last_info(), "npu").cause is Cause.REFUSED


def test_a_delegate_that_is_lost_while_a_model_runs_on_it_leaves_it_to_the_fallback_and_says_so(
    releases: Releases,
) -> None:
    with board_with(releases, "WORKS") as (device, library):
        device.agent.start().wait_ready()
        deploy(device, FOR_NPU)
        own = DelegateReport(requested="npu", actual="npu", nodes_total=6, nodes_delegated=1, partitions=1)
        assert reported_on(device, "npu") == ("on-npu", own)
        assert {window.delegate for window in wait_windows(device, FOR_NPU, "npu", TENSOR)} == {own}
        assert fell_back(device) == []
        info = device.server.last_info()
        assert verdict_of(info, "npu").nodes_delegated == 1
        assert info.capabilities.delegates[0] is DelegateName.EXTERNAL

        install(library, "REFUSES")
        (pid,) = device.workers()
        os.kill(pid, signal.SIGKILL)

        told = wait_fell_back(device, 1)
        variant, report = reported_on(device, "xnnpack")
        assert variant == "on-cpu"
        assert (report.requested, report.nodes_total, report.nodes_delegated) == ("npu", 6, 6)
        assert "variant on-npu: npu: Failed to load delegate" in report.reason
        assert (told.model, told.version) == ("digits", FOR_NPU)
        assert told.detail == f"runs on xnnpack instead of npu: {report.reason}"
        found = wait_windows(device, FOR_NPU, "xnnpack", TENSOR)
        assert {(window.variant, window.delegate) for window in found} == {("on-cpu", report)}
        assert len(fell_back(device)) == 1


def test_a_delegate_that_is_lost_while_the_agent_is_off_is_told_of_board_and_model(
    releases: Releases,
) -> None:
    with board_with(releases, "WORKS") as (device, library):
        device.agent.start().wait_ready()
        deploy(device, FOR_NPU)
        assert reported_on(device, "npu")[0] == "on-npu"
        assert device.agent.terminate() == 0

        install(library, "CRASHES")
        device.agent.start().wait_ready()

        wait_fell_back(device, 2)
        of_board, of_model = fell_back(device)
        assert of_board.detail.startswith("npu cannot be used: abi-crash: SIGSEGV")
        variant, report = reported_on(device, "xnnpack")
        assert (variant, report.requested) == ("on-cpu", "npu")
        assert "abi-crash: SIGSEGV" in report.reason
        assert of_model.detail == f"runs on xnnpack instead of npu: {report.reason}"
        assert verdict_of(device.server.last_info(), "npu").cause is Cause.ABI_CRASH
        assert device.server.last_info().capabilities.delegates == (DelegateName.XNNPACK, DelegateName.NONE)
