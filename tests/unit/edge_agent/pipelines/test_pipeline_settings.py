from __future__ import annotations

import msgspec
import pytest

from contract.errors import ConfigError
from edge_agent.pipelines.settings import (
    CombinedSettings,
    EnsembleSettings,
    PipelineSettings,
    StageSettings,
    combined_faults,
    parse_combined,
)

FIRST = StageSettings(model="finder")
CROP = StageSettings(model="reader", crop="boxes", min_score=0.5, top=3, padding=0.1)
FEED = StageSettings(model="head", feed={"out": "in"})


def a_pipeline(*stages: StageSettings, name: str = "doorbell") -> CombinedSettings:
    return CombinedSettings(pipelines=(PipelineSettings(name=name, stages=stages or (FIRST, CROP)),))


def an_ensemble(*models: str, name: str = "both", min_members: int = 0) -> CombinedSettings:
    ensemble = EnsembleSettings(name=name, models=models or ("one", "other"), min_members=min_members)
    return CombinedSettings(ensembles=(ensemble,))


def a_chain(name: str, *models: str) -> PipelineSettings:
    stages = [
        StageSettings(model=model, feed={"a": "b"} if index else {}) for index, model in enumerate(models)
    ]
    return PipelineSettings(name=name, stages=tuple(stages))


@pytest.mark.parametrize(
    "settings",
    [
        CombinedSettings(),
        a_pipeline(),
        a_pipeline(FIRST, CROP, FEED),
        a_pipeline(FIRST, FEED, CROP),
        an_ensemble(),
        an_ensemble("a", "b", "c", min_members=2),
        CombinedSettings(
            pipelines=(
                a_chain("one", "a", "two"),
                a_chain("two", "a", "both"),
                a_chain("three", "two", "two"),
            ),
            ensembles=an_ensemble("a", "b").ensembles,
        ),
    ],
)
def test_sound_settings_have_no_fault_and_survive_the_way_to_the_process(settings: CombinedSettings) -> None:
    assert combined_faults(settings) == []
    assert parse_combined(msgspec.json.encode(settings).decode()) == settings


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        (a_pipeline(name="Door bell"), "pipelines[0].name: "),
        (a_pipeline(StageSettings(model="-"), CROP), "pipelines[0].stages[0].model: "),
        (a_pipeline(CROP, FEED), "stages[0]: the first stage gets the request, it has neither crop nor feed"),
        (a_pipeline(FIRST, FIRST), "pipelines[0].stages[1]: give either crop"),
        (
            a_pipeline(FIRST, StageSettings(model="a", crop="boxes", feed={"a": "b"})),
            "pipelines[0].stages[1]: give either crop",
        ),
        (a_pipeline(FIRST, StageSettings(model="a", feed={"a": "b"}, top=2)), "are for a stage with crop"),
        (a_pipeline(FIRST, StageSettings(model="a", feed={"a": "c", "b": "c"})), "feed: 'c' is fed twice"),
        (a_pipeline(FIRST, CROP, CROP), "stages: one stage may crop"),
        (an_ensemble(name=""), "ensembles[0].name: "),
        (an_ensemble("one", "O"), "ensembles[0].models[1]: "),
        (an_ensemble("one", "both"), "ensembles[0].models[1]: 'both' is a pipeline or ensemble"),
        (an_ensemble("one", "one", "one"), "ensembles[0].models: 'one' stands twice"),
        (an_ensemble(min_members=3), "ensembles[0].min_members: 3 of 2 models"),
        (
            CombinedSettings(pipelines=a_pipeline(name="both").pipelines, ensembles=an_ensemble().ensembles),
            "'both' names more than one pipeline or ensemble",
        ),
        (
            CombinedSettings(
                pipelines=(a_chain("a", "x", "b"), a_chain("b", "c", "y"), a_chain("c", "z", "b"))
            ),
            "pipelines ask each other in a circle: b > c > b",
        ),
        (CombinedSettings(pipelines=(a_chain("a", "a", "a"),)), "in a circle: a > a"),
    ],
)
def test_a_fault_is_named(settings: CombinedSettings, fault: str) -> None:
    faults = combined_faults(settings)
    assert [text for text in faults if fault in text] == faults
    assert len(faults) == 1
    with pytest.raises(ConfigError):
        parse_combined(msgspec.json.encode(settings).decode())


def test_what_is_no_settings_is_refused() -> None:
    with pytest.raises(ConfigError, match="cannot be used"):
        parse_combined('{"pipelines": 3}')


def test_all_members_must_be_there_unless_fewer_are_enough() -> None:
    assert [an_ensemble(min_members=least).ensembles[0].least for least in (0, 1, 2)] == [2, 1, 2]
    assert an_ensemble().names == {"both"}
