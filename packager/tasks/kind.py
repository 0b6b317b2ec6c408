"""What a kind of task is: which models fit it, how its samples are read, what the manifest says of it.

PURE. Rules:

1. A kind is data: a name, its options, and two functions. ``packager.tasks.kinds`` lists them all.
2. Options are scalars or short lists, all with defaults, so that they can stand in ``litefleet.toml`` and on the
   command line. Unknown ones are refused with the nearest known one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from contract.errors import ConfigError
from contract.identifiers import nearest
from contract.manifest import ClassificationPostprocessing, ImagePreprocessing
from contract.manifest import Task as TaskName
from contract.results import Decoding
from packager.description import Source
from packager.preprocess import Fitting
from packager.tasks.task import Inputs, Task

_SHOWN_CHARS = 80


@dataclass(frozen=True)
class Presentation:
    """What the manifest says of a task, and the agent obeys; see ``contract.manifest.Manifest``.

    Attributes:
        task: What the model is for.
        preprocessing: From an image to the first input; None when clients feed tensors only.
        postprocessing: From the first output to the best classes; None where there are none.
        decoding: From the outputs to boxes, a map of classes or an embedding; None where there are none.
        labels: Class names; empty for none.
        rate_hz: Of the wave that the first input takes, for TFLite's metadata; 0 for no wave.
    """

    task: TaskName
    preprocessing: ImagePreprocessing | None = None
    postprocessing: ClassificationPostprocessing | None = None
    decoding: Decoding | None = None
    labels: tuple[str, ...] = ()
    rate_hz: int = 0


@dataclass(frozen=True)
class DataRequest:
    """What a kind reads its samples by.

    Attributes:
        source: The model's inputs and outputs.
        evaluation: Where the evaluation samples are.
        calibration: Where the calibration samples are; None for none.
        labels: File of class names; None for none.
        mean: Per channel or one for all, in pixel units.
        std: Per channel or one for all, in pixel units.
        fitting: How images come to the model's size and channels.
        options: The kind's own, an instance of ``Kind.options``.
        folder: What relative paths in options are relative to.
    """

    source: Source
    evaluation: Path
    calibration: Path | None
    labels: Path | None
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fitting: Fitting
    options: Any
    folder: Path


@dataclass(frozen=True)
class Loaded:
    """Samples that were read.

    Attributes:
        task: Bound to the evaluation samples.
        calibration: None where none were asked for.
        presentation: For the manifest.
        notes: What was done to samples, which whoever waits should read.
    """

    task: Task
    calibration: Inputs | None
    presentation: Presentation
    notes: tuple[str, ...] = ()


class NoOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A kind without options."""


@dataclass(frozen=True)
class Kind:
    """One kind of task.

    Attributes:
        name: What ``--task`` takes.
        wants: Which models fit, for people: ``one image in, one row of scores out``.
        options: A frozen struct, all fields with defaults.
        borders: Faults of a model's inputs and outputs for this task, each a sentence; empty when it fits.
        load: Reads the samples; raises ManifestError for bad ones and ConfigError for options that contradict.
    """

    name: str
    wants: str
    options: type[msgspec.Struct]
    borders: Callable[[Source, Any], list[str]]
    load: Callable[[DataRequest], Loaded]


def parse_options(kind: Kind, raw: Mapping[str, Any]) -> Any:
    """A kind's options from texts or TOML values.

    Raises:
        ConfigError: One is unknown, or has a value of the wrong type.
    """
    known = [field.encode_name for field in msgspec.structs.fields(kind.options)]
    faults = [_unknown(kind, key, known) for key in raw if key not in known]
    if faults:
        raise ConfigError("a task option is unknown", faults=faults)
    try:
        return msgspec.convert(dict(raw), kind.options, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError(f"an option of task {kind.name} is not usable: {error}") from error


def _unknown(kind: Kind, key: str, known: list[str]) -> str:
    hint = nearest(key[:_SHOWN_CHARS], known) if known else "it has none"
    return f"task {kind.name} has no option {key[:_SHOWN_CHARS]}: {hint}"
