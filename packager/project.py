"""The project file ``litefleet.toml``: what ``pack`` needs, so that a team types ``litefleet-packager pack``.

Guarantees: the file nearest up the folders is used, and which one is told; unknown keys are refused with the nearest
known one; relative paths are relative to the file; what stands on the command line takes precedence.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from contract.errors import ConfigError
from contract.identifiers import nearest
from contract.manifest import Resize
from packager.compression.plan import CLUSTERS_LEAST, CLUSTERS_MOST
from packager.rules import (
    DEFAULT_MIN_SAMPLES,
    DEFAULT_RECOVERY_TRIALS,
    Allowance,
    Rules,
    parse_allowance,
)

FILE_NAME = "litefleet.toml"
_MAX_BYTES = 64 * 1024
_KEY_SHOWN_CHARS = 80


class PackTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Table ``[pack]``; see ``docs/reference/project-file.md``.

    Attributes:
        model: Float model.
        task: What it is for, which decides how samples are read and what is measured.
        name: Model name.
        version: SemVer version of the release.
        profiles: Boards to pack for.
        evaluation: Folder of samples that accuracy is measured on.
        calibration: Folder of samples that static precisions learn ranges from; empty for none.
        labels: File of class names; empty for none.
        baseline: Bundle of an earlier release that this one must not fall behind; empty for none.
        mean: Input = (pixel - mean) / std, one number or one per channel.
        std: See mean; above 0.
        resize: How images and devices come to the model's size; empty to refuse images of another size.
        pad: Pixel value, 0 to 255, that a letterbox is filled with.
        bgr: Whether the model takes blue first.
        output: Folder for the bundles.
        max_drop: How much a variant may lose: 0.01, or "1%" of the reference.
        max_class_drop: The same for every single class; empty for no such rule.
        class_floor: What a variant must reach in every class; 0 for no such rule.
        confidence: How sure the drop must be within max_drop, above 0.5; 0 to judge by the measured drop.
        min_samples: How many evaluation samples there must be.
        recovery_trials: How often a failing rung is tried again with more operators in float; 0 for never.
        prune: Share of every layer's weights to set to 0 before anything is made of the model; 0 for none.
        cluster: How many values the weights of a layer may have; 0 for no limit.
        cache: Whether to use and keep what earlier runs made.
        report: Whether to write the report beside the bundles.
    """

    model: str = ""
    task: str = "classification"
    name: str = ""
    version: str = ""
    profiles: tuple[str, ...] = ()
    evaluation: str = ""
    calibration: str = ""
    labels: str = ""
    baseline: str = ""
    mean: float | tuple[float, ...] = 0.0
    std: float | tuple[float, ...] = 255.0
    resize: str = ""
    pad: int = 0
    bgr: bool = False
    output: str = "dist"
    max_drop: float | str = "0.01"
    max_class_drop: float | str = ""
    class_floor: float = 0.0
    confidence: float = 0.0
    min_samples: int = DEFAULT_MIN_SAMPLES
    recovery_trials: int = DEFAULT_RECOVERY_TRIALS
    prune: float = 0.0
    cluster: int = 0
    cache: bool = True
    report: bool = True


class ProjectFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file.

    Attributes:
        pack: What to pack, and how.
        task_options: Options of the task, which each task has its own of; see ``docs/reference/tasks.md``.
    """

    pack: PackTable = PackTable()
    task_options: dict[str, Any] = {}


REQUIRED = {
    "model": "MODEL",
    "name": "--name",
    "version": "--version",
    "profiles": "--profile",
    "evaluation": "--evaluation",
}
"""Keys that must be set here or on the command line, and how they are called there."""
_PATHS = ("model", "evaluation", "calibration", "labels", "baseline", "output")


@dataclass(frozen=True)
class Project:
    """Settings from a file, or the defaults where there is none.

    Attributes:
        pack: The table; paths in it are absolute.
        task_options: As they stand in the file.
        path: The file; None for none.
    """

    pack: PackTable = field(default_factory=PackTable)
    task_options: Mapping[str, Any] = field(default_factory=dict)
    path: Path | None = None


def find_project(start: Path) -> Path | None:
    """The nearest ``litefleet.toml``: in a folder, or the folders above it."""
    folder = start.resolve()
    for candidate in (folder, *folder.parents):
        if (candidate / FILE_NAME).is_file():
            return candidate / FILE_NAME
    return None


def load_project(path: Path) -> Project:
    """Read a project file.

    Raises:
        ConfigError: It cannot be read, is no TOML, has unknown keys or values of the wrong type.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"project file {path} cannot be read: {error.strerror}") from error
    if len(content) > _MAX_BYTES:
        raise ConfigError(f"project file {path} is larger than {_MAX_BYTES} bytes")
    found = parse_project(content, str(path))
    table = found.pack
    folder = path.resolve().parent
    placed = {key: str(folder / getattr(table, key)) for key in _PATHS if getattr(table, key)}
    return Project(msgspec.structs.replace(table, **placed), found.task_options, path)


