"""Runs ``litefleet-agent`` to its end."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


def run_cli(*words: str | Path, **environment: str) -> Ended:
    """Run a command; at most 90 seconds."""
    program = Path(sys.executable).with_name("litefleet-agent")
    done = subprocess.run(
        [program, *words],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
        env={**os.environ, **environment},
    )
    return Ended(done.returncode, done.stdout, done.stderr)
