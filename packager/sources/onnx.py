"""ONNX files."""

from __future__ import annotations

from pathlib import Path

from packager.sources.locks import read_lock
from packager.sources.toolchain import Converter


def onnx_converter() -> Converter:
    """How to convert an ONNX file."""
    return Converter(
        name="onnx",
        title="onnx2tf",
        module="from_onnx",
        source_name="source.onnx",
        lock=read_lock("onnx"),
        pythons=((3, 12), (3, 13)),
        size="about 0.6 GB on disk",
        check=_check_later,
    )


def _check_later(_: Path, __: str) -> None:
    """ONNX holds no code; whether it is sound is seen in the converter's environment, which can read it."""
