"""The resolver on emulated aarch64 with the real wheels: right ones pass, the one that answers wrongly is caught."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.support.emulated import OLD, RIGHT, WRONG, Emulated

DOCTOR = "from edge_agent.cli import main; main(['doctor', '--json'])"
SELF_TEST = """
from contract.errors import SelfTestError
from edge_agent.inference.model import LoadedModel
from edge_agent.inference.runtime import find_runtime
from edge_agent.inference.slot import load_slot
from tests.support.inference_slots import slot_of
try:
    LoadedModel(load_slot(slot_of("1.0.0")), find_runtime(), 1).self_test()
except SelfTestError as error:
    print("caught", error.code)
"""


def doctor(emulated: Emulated, runtime: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The document, and the verdicts by delegate."""
    done = emulated.run("-c", DOCTOR, runtime=runtime)
    assert done.returncode == 0, done.stdout + done.stderr
    document: dict[str, Any] = msgspec.json.decode(done.stdout)
    return document, {each.get("delegate", ""): each for each in document["verdicts"]}


@pytest.mark.parametrize(
    ("runtime", "name", "taken"), [(RIGHT, "ai-edge-litert", 6), (OLD, "tflite-runtime", 2)]
)
def test_a_right_runtime_is_proved_with_xnnpack(
    emulated: Emulated, runtime: str, name: str, taken: int
) -> None:
    document, verdicts = doctor(emulated, runtime)
    assert document["runtime"]["name"] == name
    assert document["delegates"] == ["xnnpack", "none"]
    assert verdicts["xnnpack"]["nodes_delegated"] == taken
    assert (document["facts"]["arch"], document["facts"]["bits"]) == ("aarch64", 64)


def test_the_runtime_that_answers_wrongly_is_caught_and_its_own_kernels_are_kept(emulated: Emulated) -> None:
    document, verdicts = doctor(emulated, WRONG)
    assert verdicts["xnnpack"]["cause"] == "wrong-answer"
    assert "cause" not in verdicts[""]
    assert document["delegates"] == ["none"]


def test_without_the_resolver_the_self_test_catches_it(emulated: Emulated) -> None:
    done = emulated.run("-c", SELF_TEST, runtime=WRONG)
    assert done.stdout.split() == ["caught", "self-test"], done.stderr