def parse_project(content: bytes, where: str = FILE_NAME) -> ProjectFile:
    """Read a project file from TOML.

    Raises:
        ConfigError: It is no TOML, has unknown keys or values of the wrong type.
    """
    try:
        raw = msgspec.toml.decode(content)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise ConfigError(f"{where} is no TOML file: {error}") from error
    faults = list(_unknown_keys(raw))
    if faults:
        raise ConfigError(f"{where} is not usable", faults=faults)
    try:
        return msgspec.convert(raw, ProjectFile)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{where} is not usable: {error}") from error


def _unknown_keys(raw: Mapping[str, Any]) -> Iterator[str]:
    for where, table, kind in (("", raw, ProjectFile), ("pack.", raw.get("pack"), PackTable)):
        known = {field.encode_name for field in msgspec.structs.fields(kind)}
        for key in table if isinstance(table, Mapping) else ():
            if key not in known:
                shown = key[:_KEY_SHOWN_CHARS]
                yield f"{where}{shown}: unknown key, {nearest(shown, known)}"


def override(project: Project, flags: Mapping[str, Any]) -> PackTable:
    """The settings in force: a flag that was given (is not None) instead of the file's value.

    Args:
        project: From the file.
        flags: Field of ``PackTable`` to the flag's value.

    Raises:
        ConfigError: A required setting stands in neither, or one is out of its range.
    """
    given = {key: value for key, value in flags.items() if value is not None}
    table = msgspec.structs.replace(project.pack, **given)
    missing = [
        f"no {key}: give {flag}, or set pack.{key} in {FILE_NAME}"
        for key, flag in REQUIRED.items()
        if not getattr(table, key)
    ]
    if missing:
        raise ConfigError("there is not enough to go by", faults=missing)
    faults = list(_range_faults(table))
    if faults:
        raise ConfigError("a setting is out of its range", faults=faults)
    return table


def _range_faults(table: PackTable) -> Iterator[str]:
    yield from _image_faults(table)
    double = sorted({name for name in table.profiles if table.profiles.count(name) > 1})
    if double:
        yield f"profile {double[0]} is given twice"
    if not 0 <= table.class_floor <= 1:
        yield "class_floor must be 0 to 1"
    if table.confidence and not 0.5 < table.confidence < 1:
        yield "confidence must be above 0.5 and below 1"
    if table.min_samples < 1:
        yield "min_samples must be 1 at least"
    if not 0 <= table.prune < 1:
        yield "prune must be 0 or above, and below 1"
    if table.cluster and not CLUSTERS_LEAST <= table.cluster <= CLUSTERS_MOST:
        yield f"cluster must be 0, or {CLUSTERS_LEAST} to {CLUSTERS_MOST}"
    if not 0 <= table.recovery_trials <= 100:
        yield "recovery_trials must be 0 to 100"


def _image_faults(table: PackTable) -> Iterator[str]:
    for key in ("mean", "std"):
        if not all(map(math.isfinite, numbers(getattr(table, key)))):
            yield f"{key} must be finite"
    if min(numbers(table.std), default=0) <= 0:
        yield "std must be above 0"
    if not 0 <= table.pad <= 255:
        yield "pad must be 0 to 255"
    if table.pad and table.resize != Resize.LETTERBOX.value:
        yield "pad is what a letterbox is filled with, and resize is not letterbox"
    modes = [mode.value for mode in Resize]
    if table.resize and table.resize not in modes:
        yield f"resize {table.resize[:_KEY_SHOWN_CHARS]!r} is none of {', '.join(modes)}"


def numbers(value: float | tuple[float, ...]) -> tuple[float, ...]:
    """One number or several as several."""
    return value if isinstance(value, tuple) else (value,)


def gate_rules(table: PackTable) -> Rules:
    """The gate's rules in a table.

    Raises:
        ConfigError: An allowed loss is not one.
    """
    return Rules(
        max_drop=_allowance(table.max_drop),
        max_class_drop=_allowance(table.max_class_drop) if table.max_class_drop != "" else None,
        class_floor=table.class_floor or None,
        confidence=table.confidence or None,
        min_samples=table.min_samples,
        recovery_trials=table.recovery_trials,
    )


def _allowance(value: float | str) -> Allowance:
    return parse_allowance(value if isinstance(value, str) else repr(value))
