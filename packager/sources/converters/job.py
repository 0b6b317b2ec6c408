"""One job of a converter, whatever the framework: read the order, convert or answer, write the result.

Guarantees: ``answer.json`` is written last and says what was done or why not; whatever a framework raises ends
there in one line, and whole in the log, which is this process's output. Inputs made at random are the same on every
run.

The folder holds ``job.json`` (``{"source": name, "mode": "convert" or "answer"}``), the source, and to answer
``inputs.npz``. It gets ``model.tflite`` (to convert), ``reference.npz`` with ``input.<name>`` and
``expected.<name>`` (samples, ...) and ``answer.json``. A job of mode ``train`` is its module's own (``train_keras``).
"""

from __future__ import annotations

import json
import re
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Arrays = dict[str, npt.NDArray[Any]]

RANDOM_SAMPLES = 8
"""Half of them uniform 0 to 1, as images are, half standard normal, as standardised features are."""
_SEED = 20261121
_SHOWN_CHARS = 400
_PLACE = re.compile(r"/\S+:\d+:\d+:\s*")  # of the converter's source, as MLIR says it
_NOISE = re.compile(r'^\s*$|^\s*(at |File "|\^|~)|^Traceback|^Stack trace')


class RefusedError(Exception):
    """The source cannot be converted, and the text says why."""


@dataclass(frozen=True)
class Border:
    """An input as the converted model takes it, or an output as the source gives it.

    Attributes:
        name: In the converted model's signature.
        shape: In the converted model for an input, in the source for an output; the first of a batch is 1.
        dtype: numpy's name.
        source_name: In the source.
        source_shape: In the source.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    source_name: str
    source_shape: tuple[int, ...]


class Framework(Protocol):
    """A source that its framework has loaded."""

    inputs: Sequence[Border]
    outputs: Sequence[Border]
    tools: Mapping[str, str]

    def convert(self, target: Path) -> None:
        """Write the .tflite file."""
        ...

    def answer(self, inputs: Arrays) -> Arrays:
        """Run the source itself on one sample, inputs as the converted model takes them."""
        ...


def run(module: ModuleType, folder: Path) -> None:
    """Do the job in a folder."""
    job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    try:
        if job["mode"] == "train":
            answer = module.work(folder, job)
        else:
            answer = _work(module.open_source(folder / job["source"]), job["mode"], folder)
    except RefusedError as error:
        answer = {"refused": _first_line(str(error))}
    except SystemExit:
        traceback.print_exc()
        answer = {"refused": ""}  # what it said is in the log
    except Exception as error:  # noqa: BLE001 - frameworks raise anything on models that they do not know
        traceback.print_exc()
        answer = {"refused": first_line(error)}
    (folder / "answer.json").write_text(json.dumps(answer), encoding="utf-8")


def _work(source: Framework, mode: str, folder: Path) -> dict[str, Any]:
    if mode == "convert":
        source.convert(folder / "model.tflite")
        inputs = random_inputs(source.inputs)
    else:
        with np.load(folder / "inputs.npz", allow_pickle=False) as given:
            inputs = {border.name: given[f"input.{border.name}"] for border in source.inputs}
    samples = len(next(iter(inputs.values())))
    answers = [source.answer({name: rows[i] for name, rows in inputs.items()}) for i in range(samples)]
    expected = {name: np.stack([answer[name] for answer in answers]) for name in answers[0]}
    arrays: dict[str, Any] = {f"input.{name}": rows for name, rows in inputs.items()}
    arrays |= {f"expected.{name}": rows for name, rows in expected.items()}
    np.savez(folder / "reference.npz", **arrays)
    return {
        "inputs": [asdict(border) for border in source.inputs],
        "outputs": [asdict(border) for border in source.outputs],
        "tools": dict(source.tools),
    }


def random_inputs(borders: Sequence[Border], samples: int = RANDOM_SAMPLES) -> Arrays:
    """(samples, ...) of every input, always the same: real values uniform, then normal; whole numbers 0 or 1."""
    rng = np.random.default_rng(_SEED)
    made: Arrays = {}
    for border in borders:
        shape = (samples, *border.shape)
        if np.dtype(border.dtype).kind == "f":
            half = samples // 2
            values = np.concatenate([rng.random(shape)[:half], rng.standard_normal(shape)[half:]])
            made[border.name] = values.astype(border.dtype)
        else:
            made[border.name] = rng.integers(0, 2, shape).astype(border.dtype)
    return made


def pin_shape(name: str, sizes: Sequence[int | None]) -> tuple[int, ...]:
    """The shape with a free batch set to 1.

    Raises:
        RefusedError: Another size than the first is free.
    """
    if not sizes:
        raise RefusedError(f"input {name} is a single number without a batch dimension")
    pinned = (sizes[0] or 1, *sizes[1:])
    if not all(pinned):
        raise RefusedError(
            f"input {name} has the free sizes {shown(sizes)}, only the batch may be free: "
            "export the model with fixed sizes"
        )
    return tuple(size for size in pinned if size)


def shown(sizes: Sequence[int | None]) -> str:
    """A shape with ``?`` for what is free."""
    return "(" + ", ".join(str(size) if size else "?" for size in sizes) + ")"


def is_image(shape: Sequence[int]) -> bool:
    """Whether an input of a channels-first framework is an image: (1, C, H, W) with 1, 3 or 4 channels."""
    return len(shape) == 4 and shape[1] in {1, 3, 4} and min(shape[2:]) > 1


def channels_last(shape: Sequence[int]) -> tuple[int, ...]:
    """(N, C, H, W) as (N, H, W, C)."""
    return (shape[0], *shape[2:], shape[1])


def first_line(error: BaseException) -> str:
    """What an error says, in one line, with its type where it says nothing."""
    return _first_line(str(error)) or type(error).__name__


def _first_line(text: str) -> str:
    lines = (_PLACE.sub(" ", line).strip() for line in text.splitlines() if not _NOISE.match(line))
    return next(lines, "")[:_SHOWN_CHARS]
