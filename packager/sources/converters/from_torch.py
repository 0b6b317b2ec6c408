"""PyTorch programs (torch.export, .pt2), by litert-torch.

Guarantees: pickles inside are read for tensors only; the batch is 1; an image input (1, C, H, W) with 1, 3 or 4
channels becomes (1, H, W, C), and with it outputs of four dimensions; every other input keeps its shape; names are
those of the exported program.
"""

from __future__ import annotations

import os
from importlib.metadata import version
from pathlib import Path
from typing import Any

import litert_torch
import torch
from torch.utils import _pytree as pytree

from .job import Arrays, Border, RefusedError, channels_last, is_image, pin_shape

_LAST, _FIRST = (0, 2, 3, 1), (0, 3, 1, 2)


class _ChannelsLast(torch.nn.Module):  # type: ignore[misc] # torch is not in this environment
    """The program with images as (1, H, W, C), inputs by name and outputs by name."""

    def __init__(self, program: Any, inputs: list[Border]) -> None:
        super().__init__()
        self._program = program.module()
        self._spec = program.call_spec.in_spec
        self._names = [one.name for one in inputs]
        self._turned = [one.shape != one.source_shape for one in inputs]
        self._outputs = _output_names(program)

    def forward(self, **inputs: Any) -> dict[str, Any]:
        flat = [
            inputs[name].permute(_FIRST) if turned else inputs[name]
            for name, turned in zip(self._names, self._turned, strict=True)
        ]
        args, kwargs = pytree.tree_unflatten(flat, self._spec)
        found, _ = pytree.tree_flatten(self._program(*args, **kwargs))
        if any(self._turned):
            found = [one.permute(_LAST) if one.dim() == 4 else one for one in found]
        return dict(zip(self._outputs, found, strict=True))


class TorchProgram:
    """An exported program with its batch pinned to 1."""

    def __init__(self, path: Path) -> None:
        # torch.export.load falls back to unpickling anything unless it is told not to (torch.serialization).
        os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"
        program: Any = torch.export.load(path)
        wanted = program.graph_signature.user_inputs
        values = {node.name: node.meta["val"] for node in program.graph.nodes if node.op == "placeholder"}
        if not all(isinstance(name, str) and torch.is_tensor(values.get(name)) for name in wanted):
            raise RefusedError("it takes inputs that are no tensors: export it with tensors only")
        self.inputs = [_border(name, values[name]) for name in wanted]
        self._module = _ChannelsLast(program, self.inputs)
        with torch.no_grad():
            zeros = {one.name: torch.zeros(one.shape, dtype=_dtype(one)) for one in self.inputs}
            found = self._module(**zeros)
        self._zeros = zeros
        self.outputs = [
            Border(name, tuple(one.shape), str(one.dtype).removeprefix("torch."), name, tuple(one.shape))
            for name, one in found.items()
        ]
        self.tools = {name: version(name) for name in ("litert-torch", "torch", "litert-converter")}

    def convert(self, target: Path) -> None:
        """Convert by name."""
        litert_torch.convert(self._module, sample_kwargs=self._zeros).export(str(target))

    def answer(self, inputs: Arrays) -> Arrays:
        """Run PyTorch on the program itself."""
        with torch.no_grad():
            found = self._module(**{name: torch.from_numpy(value) for name, value in inputs.items()})
        return {name: value.numpy() for name, value in found.items()}


def open_source(path: Path) -> TorchProgram:
    """Load a .pt2 file."""
    return TorchProgram(path)


def _border(name: str, value: Any) -> Border:
    source = pin_shape(name, [size if isinstance(size, int) else None for size in value.shape])
    shape = channels_last(source) if is_image(source) else source
    return Border(name, shape, str(value.dtype).removeprefix("torch."), name, source)


def _dtype(border: Border) -> Any:
    return getattr(torch, border.dtype)


def _output_names(program: Any) -> list[str]:
    """Keys where the program gives a dictionary, else the names of the operators that make the outputs."""
    spec = program.call_spec.out_spec
    names = [str(name) for name in program.graph_signature.user_outputs]
    if spec.type is dict and spec.num_leaves == len(spec.context):
        names = [str(key) for key in spec.context]
    return names if len(set(names)) == len(names) else [f"{name}_{i}" for i, name in enumerate(names)]
