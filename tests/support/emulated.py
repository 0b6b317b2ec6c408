"""Runs the agent's code on an emulated aarch64 machine; see ``scripts/arm64-environment``."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

RIGHT, WRONG, OLD = "litert-2.1.3", "litert-2.1.6", "tflite-2.14.0"
"""Runtimes. Under qemu 7.2 the first and the last answer right; the second loads and answers static int8 wrongly."""


@dataclass(frozen=True)
class Emulated:
    """The userland.

    Attributes:
        folder: Where it is.
        code: Where litefleet's tests are.
    """

    folder: Path
    code: Path

    @property
    def python(self) -> str:
        """The aarch64 Python 3.11, as a program of this machine."""
        return str(self.folder / "bin" / "python3")

    @property
    def python_armv7l(self) -> str:
        """The 32-bit Python 3.11 with tflite-runtime and Debian's numpy."""
        return str(self.folder / "bin" / "python3-armv7l")

    def environment(self, runtime: str = RIGHT) -> dict[str, str]:
        """Variables that choose a runtime, without those that belong to this machine's Python."""
        kept = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("COVERAGE", "PYTEST", "PYTHON"))
        }
        return {**kept, "LITEFLEET_ARM64_RUNTIME": runtime}

    def run(
        self, *words: str, runtime: str = RIGHT, timeout_s: float = 120.0
    ) -> subprocess.CompletedProcess[str]:
        """Run Python with these arguments, where the tests are."""
        return subprocess.run(
            [self.python, *words],
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            env=self.environment(runtime),
            cwd=self.code,
        )
