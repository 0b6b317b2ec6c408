"""External delegates for tests: real shared libraries, built here with gcc."""

from __future__ import annotations

import functools
import subprocess
import tempfile
from pathlib import Path

from edge_agent.inference.engine import ExternalDelegate
from tests.support.tools import require

SOURCE = Path(__file__).parents[1] / "data" / "delegates" / "delegate.c"


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    """Removed with the process."""
    return tempfile.TemporaryDirectory(prefix="litefleet-delegates-")


@functools.cache
def delegate_library(behaviour: str) -> Path:
    """A delegate that behaves as the source's first comment says, for example ``WORKS``."""
    library = Path(_folder().name) / f"lib{behaviour.lower()}.so"
    options = ["-shared", "-fPIC", "-Wall", "-Wno-unused", "-O1", f"-D{behaviour}", "-o", str(library)]
    subprocess.run([require("gcc"), *options, str(SOURCE)], check=True, timeout=60)
    return library


def a_delegate(behaviour: str, *, name: str = "npu", **options: str) -> ExternalDelegate:
    """The same, as a worker or probe is given it."""
    return ExternalDelegate(name=name, library=str(delegate_library(behaviour)), options=options)
