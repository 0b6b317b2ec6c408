"""Hash-pinned requirements of the converters' environments, as text files beside this one."""

from __future__ import annotations

from importlib.resources import files


def read_lock(name: str) -> str:
    """The lock of one environment: names, versions, markers and hashes, no addresses."""
    return files(__name__).joinpath(f"{name}.txt").read_text(encoding="utf-8")
