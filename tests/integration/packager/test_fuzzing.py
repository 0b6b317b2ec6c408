"""Damaged and hostile files: a bounded part of ``python -m tests.fuzz``, and what its long runs found."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from contract.errors import LitefleetError
from packager.probe import probe
from packager.runtime.verify import verify
from tests.fuzz.campaign import run_campaign
from tests.fuzz.commands import judge, run_commands
from tests.fuzz.targets import PROJECT, bundle, case, models, run_inspect, run_project
from tests.support.packager_models import changed_model

CASES = 80
MEMORY_MOST_BYTES = 1 << 30


def test_spoiled_files_end_in_errors_of_ours_within_time_and_memory() -> None:
    found = run_campaign(20, 0, CASES, lambda _: None)
    assert found.faults == []
    assert sum(map(len, found.outcomes.values())) == CASES
    assert "refused" in found.outcomes["probe"]
    assert found.peak_bytes < MEMORY_MOST_BYTES


def test_sound_files_are_taken() -> None:
    for content in models():
        verify(content)
    run_inspect(bundle())
    run_project(PROJECT)


def test_the_same_number_is_the_same_case() -> None:
    assert case(1, 17) == case(1, 17)
    assert case(1, 17) != case(2, 17)


def test_a_fault_is_found() -> None:
    """A worker can fail: one of its targets raises what is no error of ours, and nearly all cases go there."""
    program = (
        "from tests.fuzz import targets, worker\n"
        "def fail(content): raise KeyError('planted')\n"
        "targets.TARGETS['project'] = (fail, targets.TARGETS['project'][1], 100)\n"
        "print([worker.run(1, number) for number in range(3)])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True
    )
    assert "fault KeyError: 'planted'" in done.stdout


def test_a_spoiled_model_is_refused_by_the_command_without_a_traceback(tmp_path: Path) -> None:
    model = tmp_path / "model.tflite"
    model.write_bytes(models()[0][:200_000])
    for arguments in (["lint", str(model)], ["coverage", str(model)]):
        done = subprocess.run(
            [sys.executable, "-m", "packager.cli", *arguments],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 1
        assert done.stderr.startswith("error: model.tflite cannot be used: it is damaged: ")
        assert done.stderr.count("\n") == 1


def test_a_model_without_inputs_is_refused() -> None:
    def remove(model: Any) -> None:
        model.subgraphs[0].inputs = []
        model.signatureDefs[0].inputs = []

    assert probe(changed_model(remove)).refused


def test_a_file_that_says_too_much_is_refused_before_it_is_read() -> None:
    with pytest.raises(LitefleetError, match="it is damaged"):
        verify(b"\x08\x00\x00\x00TFL3" + b"\xff" * 64)


def test_spoiled_files_end_the_real_commands_with_a_reason(tmp_path: Path) -> None:
    typed = run_commands(20, range(3), tmp_path)
    assert typed.faults == []
    assert sum(codes.total() for codes in typed.outcomes.values()) == 3


@pytest.mark.parametrize(
    ("code", "stderr", "wanted"),
    [
        (0, "", ""),
        (1, "error: x cannot be used: it is damaged", ""),
        (2, "Usage: x", ""),
        (-11, "", "exit code -11"),
        (1, "Traceback (most recent call last)", "a traceback"),
        (1, "error: x is damaged: the TFLite loader crashed on it (exit code 1)", "a child process failed"),
        (1, "", "refused without a reason"),
    ],
)
def test_how_a_command_ended_is_judged(code: int, stderr: str, wanted: str) -> None:
    found = judge(code, "", stderr)
    assert found.startswith(wanted)
    assert bool(found) == bool(wanted)
