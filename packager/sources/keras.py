"""Keras models: ``.keras`` and whole-model ``.h5``."""

from __future__ import annotations

from pathlib import Path

from contract.errors import ManifestError
from packager.sources.archive import read_json_members
from packager.sources.converters.keras_config import code_faults
from packager.sources.locks import read_lock
from packager.sources.toolchain import Converter

TITLE = "TensorFlow"
PYTHONS = ((3, 12), (3, 11), (3, 13))
SIZE = "about 2.1 GB on disk"
"""Own measurement on Linux x86-64: tensorflow 2.21.0 and what it requires."""


def keras_converter(suffix: str) -> Converter:
    """How to convert a Keras file.

    Args:
        suffix: ``.keras`` or ``.h5``: Keras chooses its reader by it.
    """
    return Converter(
        name="keras",
        title=TITLE,
        module="from_keras",
        source_name=f"source{suffix}",
        lock=read_lock("keras"),
        pythons=PYTHONS,
        size=SIZE,
        check=check_keras if suffix == ".keras" else _check_later,
        own_packages=("tensorflow", "keras"),
        extra="keras",
    )


def check_keras(path: Path, name: str) -> None:
    """Refuse a .keras file that carries code.

    Raises:
        ManifestError: It does, or is damaged.
    """
    configs = [config for member, config in read_json_members(path, name, "config.json") if "/" not in member]
    if not configs:
        raise ManifestError(f"{name} is no Keras model: it has no config.json")
    faults = code_faults(configs[0])
    if faults:
        raise ManifestError(
            f"{name} may execute code, and is not loaded",
            faults=faults,
            remedy="replace the layer by layers of Keras itself, or give a SavedModel (model.export)",
        )


def _check_later(_: Path, __: str) -> None:
    """An .h5 file can be read by h5py alone, which is in the converter's environment: checked there."""
