"""From the command line and the project file to what is packed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from contract.errors import ConfigError, ManifestError
from contract.identifiers import parse_model, parse_version
from contract.manifest import Resize
from firmware_profiles import load_profile
from packager.app import PackRequest
from packager.cache import default_cache_folder
from packager.compression.plan import Compression
from packager.preprocess import Fitting
from packager.project import Project, find_project, gate_rules, load_project, numbers, override
from packager.reporting.project_text import project_text


def pack_request(
    project_file: Path | None, flags: dict[str, Any], echo: Callable[[str], None]
) -> PackRequest:
    """Put together what is asked for, and check what can be checked without looking at a model or a sample.

    Args:
        project_file: Given by the user; None to look for the nearest.
        flags: Of the command line by their names in the project file; None for those not given.
        echo: Told which file is used.

    Raises:
        ConfigError: Something is missing, unknown or out of its range.
    """
    path = project_file or find_project(Path.cwd())
    flags["profiles"] = flags["profiles"] or None
    task_options = dict(flags.pop("task_options"))
    if path:
        echo(f"settings from {path}")
    found = load_project(path) if path else Project()
    table = override(found, flags)
    try:
        parse_model(table.name)
        parse_version(table.version)
    except ManifestError as error:
        raise ConfigError(str(error), remedy=error.remedy) from error
    profiles = tuple(load_profile(name) for name in table.profiles)
    rules = gate_rules(table)

    options = {**found.task_options, **task_options}
    return PackRequest(
        model=Path(table.model),
        name=table.name,
        version=table.version,
        profiles=profiles,
        evaluation=Path(table.evaluation),
        calibration=_optional(table.calibration),
        labels=_optional(table.labels),
        baseline=_optional(table.baseline),
        rules=rules,
        mean=numbers(table.mean),
        std=numbers(table.std),
        fitting=Fitting(Resize(table.resize) if table.resize else None, table.pad, table.bgr),
        task=table.task,
        task_options=options,
        folder=path.resolve().parent if path else Path.cwd(),
        output=Path(table.output),
        compression=Compression(table.prune, table.cluster),
        cache=default_cache_folder() if table.cache else None,
        is_reported=table.report,
        project=project_text(table, options),
    )


def _optional(path: str) -> Path | None:
    return Path(path) if path else None
