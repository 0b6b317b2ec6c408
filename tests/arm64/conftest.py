"""An aarch64 userland with the real wheels, run by emulation; made once and kept in ``build/arm64``."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.emulated import Emulated
from tests.support.tools import do_without

ROOT = Path(__file__).parents[2]
MAKING_S = 900.0


@pytest.fixture(scope="session")
def emulated() -> Emulated:
    """The environment; a laptop that cannot make it skips, CI fails."""
    folder = Path(os.environ.get("LITEFLEET_ARM64", ROOT / "build" / "arm64"))
    if not (folder / "bin" / "python3").exists() and (shutil.which("apt-get") is None or os.geteuid() != 0):
        do_without(
            "the aarch64 userland is made with apt, as root", remedy="scripts/arm64-environment build/arm64"
        )
    made = subprocess.run(
        [ROOT / "scripts" / "arm64-environment", folder],
        capture_output=True,
        text=True,
        timeout=MAKING_S,
        check=False,
    )
    assert made.returncode == 0, made.stdout + made.stderr
    return Emulated(folder.resolve(), ROOT)
