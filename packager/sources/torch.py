"""PyTorch programs that ``torch.export.save`` wrote: ``.pt2``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from contract.errors import ManifestError
from packager.sources.archive import read_json_members
from packager.sources.locks import read_lock
from packager.sources.toolchain import Converter

_TORCH = "torch==2.13.0"
_TARGET = re.compile(r"torch\.ops\.(aten|prims)\.\w+(\.\w+)?|_operator\.\w+|math\.\w+|torch\.sym_\w+")
_NUMBER = r"[\w+\-*/%<>=,() .']*"
_EXPRESSION = re.compile(_NUMBER)
_WORDS = frozenset((
    "Symbol", "Integer", "True", "False", "positive", "integer", "nonnegative", "Max", "Min", "Mod", "PythonMod",
    "FloorDiv", "CleanDiv", "CeilDiv", "ModularIndexing", "Where", "Eq", "Ne",
))  # fmt: skip
_SYMBOL = re.compile(r"[a-z]{1,2}\d+|\d+")
_FAULTS_SHOWN = 5


def torch_converter() -> Converter:
    """How to convert a PyTorch program."""
    return Converter(
        name="torch",
        title="litert-torch",
        module="from_torch",
        source_name="source.pt2",
        lock=read_lock("torch"),
        unlocked=(_TORCH,),
        pythons=((3, 11), (3, 12), (3, 13)),
        size="about 2 GB on disk with PyTorch's CPU build, several more with its CUDA build",
        check=check_program,
    )


def check_program(path: Path, name: str) -> None:
    """Refuse a program that names anything but PyTorch's own operators, or sizes that are no plain expressions.

    PyTorch looks targets up by attribute from the module ``torch`` on, and evaluates sizes as Python
    (``torch/_export/serde/serialize.py``, ``deserialize_operator`` and ``sympy.sympify``), so both could be code.

    Raises:
        ManifestError: It does, or is damaged.
    """
    documents = [content for _, content in read_json_members(path, name, ".json")]
    if not any(isinstance(content, dict) and "graph_module" in content for content in documents):
        raise ManifestError(
            f"{name} is no exported PyTorch program",
            remedy="write it with torch.export.save(program, 'model.pt2')",
        )
    faults = list(dict.fromkeys(fault for content in documents for fault in _faults(content)))
    if faults:
        raise ManifestError(
            f"{name} may execute code, and is not loaded",
            faults=faults[:_FAULTS_SHOWN],
            remedy="export the model with PyTorch's own operators only",
        )


def _faults(content: Any) -> Iterator[str]:
    waiting = [content]
    while waiting:
        node = waiting.pop()
        if isinstance(node, list):
            waiting.extend(node)
        if not isinstance(node, dict):
            continue
        waiting.extend(node.values())
        target = node.get("target")
        if (
            "inputs" in node
            and "outputs" in node
            and isinstance(target, str)
            and not _TARGET.fullmatch(target)
        ):
            yield f"the graph calls {target[:80]}"
        expression = node.get("expr_str")
        if isinstance(expression, str) and not _is_plain(expression):
            yield f"a size is {expression[:80]}"


def _is_plain(expression: str) -> bool:
    words = re.findall(r"\w+", expression)
    return bool(_EXPRESSION.fullmatch(expression)) and all(
        word in _WORDS or _SYMBOL.fullmatch(word) for word in words
    )
