"""Which kinds of tasks there are, which models fit them, and what their options say."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from contract.errors import ConfigError
from contract.tensor import DType
from packager.description import Source, check_source
from packager.tasks.classification import KIND
from packager.tasks.kind import NoOptions, parse_options
from packager.tasks.kinds import DEFAULT_KIND, KINDS, find_kind
from tests.support.packager_builders import description


def digits(image: dict[str, Any] | None = None, scores: dict[str, Any] | None = None) -> Source:
    source = check_source(description(), "m")
    return replace(
        source,
        inputs=(msgspec.structs.replace(source.inputs[0], **(image or {})),),
        outputs=(msgspec.structs.replace(source.outputs[0], **(scores or {})),),
    )


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    neighbours: int = 1
    names: tuple[str, ...] = ()


WITH_OPTIONS = replace(KIND, name="other", options=Options)


def test_every_kind_is_found_by_its_name() -> None:
    assert find_kind(DEFAULT_KIND).name == "classification"
    assert [find_kind(name).name for name in KINDS] == list(KINDS)


def test_an_unknown_kind_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(ConfigError, match="there is no task 'clasification'") as refused:
        find_kind("clasification")
    assert "classification" in refused.value.remedy


def test_options_come_as_texts_from_the_command_line_and_as_values_from_the_file() -> None:
    assert parse_options(WITH_OPTIONS, {"neighbours": "5"}) == Options(neighbours=5)
    assert parse_options(WITH_OPTIONS, {"neighbours": 5, "names": ["a"]}) == Options(
        neighbours=5, names=("a",)
    )
    assert parse_options(KIND, {}) == NoOptions()


@pytest.mark.parametrize(
    ("kind", "raw", "wanted"),
    [
        (WITH_OPTIONS, {"neighbors": "5"}, "task other has no option neighbors: .*neighbours"),
        (KIND, {"k": "5"}, "task classification has no option k: it has none"),
        (WITH_OPTIONS, {"neighbours": "many"}, "an option of task other is not usable: .*neighbours"),
    ],
)
def test_options_that_are_unknown_or_of_another_type_are_refused(
    kind: Any, raw: dict[str, Any], wanted: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_options(kind, raw)
    assert re.search(wanted, refused.value.summary())


@pytest.mark.parametrize(
    "source",
    [
        digits(),
        digits(image={"shape": (-1, 8, 8, 3)}, scores={"shape": (-1, 10)}),
        digits(image={"shape": (1, 3, 224, 224)}),
    ],
)
def test_an_image_classifier_fits_whichever_end_its_channels_are_at(source: Source) -> None:
    assert KIND.borders(source, NoOptions()) == []


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        (digits(image={"dtype": DType.UINT8}), "input image is uint8, not float32"),
        (digits(scores={"dtype": DType.INT64}), "output probabilities is int64, not float32"),
        (digits(image={"shape": (1, 8, 8)}), "input image has shape (1, 8, 8), not (1, H, W, C)"),
        (digits(image={"shape": (4, 8, 8, 1)}), "input image has shape (4, 8, 8, 1), not (1, H, W, C)"),
        (digits(image={"shape": (1, 8, 8, 4)}), "input image has shape (1, 8, 8, 4), not (1, H, W, C)"),
        (digits(scores={"shape": (1, 4, 4, 10)}), "output probabilities has shape (1, 4, 4, 10), not"),
        (digits(scores={"shape": (1, 1)}), "output probabilities has shape (1, 1), not (1, classes)"),
        (replace(digits(), inputs=digits().inputs * 2), "2 inputs, one is possible"),
    ],
)
def test_a_model_that_is_no_image_classifier_does_not_fit(source: Source, wanted: str) -> None:
    faults = KIND.borders(source, NoOptions())
    assert len(faults) == 1
    assert faults[0].startswith(wanted)
