"""The agent's own unit tests, on the real aarch64 wheels."""

from __future__ import annotations

import re

import pytest

from tests.support.emulated import Emulated

pytestmark = pytest.mark.timeout(1800)  # emulated, and the first test makes the userland

TIMEOUT_S = 1500.0
FEWEST = 1_300
"""A run that collects less has lost tests on the way."""


def test_the_machine_is_aarch64_and_the_runtime_its_own_wheel(emulated: Emulated) -> None:
    done = emulated.run(
        "-c",
        "import platform, ai_edge_litert; from ai_edge_litert import interpreter; "
        "print(platform.machine(), ai_edge_litert.__version__)",
    )
    assert done.stdout.split() == ["aarch64", "2.1.3"], done.stderr


def test_the_unit_tests_of_agent_and_contract_pass(emulated: Emulated) -> None:
    done = emulated.run(
        *("-m", "pytest", "-q", "-p", "no:cacheprovider", "--timeout=600"),
        *("tests/unit/edge_agent", "tests/unit/contract"),
        timeout_s=TIMEOUT_S,
    )
    found = re.search(r"(\d+) passed(.*) in", done.stdout)
    assert done.returncode == 0, done.stdout[-4000:]
    assert found is not None, done.stdout[-4000:]
    assert int(found[1]) >= FEWEST
    assert "skipped" not in found[2]
