"""Starts one job: ``python __main__.py MODULE FOLDER``, in any environment, with nothing added to its import path.

Guarantees: the folder of this file, whose neighbours have the frameworks' names, is not on the import path (it is
started with ``-P``); this package is known as ``converters``.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path


def main() -> None:
    """Make this folder a package of its own, and run the job."""
    folder = Path(__file__).resolve().parent
    spec = importlib.util.spec_from_file_location(
        "converters", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None  # noqa: S101 - the file is beside this one
    assert spec.loader is not None  # noqa: S101 - the same
    package = importlib.util.module_from_spec(spec)
    sys.modules["converters"] = package
    spec.loader.exec_module(package)
    job = importlib.import_module("converters.job")
    job.run(importlib.import_module(f"converters.{sys.argv[1]}"), Path(sys.argv[2]))


if __name__ == "__main__":
    main()
