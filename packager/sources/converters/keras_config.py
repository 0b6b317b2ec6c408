"""Whether a Keras model's configuration brings code of its own.

PURE. Rules:

1. Refused is what Keras would execute when it loads or runs the model: Lambda layers and pickled functions, and
   layers that pull in other models' files or frameworks.
2. Refused are classes from anywhere but Keras: the code they need is not in the file.
3. The configuration is what ``config.json`` of a ``.keras`` file or the attribute ``model_config`` of an ``.h5``
   file holds; the walk has a bound.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_CODE = frozenset(("Lambda", "__lambda__", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"))
_MODULES = ("keras", "tf_keras", "tensorflow.keras")
_MAX_NODES = 1_000_000


def code_faults(config: Any) -> list[str]:
    """What in a model's configuration is code; empty when nothing is."""
    faults: list[str] = []
    for node in _nodes(config):
        name, module = str(node.get("class_name", "")), node.get("module")
        label = f"{name} {_inner_name(node)}".rstrip()
        if name in _CODE:
            faults.append(f"{label} carries code")
        elif name == "function" and not _is_keras(module):
            faults.append(f"function {node.get('config')} of {module} is no part of Keras")
        elif isinstance(module, str) and not _is_keras(module):
            faults.append(f"{label} of {module} is no part of Keras")
    return list(dict.fromkeys(faults))


def _is_keras(module: object) -> bool:
    text = str(module or "keras")
    return any(text == known or text.startswith(f"{known}.") for known in _MODULES)


def _inner_name(node: Mapping[str, Any]) -> str:
    config = node.get("config")
    return str(config.get("name", "")) if isinstance(config, dict) else ""


def _nodes(config: Any) -> Iterator[Mapping[str, Any]]:
    waiting, seen = [config], 0
    while waiting:
        node = waiting.pop()
        seen += 1
        if seen > _MAX_NODES:
            yield {"class_name": "Lambda", "config": {"name": "(configuration too large to look through)"}}
            return
        if isinstance(node, dict):
            yield node
            waiting.extend(node.values())
        elif isinstance(node, list):
            waiting.extend(node)
