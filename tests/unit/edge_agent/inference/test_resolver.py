"""Which runtime and delegates boards use, decided over facts and scripted probes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from contract.probing import Cause
from contract.profile import DelegateName
from edge_agent.inference.board import Accelerator, Facts, InstalledRuntime
from edge_agent.inference.engine import ExternalDelegate
from edge_agent.inference.facts import read_facts
from edge_agent.inference.probe_protocol import At, Failed, Outcome, Passed, ProbeJob
from edge_agent.inference.resolver import Wishes, resolve
from edge_agent.inference.runtime_needs import find_shortage, need_of
from tests.support.boards import BOARDS, Board, write_board

TPU = ExternalDelegate(name="edgetpu", library="libedgetpu.so.1", options={"device": "usb"})
NPU = ExternalDelegate(name="npu", library="/lib/npu.so")
LITERT, TFLITE = "ai-edge-litert", "tflite-runtime"
CRASH = Outcome(at=At.IMPORTING, signal="SIGILL")


def passed(delegated: int = 6) -> Outcome:
    return Outcome(
        at=At.COMPARING, passed=Passed(worst_abs_error=0.0, nodes_total=6, nodes_delegated=delegated)
    )


@dataclass
class Script:
    """What each probe comes to; those not named pass."""

    outcomes: Mapping[tuple[str, str], Outcome] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)

    def __call__(self, job: ProbeJob) -> Outcome:
        name = job.delegate.name if job.delegate else "xnnpack" if job.has_xnnpack else ""
        self.asked.append((job.runtime, name))
        return self.outcomes.get((job.runtime, name), passed(0 if not name else 6))


def a_board(*runtimes: str, numpy: str = "1.26.4", tpu: bool = True, **changes: object) -> Facts:
    device = Accelerator(id="18d1:9302", node="/dev/bus/usb/002/003", is_accessible=True, port_mbps=5000)
    installed = [InstalledRuntime(name=name, version="2.14.0") for name in runtimes]
    values: dict[str, object] = {"arch": "x86_64", "python": "3.11.2", "glibc": "2.36", "glibcxx": "3.4.30"}
    return Facts(
        runtimes=tuple(installed),
        accelerators=(device,) if tpu else (),
        numpy=numpy,
        **{**values, **changes},  # type: ignore[arg-type]
    )


def test_the_first_runtime_of_the_profile_is_taken_and_the_rest_is_not_tried() -> None:
    script = Script()
    found = resolve(a_board(LITERT, TFLITE), Wishes(runtimes=(TFLITE,)), script)
    assert found.engine.runtime == TFLITE
    assert script.asked == [(TFLITE, ""), (TFLITE, "xnnpack")]
    assert found.delegates() == (DelegateName.XNNPACK, DelegateName.NONE)


def test_without_a_profile_litert_comes_first() -> None:
    assert resolve(a_board(LITERT, TFLITE), Wishes(), Script()).engine.runtime == LITERT


@pytest.mark.parametrize(
    ("outcome", "cause"),
    [
        (CRASH, Cause.ABI_CRASH),
        (Outcome(at=At.RUNNING, is_late=True, limit_s=60), Cause.HANG),
        (
            Outcome(at=At.COMPARING, failed=Failed(error="WrongAnswer", text="scores is off by 3")),
            Cause.WRONG_ANSWER,
        ),
    ],
)
def test_a_runtime_that_fails_its_probe_makes_room_for_the_next(outcome: Outcome, cause: Cause) -> None:
    script = Script({(LITERT, ""): outcome})
    found = resolve(a_board(LITERT, TFLITE), Wishes(), script)
    assert found.engine.runtime == TFLITE
    assert (LITERT, "xnnpack") not in script.asked
    (failed,) = [each for each in found.verdicts if each.cause]
    assert (failed.runtime, failed.cause) == (LITERT, cause)
    assert failed.remedy


def test_a_broken_xnnpack_leaves_the_plain_kernels() -> None:
    found = resolve(a_board(LITERT), Wishes(), Script({(LITERT, "xnnpack"): CRASH}))
    assert found.delegates() == (DelegateName.NONE,)
    assert not found.engine.has_xnnpack
    assert "SIGILL" in found.engine.why_lost("xnnpack")


def test_a_runtime_without_xnnpack_is_told_from_one_that_does_not_say() -> None:
    without = resolve(a_board(LITERT), Wishes(), Script({(LITERT, "xnnpack"): passed(0)}))
    assert without.verdicts[1].cause is Cause.LIBRARY_MISSING
    silent = Outcome(at=At.COMPARING, passed=Passed(worst_abs_error=0.0, nodes_total=0, nodes_delegated=0))
    assert resolve(a_board(LITERT), Wishes(), Script({(LITERT, "xnnpack"): silent})).engine.has_xnnpack


def test_the_runtime_on_which_the_edge_tpu_survives_is_taken() -> None:
    script = Script({(LITERT, "edgetpu"): CRASH})
    found = resolve(a_board(LITERT, TFLITE), Wishes(delegates=(TPU, NPU)), script)
    assert found.engine.runtime == TFLITE
    assert found.engine.externals == (TPU, NPU)
    assert found.delegates() == (
        DelegateName.EDGETPU,
        DelegateName.EXTERNAL,
        DelegateName.XNNPACK,
        DelegateName.NONE,
    )


def test_a_delegate_that_survives_nowhere_is_lost_with_its_reason() -> None:
    script = Script({(LITERT, "npu"): CRASH, (TFLITE, "npu"): CRASH})
    found = resolve(a_board(LITERT, TFLITE), Wishes(delegates=(NPU,)), script)
    assert found.engine.runtime == LITERT
    assert [lost.name for lost in found.engine.lost] == ["npu"]
    assert "abi-crash" in found.engine.why_lost("npu")
    assert found.engine.why_lost("gpu") == ""


def test_an_edge_tpu_that_is_not_there_or_closed_is_not_even_tried() -> None:
    script = Script()
    found = resolve(a_board(LITERT, tpu=False), Wishes(delegates=(TPU,)), script)
    assert found.verdicts[-1].cause is Cause.NO_DEVICE
    closed = Accelerator(id="apex_0", node="/dev/apex_0", is_accessible=False)
    board = a_board(LITERT, tpu=False)
    found = resolve(
        Facts(runtimes=board.runtimes, arch="x86_64", accelerators=(closed,)),
        Wishes(delegates=(TPU,)),
        script,
    )
    assert found.verdicts[-1].cause is Cause.NO_PERMISSION
    assert "/dev/apex_0" in found.verdicts[-1].detail
    assert (LITERT, "edgetpu") not in script.asked


def test_a_delegate_that_takes_nothing_of_the_probe_survives_and_says_so() -> None:
    found = resolve(a_board(LITERT), Wishes(delegates=(NPU,)), Script({(LITERT, "npu"): passed(0)}))
    assert found.engine.externals == (NPU,)
    assert "takes none" in found.verdicts[-1].detail


def test_a_board_without_a_runtime_is_told_which_wheel_to_install() -> None:
    found = resolve(a_board(), Wishes(), Script())
    assert (found.runtime, found.delegates()) == (None, ())
    assert found.verdicts[0].cause is Cause.LIBRARY_MISSING
    assert "ai-edge-litert" in found.verdicts[0].remedy
    missing = resolve(a_board(), Wishes(runtimes=(TFLITE,)), Script())
    assert [each.detail for each in missing.verdicts] == ["tflite-runtime is not installed"]


def test_when_no_runtime_survives_every_verdict_is_kept() -> None:
    script = Script({(LITERT, ""): CRASH, (TFLITE, ""): CRASH})
    found = resolve(a_board(LITERT, TFLITE), Wishes(), script)
    assert found.runtime is None
    assert [each.runtime for each in found.verdicts] == [LITERT, TFLITE]


def test_a_runtime_with_a_numpy_that_is_too_new_is_not_tried() -> None:
    script = Script()
    found = resolve(a_board(TFLITE, numpy="2.4.6"), Wishes(), script)
    assert found.runtime is None
    assert (found.verdicts[0].cause, script.asked) == (Cause.RUNTIME_TOO_OLD, [])
    assert "numpy<2" in found.verdicts[0].remedy


@pytest.mark.parametrize(
    ("name", "version", "shortage"),
    [
        ("pi-4", "2.3.0", ""),
        ("pi-5", "2.3.0", ""),
        ("jetson-orin-nano", "2.3.0", ""),
        ("coral-dev-board", "2.3.0", "glibc 2.34, this system has 2.31"),
        ("coral-dev-board", "2.1.0", ""),
        ("jetson-nano", "2.1.0", "glibc 2.30, this system has 2.27"),
        ("x86-64", "2.3.0", ""),
    ],
)
def test_litert_fits_the_boards_that_its_libraries_fit(
    tmp_path: Path, name: str, version: str, shortage: str
) -> None:
    facts = read_facts(tmp_path, write_board(tmp_path, BOARDS[name]))
    found = find_shortage(InstalledRuntime(name=LITERT, version=version), facts)
    assert (found is None) == (not shortage)
    if found is not None:
        assert found.cause is Cause.WRONG_LIBRARY
        assert shortage in found.detail


def test_an_old_c_plus_plus_library_is_noticed(tmp_path: Path) -> None:
    facts = read_facts(tmp_path, write_board(tmp_path, Board(glibcxx="3.4.29")))
    found = find_shortage(InstalledRuntime(name=LITERT, version="2.3.0"), facts)
    assert found is not None
    assert "libstdc++ 3.4.30" in found.detail


def test_what_could_not_be_read_rules_nothing_out() -> None:
    assert find_shortage(InstalledRuntime(name=LITERT, version="2.3.0"), Facts(arch="aarch64")) is None
    assert find_shortage(InstalledRuntime(name="tensorflow", version="2.21.0"), Facts()) is None
    assert need_of(InstalledRuntime(name=LITERT, version="unreadable")) is None
