"""SavedModel folders of TensorFlow."""

from __future__ import annotations

from pathlib import Path

from packager.sources.keras import PYTHONS, SIZE, TITLE
from packager.sources.locks import read_lock
from packager.sources.toolchain import Converter


def savedmodel_converter() -> Converter:
    """How to convert a SavedModel; the environment is the one of Keras."""
    return Converter(
        name="keras",
        title=TITLE,
        module="from_savedmodel",
        source_name="source",
        lock=read_lock("keras"),
        pythons=PYTHONS,
        size=SIZE,
        check=_check_later,
        own_packages=("tensorflow", "keras"),
        extra="keras",
    )


def _check_later(_: Path, __: str) -> None:
    """Operators that touch files are looked for in the converter's environment, which can read the graph."""
