"""What a board is meant to run with, and what the agent says before and after it looked."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from contract.errors import RuntimeLoadError
from edge_agent.board_engine import BoardEngine, wishes_of
from edge_agent.config import DelegateSection
from edge_agent.doctor import check_usable, show_survey, survey_document
from edge_agent.heat.reading import Battery, Flag, Reading
from edge_agent.heat.settings import Limits
from edge_agent.inference.board import Accelerator, Cooling, Facts, InstalledRuntime, Temperature
from edge_agent.inference.engine import ExternalDelegate
from edge_agent.inference.probe_protocol import At, Outcome, Passed, ProbeJob
from edge_agent.inference.resolver import Wishes, resolve
from edge_agent.inference.survey import Survey
from firmware_profiles import load_profile
from tests.support.boards import BOARDS

USB2 = Accelerator(id="1a6e:089a", node="/dev/bus/usb/001/004", is_accessible=False, port_mbps=480)
BOARD = Facts(
    arch="aarch64",
    bits=64,
    board="Raspberry Pi 4 Model B",
    cores=4,
    glibc="2.36",
    glibcxx="3.4.30",
    python="3.11.2",
    numpy="1.26.4",
    runtimes=(
        InstalledRuntime(name="ai-edge-litert", version="2.3.0"),
        InstalledRuntime(name="tflite-runtime", version="2.14.0"),
    ),
    accelerators=(USB2,),
    cooling=(Cooling(kind="pwm-fan", state=1, most=4),),
    temperatures=(Temperature(zone="cpu-thermal", celsius=51.5),),
)
TPU = ExternalDelegate(name="edgetpu", library="libedgetpu.so.1")

READING = Reading(
    celsius=51.5,
    sensor="cpu-thermal",
    flags=(Flag.UNDER_VOLTAGE,),
    battery=Battery(ratio=0.5, is_discharging=True),
)


def passes(job: ProbeJob) -> Outcome:
    taken = 6 if job.has_xnnpack else 0
    return Outcome(at=At.COMPARING, passed=Passed(worst_abs_error=0.0, nodes_total=6, nodes_delegated=taken))


def crashes(_: ProbeJob) -> Outcome:
    return Outcome(at=At.IMPORTING, signal="SIGILL")


def a_survey(facts: Facts = BOARD, *, probe: object = passes, is_remembered: bool = False) -> Survey:
    resolution = resolve(facts, Wishes(delegates=(TPU,)), probe)  # type: ignore[arg-type]
    return Survey(facts, resolution, is_remembered, 0.5)


def test_a_profile_with_an_edge_tpu_wants_one_with_its_own_options() -> None:
    wishes = wishes_of(load_profile("raspberry-pi-4-coral-usb"), (), Facts())
    assert wishes.runtimes == ("tflite-runtime",)
    assert wishes.delegates == (
        ExternalDelegate(name="edgetpu", library="libedgetpu.so.1", options={"device": "usb"}),
    )


def test_an_edge_tpu_that_is_plugged_in_is_wanted_without_a_profile() -> None:
    assert wishes_of(None, (), BOARD).delegates == (TPU,)
    assert wishes_of(load_profile("generic-x86-64"), (), Facts()).delegates == ()


def test_the_configuration_comes_first_and_replaces_how_the_edge_tpu_is_loaded() -> None:
    own = DelegateSection(name="edgetpu", library="/opt/libedgetpu.so", options={"device": "usb:1"})
    npu = DelegateSection(name="npu", library="/opt/npu.so")
    wishes = wishes_of(load_profile("raspberry-pi-4-coral-usb"), (npu, own), BOARD)
    assert [(each.name, each.library) for each in wishes.delegates] == [
        ("npu", "/opt/npu.so"),
        ("edgetpu", "/opt/libedgetpu.so"),
    ]


def test_an_agent_that_is_told_to_stop_while_it_looks_stops(tmp_path: Path) -> None:
    board = BoardEngine(load_profile("generic-x86-64"), (), tmp_path)
    assert not board.look(lambda: True)


def test_for_people_everything_stands_in_plain_words_with_its_remedy() -> None:
    text = show_survey(a_survey(), READING, Limits(60.0, 85.0), "the agent runs")
    for words in (
        "board:      Raspberry Pi 4 Model B",
        "1a6e:089a at /dev/bus/usb/001/004, 480 Mbit/s (USB 2: slower than a fast processor",
        "this user may not use it",
        "pwm-fan 1 of 4, cpu-thermal 52 °C",
        "heat:       51.5 °C (cpu-thermal), soft limit 60 °C, hard limit 85 °C",
        "throttled:  the supply voltage is too low",
        "battery:    50%, discharging",
        "ok   ai-edge-litert 2.3.0, xnnpack: took 6 of 6 nodes",
        "FAIL ai-edge-litert 2.3.0, edgetpu: no-permission",
        "to do: USB: udev rule",
        "Models run on ai-edge-litert 2.3.0 with xnnpack.",
        "Note: the agent runs.",
    ):
        assert words in text
    assert "--fresh" not in text
    assert "--fresh" in show_survey(a_survey(is_remembered=True), READING, Limits())


@pytest.mark.parametrize(
    ("features", "shown"),
    [
        (BOARDS["pi-4"].features, "asimd"),
        (BOARDS["pi-4-32bit"].features, "neon, vfpv4"),
        (BOARDS["pi-5"].features, "asimd, asimdhp (half precision), asimddp (int8 dot products)"),
        ("fma sse4_1 avx2 ht avx f16c avx512_vnni", "sse4_1, avx, f16c, fma, avx2, avx512_vnni (int8 dot products)"),
        ("half thumb fastmult", "none that kernels are chosen by"),
        ("", "not found"),
    ],
)  # fmt: skip
def test_of_a_processor_s_features_those_are_shown_that_kernels_are_chosen_by(
    features: str, shown: str
) -> None:
    board = msgspec.structs.replace(BOARD, cpu_features=tuple(sorted(features.split())))
    assert f"\nfeatures:   {shown}\n" in show_survey(a_survey(board), READING, Limits())


def test_a_runtime_that_was_not_needed_is_not_called_broken() -> None:
    ready = msgspec.structs.replace(USB2, is_accessible=True)
    facts = msgspec.structs.replace(BOARD, accelerators=(ready,))
    assert "--   tflite-runtime 2.14.0: not tried" in show_survey(a_survey(facts), READING, Limits())


def test_a_board_that_can_run_nothing_says_so_and_ends_with_the_remedy() -> None:
    bare = a_survey(msgspec.structs.replace(BOARD, runtimes=(), accelerators=(), cooling=(), temperatures=()))
    assert "Nothing can run on this board." in show_survey(bare, READING, Limits())
    with pytest.raises(RuntimeLoadError) as caught:
        check_usable(bare)
    assert "pip install" in caught.value.remedy
    check_usable(a_survey())


def test_without_delegates_the_conclusion_says_so() -> None:
    def plain_only(job: ProbeJob) -> Outcome:
        return crashes(job) if job.has_xnnpack else passes(job)

    facts = msgspec.structs.replace(BOARD, runtimes=BOARD.runtimes[:1])
    text = show_survey(a_survey(facts, probe=plain_only), READING, Limits())
    assert "Models run on ai-edge-litert 2.3.0, without delegates." in text


def test_for_programs_everything_is_json() -> None:
    document = survey_document(a_survey(), READING)
    assert (document["is_usable"], document["runtime"]["name"]) == (True, "ai-edge-litert")
    assert document["verdicts"][-1]["cause"]
    assert (document["heat"]["celsius"], document["heat"]["flags"]) == (51.5, ("under-voltage",))
    assert msgspec.json.encode(document)
