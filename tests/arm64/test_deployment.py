"""Whole deployments to an emulated board: real broker and server here, the real agent and wheels there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.e2e_fleet import Board, RealFleet, pack, real_fleet
from tests.support.emulated import OLD, RIGHT, WRONG, Emulated
from tests.support.tools import require

pytestmark = pytest.mark.timeout(900)  # emulated, and the first test makes the userland

PROFILE = "raspberry-pi-4"
PATIENCE_S = 240.0
pytestmark = pytest.mark.timeout(
    900
)  # three emulated boards prove their runtimes before the first test begins
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


def test_a_runtime_whose_xnnpack_answers_wrongly_serves_on_its_own_kernels(fleet: RealFleet) -> None:
    row = deployment(fleet, "liar")
    assert row["state"] == "succeeded", (row, fleet.agents["liar"].log)
    delegate = fleet.device("liar")["models"]["digits"]["delegate"]
    assert (delegate["requested"], delegate["actual"]) == ("xnnpack", "none")
    assert delegate["reason"].startswith("wrong-answer")
