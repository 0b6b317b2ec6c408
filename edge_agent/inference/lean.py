"""Imports what a worker needs quickly, and without what that can do without; imports next to nothing itself.

Guarantees: who comes later finds every module as ever; a library that does not have what is left out here is imported
as it is.

Why: docs/adr/0058.
"""

from __future__ import annotations

import gc
import importlib
import sys

# The name alone tells type checkers, as in gentle.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

_TYPE_HINTS = "typing_extensions"
"""msgspec takes its type hints from here where it can and from ``typing`` where not: 1.1 MB of a worker (private dirty
pages; own measurement, msgspec 0.20, Python 3.11)."""
_DOCSTRINGS = tuple(
    f"numpy.{core}.{name}" for core in ("_core", "core") for name in ("_add_newdocs", "_add_newdocs_scalars")
)
"""They write the docstrings of numpy's functions, of numpy 2 and 1, and do nothing else."""


class Lean:
    """Importing, as a context: msgspec and numpy first, and then what the block imports.

    No garbage is looked for meanwhile: importing leaves next to none, and to walk again and again over all that was
    imported takes a tenth of the time. Nor is it ever after: what there is at the end counts as there for good.
    """

    def __init__(self) -> None:
        self._collected = False

    def __enter__(self) -> None:
        """Import msgspec and numpy."""
        self._collected = gc.isenabled()
        gc.disable()
        try:
            _import_without(
                "msgspec", {_TYPE_HINTS: None}
            )  # None is the import system's own way to say "not there"
            _import_without("numpy", {name: type(sys)(name) for name in _DOCSTRINGS})
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        """Look for garbage again."""
        gc.freeze()
        if self._collected:
            gc.enable()


def _import_without(name: str, left_out: dict[str, ModuleType | None]) -> None:
    """Import a module while others are replaced; nothing when it or one of them is there already."""
    if name in sys.modules or not left_out.keys().isdisjoint(sys.modules):
        return
    sys.modules.update(left_out)  # type: ignore[arg-type]
    try:
        importlib.import_module(name)
    finally:
        for other in left_out:
            del sys.modules[other]
