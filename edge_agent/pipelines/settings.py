"""What pipelines and ensembles are told, by the agent's configuration and by their process's command line.

PURE. Rules:

1. A name belongs to one pipeline or one ensemble, and no model of that name can be deployed beside it.
2. A pipeline may ask another pipeline or an ensemble, but never itself, on whatever way round. An ensemble asks models.
3. Whether the models are there, and fit each other, is not known here: models come and go while the agent runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Literal

import msgspec

from contract.errors import ConfigError, ManifestError
from contract.identifiers import parse_model

MAX_CROPS = 64
"""Every crop is a request of its own to the next model."""
_NO_CROP: Literal[""] = ""

_Name = Annotated[str, msgspec.Meta(max_length=256)]
_Deadline = Annotated[float, msgspec.Meta(gt=0, le=600)]


class StageSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One model of a pipeline. The first gets the request; a later one has either ``crop`` or ``feed``.

    Attributes:
        model: Model, ensemble or other pipeline that is asked.
        crop: ``boxes``: it is asked about the part of the image in each box that the stage before found.
        min_score: Only boxes with this score at least, 0 to 1.
        top: Most crops, the best scores first.
        padding: Added to each side of a box, as a share of that side.
        feed: Output of the stage before to input of this one.
    """

    model: str
    crop: Literal["", "boxes"] = _NO_CROP
    min_score: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0
    top: Annotated[int, msgspec.Meta(ge=1, le=MAX_CROPS)] = 8
    padding: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0
    feed: Annotated[dict[_Name, _Name], msgspec.Meta(max_length=32)] = msgspec.field(default_factory=dict)


class PipelineSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Models that are asked one after the other; applications ask for the pipeline's name.

    Attributes:
        name: As of a model.
        stages: In the order in which they are asked.
        deadline_s: Longest time for all stages together, seconds.
    """

    name: str
    stages: Annotated[tuple[StageSettings, ...], msgspec.Meta(min_length=2, max_length=8)]
    deadline_s: _Deadline = 5.0


class EnsembleSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Classifiers with the same labels, or regressions, that answer together; applications ask for the ensemble's name.

    Attributes:
        name: As of a model.
        models: Which are asked.
        method: ``mean`` of their probabilities or numbers, or ``vote``: the class that most of them take for the best.
        min_members: How many of the models must be deployed; 0 for all.
        deadline_s: Longest time for all members together, seconds.
    """

    name: str
    models: Annotated[tuple[str, ...], msgspec.Meta(min_length=2, max_length=8)]
    method: Literal["mean", "vote"] = "mean"
    min_members: Annotated[int, msgspec.Meta(ge=0, le=8)] = 0
    deadline_s: _Deadline = 5.0

    @property
    def least(self) -> int:
        """How many members must be there."""
        return self.min_members or len(self.models)


class CombinedSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that the pipelines' process serves."""

    pipelines: tuple[PipelineSettings, ...] = ()
    ensembles: tuple[EnsembleSettings, ...] = ()

    @property
    def names(self) -> frozenset[str]:
        """Of all pipelines and ensembles."""
        return frozenset(_names(self))


def combined_faults(settings: CombinedSettings) -> list[str]:
    """What is wrong with settings whose every value is within its range; empty when nothing is."""
    faults: list[str] = []
    for index, pipeline in enumerate(settings.pipelines):
        where = f"pipelines[{index}]"
        faults += _name_faults(f"{where}.name", pipeline.name)
        faults += [f"{where}.{fault}" for fault in _stage_faults(pipeline.stages)]
    for index, ensemble in enumerate(settings.ensembles):
        where = f"ensembles[{index}]"
        faults += _name_faults(f"{where}.name", ensemble.name)
        faults += [f"{where}.{fault}" for fault in _ensemble_faults(ensemble, settings.names)]
    faults += [f"{name!r} names more than one pipeline or ensemble" for name in _repeated(_names(settings))]
    asked = {entry.name: [stage.model for stage in entry.stages] for entry in settings.pipelines}
    faults += _cycle_faults(asked)
    return faults


def _names(settings: CombinedSettings) -> list[str]:
    return [entry.name for entry in settings.pipelines] + [entry.name for entry in settings.ensembles]


def _name_faults(where: str, name: str) -> list[str]:
    try:
        parse_model(name)
    except ManifestError as error:
        return [f"{where}: {error.summary()}"]
    return []


def _repeated(names: Iterable[str]) -> list[str]:
    seen: set[str] = set()
    again: list[str] = []
    for name in names:
        if name in seen and name not in again:
            again.append(name)
        seen.add(name)
    return again


def _stage_faults(stages: Sequence[StageSettings]) -> list[str]:
    faults: list[str] = []
    for index, stage in enumerate(stages):
        where = f"stages[{index}]"
        faults += _name_faults(f"{where}.model", stage.model)
        if not index and (stage.crop or stage.feed):
            faults.append(f"{where}: the first stage gets the request, it has neither crop nor feed")
        if index and bool(stage.crop) == bool(stage.feed):
            faults.append(f'{where}: give either crop = "boxes" or feed = {{ output = "input" }}')
        if not stage.crop and (stage.min_score, stage.top, stage.padding) != _UNCROPPED:
            faults.append(f"{where}: min_score, top and padding are for a stage with crop")
        faults += [f"{where}.feed: {name!r} is fed twice" for name in _repeated(stage.feed.values())]
    if sum(bool(stage.crop) for stage in stages) > 1:
        faults.append("stages: one stage may crop; for more, let the last stage be another pipeline")
    return faults


_UNCROPPED = (0.0, 8, 0.0)
"""min_score, top and padding of a stage that says nothing of them."""


def _ensemble_faults(ensemble: EnsembleSettings, names: frozenset[str]) -> list[str]:
    faults: list[str] = []
    for index, model in enumerate(ensemble.models):
        faults += _name_faults(f"models[{index}]", model)
        if model in names:
            faults.append(f"models[{index}]: {model!r} is a pipeline or ensemble, members are models")
    faults += [f"models: {model!r} stands twice" for model in _repeated(ensemble.models)]
    if ensemble.min_members > len(ensemble.models):
        faults.append(f"min_members: {ensemble.min_members} of {len(ensemble.models)} models")
    return faults


def _cycle_faults(asked: Mapping[str, Sequence[str]]) -> list[str]:
    """Pipelines that would wait for their own answer, each told once."""
    done: set[str] = set()
    faults: list[str] = []

    def follow(name: str, way: tuple[str, ...]) -> None:
        if name in way:
            faults.append(
                "pipelines ask each other in a circle: " + " > ".join((*way[way.index(name) :], name))
            )
        elif name in asked and name not in done:
            for model in dict.fromkeys(asked[name]):
                follow(model, (*way, name))
            done.add(name)

    for name in asked:
        follow(name, ())
    return faults


def parse_combined(text: str) -> CombinedSettings:
    """Settings in JSON, as the process gets them.

    Raises:
        ConfigError: Anything about them is wrong.
    """
    try:
        settings = msgspec.json.decode(text, type=CombinedSettings)
    except msgspec.DecodeError as error:
        raise ConfigError(f"the pipelines' settings cannot be used: {error}") from error
    faults = combined_faults(settings)
    if faults:
        raise ConfigError("the pipelines' settings cannot be used", faults=faults)
    return settings
