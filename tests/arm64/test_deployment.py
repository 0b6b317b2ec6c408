"""Whole deployments to an emulated board: real broker and server here, the real agent and wheels there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.e2e_fleet import Board, RealFleet, pack, real_fleet
from tests.support.emulated import OLD, RIGHT, WRONG, Emulated
from tests.support.tools import require

pytestmark = pytest.mark.timeout(900)  # emulated, and the first test makes the userland

PROFILE = "raspberry-pi-4"
PATIENCE_S = 240.0
DOCTOR = ("-c", "from edge_agent.cli import main; main()", "doctor")
_SELF_TEST = """
import pathlib, sys
from contract.errors import SelfTestError
from edge_agent.inference.model import LoadedModel
from edge_agent.inference.runtime import find_runtime
from edge_agent.inference.slot import load_slot
try:
    LoadedModel(load_slot(pathlib.Path(sys.argv[1])), find_runtime(), 1).self_test()
    print("passed")
except SelfTestError as error:
    print("refused:", error)
"""
BOARDS = {"litert": RIGHT, "tflite": OLD, "liar": WRONG}


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, emulated: Emulated) -> Iterator[RealFleet]:
    """A server with a published release, and three Raspberry Pi 4 that differ in their runtime."""
    require("mosquitto")
    bundle = pack("1.0.0", tmp_path_factory.mktemp("bundles"), PROFILE)
    with real_fleet(tmp_path_factory.mktemp("f"), devices=0) as running:
        running.publish(bundle)
        for name, runtime in BOARDS.items():
            program = (emulated.python, "-c", "from edge_agent.cli import main; main()")
            running.add_device(name, Board(PROFILE, program, emulated.environment(runtime), PATIENCE_S))
        yield running


def deployment(fleet: RealFleet, device: str) -> dict[str, Any]:
    """Roll out to one device; how it ended there."""
    rollout = fleet.operate("rollouts", "start", "digits", "1.0.0", "--device", device)["id"]
    (row,) = fleet.wait_for_end(str(rollout), PATIENCE_S)["deployments"]
    found: dict[str, Any] = row
    return found


@pytest.mark.parametrize("device", ["litert", "tflite"])
def test_a_release_passes_its_golden_self_test_and_answers(fleet: RealFleet, device: str) -> None:
    row = deployment(fleet, device)
    assert row["state"] == "succeeded", (row, fleet.agents[device].log)
    assert fleet.device(device)["models"]["digits"]["version"] == "1.0.0"


def test_a_runtime_that_answers_wrongly_with_xnnpack_is_found_out_before_any_model_comes(
    emulated: Emulated,
) -> None:
    done = emulated.run(*DOCTOR, "--json", runtime=WRONG, timeout_s=PATIENCE_S)
    assert done.returncode == 0, done.stderr
    plain, delegated = json.loads(done.stdout)["verdicts"]
    assert "cause" not in plain
    assert (delegated["version"], delegated["delegate"]) == ("2.1.6", "xnnpack")
    assert delegated["cause"] == "wrong-answer"


def test_such_a_board_works_with_the_kernels_that_answer_right_and_says_so(fleet: RealFleet) -> None:
    row = deployment(fleet, "liar")
    assert row["state"] == "succeeded", (row, fleet.agents["liar"].log)
    delegate = fleet.device("liar")["models"]["digits"]["delegate"]
    assert (delegate["requested"], delegate["actual"]) == ("xnnpack", "none")
    assert delegate["reason"].startswith("wrong-answer")


def test_without_that_proof_the_golden_self_test_refuses_the_release(
    fleet: RealFleet, emulated: Emulated
) -> None:
    (manifest,) = fleet.home("liar").glob("state/**/manifest.json")
    right, wrong = (
        emulated.run("-c", _SELF_TEST, str(manifest.parent), runtime=runtime, timeout_s=PATIENCE_S)
        for runtime in (RIGHT, WRONG)
    )
    assert right.stdout.strip() == "passed", right.stderr
    assert wrong.stdout.startswith("refused: the model does not answer its golden inputs"), wrong.stderr
