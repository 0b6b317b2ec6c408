"""Gives spoiled files to the commands that a user types, each in a process of its own.

A fault is an exit code other than 0, 1 and 2, a traceback, a refusal that names no reason, or no end within a time.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from tests.fuzz.targets import a_model, a_project, a_spoiled_bundle, bundle
from tests.support.packager_builders import DIGITS

COMMAND_S = 300.0
_REFUSED = 1
_USAGE = 2
_TEXT = "error: "
_SAMPLES = ("--evaluation", str(DIGITS / "evaluation"), "--labels", str(DIGITS / "labels.txt"))
_RELEASE = ("--name", "x", "--version", "1.0.0", "--profile", "generic-x86-64")


@dataclass
class Typed:
    """What came of typed commands.

    Attributes:
        outcomes: Command to how often it ended with which exit code.
        faults: Case, command and what went wrong.
    """

    outcomes: dict[str, Counter[int]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


def _pack(path: Path) -> list[str]:
    return [
        "pack",
        str(path),
        *_RELEASE,
        *_SAMPLES,
        "--calibration",
        str(DIGITS / "calibration"),
        "--dry-run",
    ]


def _compress(path: Path) -> list[str]:
    made = str(path.with_name("small.tflite"))
    return ["compress", str(path), "--prune", "0.5", *_SAMPLES, "--no-cache", "--output", made]


def _compare(path: Path) -> list[str]:
    sound = path.with_name("sound.bundle")
    sound.write_bytes(bundle())
    return ["compare", str(sound), str(path)]


Making = tuple[str, Callable[[Random], bytes], Callable[[Path], list[str]], int]
COMMANDS: tuple[Making, ...] = (
    ("model.tflite", a_model, _pack, 3),
    ("model.tflite", a_model, lambda path: ["lint", str(path), "--profile", "coral-dev-board"], 3),
    ("model.tflite", a_model, lambda path: ["coverage", str(path), "--measure"], 3),
    ("model.tflite", a_model, _compress, 2),
    ("x.bundle", a_spoiled_bundle, lambda path: ["inspect", str(path)], 2),
    ("x.bundle", a_spoiled_bundle, _compare, 2),
    ("litefleet.toml", a_project, lambda path: ["pack", "--project", str(path), "--dry-run"], 1),
)
"""Name of the file, what makes it, the command, and its share of the cases."""


def run_commands(seed: int, numbers: Iterable[int], folder: Path) -> Typed:
    """Give cases to commands; the same numbers are the same cases.

    Args:
        seed: Of the files.
        numbers: Of the cases.
        folder: Empty; gets the files, and a cache of its own.
    """
    shares = [making for making in COMMANDS for _ in range(making[3])]
    typed = Typed()
    for number in numbers:
        random = Random(f"command-{seed}-{number}")
        name, make, command, _ = random.choice(shares)
        path = folder / name
        path.write_bytes(make(random))
        arguments = command(path)
        code, fault = _run(arguments, folder)
        typed.outcomes.setdefault(arguments[0], Counter())[code] += 1
        if fault:
            typed.faults.append(f"command case {number} {arguments[0]}: {fault}")
    return typed


def _run(arguments: list[str], folder: Path) -> tuple[int, str]:
    """Exit code, and what is wrong with how it ended; empty for nothing."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "packager.cli", *arguments],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=COMMAND_S,
            check=False,
            env={**os.environ, "XDG_CACHE_HOME": str(folder / "cache")},
        )
    except subprocess.TimeoutExpired:
        return -1, f"no end within {COMMAND_S:.0f} s"
    return done.returncode, judge(done.returncode, done.stdout, done.stderr)


def judge(code: int, stdout: str, stderr: str) -> str:
    """What is wrong with how a command ended; empty for nothing."""
    if code not in {0, _REFUSED, _USAGE}:
        return f"exit code {code}: {stderr[-300:]}"
    if "Traceback" in stdout + stderr:
        return f"a traceback: {stderr[-300:]}"
    # A process of ours that native code ended has a signal; one that failed has an exit code, and that is our bug.
    if "(exit code" in stderr:
        return f"a child process failed: {stderr[-300:]}"
    if code == _REFUSED and not any(line.startswith(_TEXT) and line != _TEXT for line in stderr.splitlines()):
        return f"refused without a reason: {stderr[-300:]}"
    return ""
