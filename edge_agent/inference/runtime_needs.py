"""What each TFLite runtime truly needs; wheels promise less.

PURE. Rules:

1. A row holds for the versions from ``minimum`` on, below ``below``; the first row that fits a runtime counts. A
   version that no row knows has no known need: only trying it tells.
2. Figures are those that the native libraries in the wheels ask for (``.gnu.version_r``), not the wheels' tags.
3. A fact that could not be read rules nothing out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from contract.probing import Cause
from edge_agent.inference.board import Facts, InstalledRuntime, level

PACKAGES: Mapping[str, str] = MappingProxyType(
    {
        "ai-edge-litert": "ai_edge_litert",
        "tflite-runtime": "tflite_runtime",
        "tensorflow": "tensorflow",
    }
)
"""Distribution to import package; best first (docs/adr/0001)."""


@dataclass(frozen=True)
class Need:
    """What a range of versions of a runtime needs.

    Attributes:
        runtime: Distribution.
        minimum: Lowest version of the range.
        below: First version after it; empty when open.
        glibc: Architecture to least level of the C library.
        glibcxx: The same for the C++ library.
        numpy_below: First numpy that is too new; empty when none is.
    """

    runtime: str
    minimum: str = "0"
    below: str = ""
    glibc: Mapping[str, str] = field(default_factory=dict)
    glibcxx: Mapping[str, str] = field(default_factory=dict)
    numpy_below: str = ""


NEEDS: tuple[Need, ...] = (
    # readelf -V on the wheels of 2.1.0 to 2.1.3, 2.1.6, 2.3.0 (aarch64) and 2.3.0 (x86_64); all tagged 2.27.
    Need(
        "ai-edge-litert",
        minimum="2.1.1",
        glibc={"aarch64": "2.34", "x86_64": "2.27"},
        glibcxx={"aarch64": "3.4.30", "x86_64": "3.4.22"},
    ),
    Need(
        "ai-edge-litert",
        below="2.1.1",
        glibc={"aarch64": "2.30", "x86_64": "2.27"},
        glibcxx={"aarch64": "3.4.26", "x86_64": "3.4.22"},
    ),
    # readelf -V on the 2.14.0 wheels; x86_64 is tagged manylinux2014 (2.17). With numpy 2 the import works and
    # Interpreter() raises SystemError, in every version that PyPI has.
    Need(
        "tflite-runtime",
        glibc={"aarch64": "2.27", "armv7l": "2.27", "x86_64": "2.29"},
        glibcxx={"x86_64": "3.4.22"},
        numpy_below="2",
    ),
)


def need_of(runtime: InstalledRuntime) -> Need | None:
    """The row of a runtime; None when there is none."""
    own = level(runtime.version)
    for need in NEEDS:
        is_below = not need.below or own < level(need.below)
        if need.runtime == runtime.name and level(need.minimum) <= own and is_below:
            return need
    return None


@dataclass(frozen=True)
class Shortage:
    """A need that the board does not meet: cause, what is short, what helps."""

    cause: Cause
    detail: str
    remedy: str


def find_shortage(runtime: InstalledRuntime, facts: Facts) -> Shortage | None:
    """The first known need of a runtime that the board does not meet; None when it meets them all."""
    need = need_of(runtime)
    if need is None:
        return None
    for what, have, wanted in (
        ("glibc", facts.glibc, need.glibc.get(facts.arch, "")),
        ("libstdc++", facts.glibcxx, need.glibcxx.get(facts.arch, "")),
    ):
        if have and wanted and level(have) < level(wanted):
            return Shortage(
                Cause.WRONG_LIBRARY,
                f"{runtime.name} {runtime.version} needs {what} {wanted}, this system has {have}",
                f"install a wheel that this system can load: {suggest_wheel(facts)}",
            )
    if facts.numpy and need.numpy_below and level(facts.numpy) >= level(need.numpy_below):
        return Shortage(
            Cause.RUNTIME_TOO_OLD,
            f"{runtime.name} {runtime.version} was built for numpy below {need.numpy_below}, "
            f"numpy {facts.numpy} is installed",
            f"pip install 'numpy<{need.numpy_below}'",
        )
    return None


def suggest_wheel(facts: Facts) -> str:
    """The command that installs a runtime which this board can load, as far as the facts tell."""
    python, glibc = level(facts.python)[:2], level(facts.glibc)
    if facts.arch == "aarch64" and python >= (3, 10) and (not glibc or glibc >= (2, 34)):
        return "pip install 'ai-edge-litert>=2.1.3'"
    if facts.arch == "aarch64" and python >= (3, 9) and glibc >= (2, 30):
        return "pip install ai-edge-litert==2.1.0"
    if facts.arch == "x86_64" and python >= (3, 10) and (not glibc or glibc >= (2, 27)):
        return "pip install 'ai-edge-litert>=2.1.3'"
    if facts.arch in {"aarch64", "armv7l", "x86_64"} and (3, 9) <= python <= (3, 11):
        return "pip install 'tflite-runtime==2.14.0' 'numpy<2'"
    return (
        f"no published runtime fits {facts.arch or 'this processor'} with Python {facts.python}; "
        "take an operating system with Python 3.11 and glibc 2.34 or newer, 64-bit where the board can"
    )


def suggest_other(facts: Facts) -> str:
    """The same, for a board whose installed runtime is the trouble: another version of it."""
    wheel, installed = suggest_wheel(facts), facts.runtime("ai-edge-litert")
    open_range = "ai-edge-litert>=2.1.3"
    if installed is None or open_range not in wheel:
        return wheel
    return wheel.replace(open_range, f"{open_range},!={installed.version}")
