"""Whether samples can carry a decision."""

from __future__ import annotations

import pytest

from contract.errors import ManifestError
from packager.rules import Rules
from packager.samples import check_samples, sample_warnings
from tests.support.packager_builders import classified


def test_too_few_samples_are_refused_and_just_enough_are_not() -> None:
    with pytest.raises(
        ManifestError, match="there are 99 evaluation samples, at least 100 are needed"
    ) as refused:
        check_samples(classified([1] * 99, [1] * 99), Rules())
    assert "--min-samples" in refused.value.remedy
    check_samples(classified([1] * 100, [1] * 100), Rules())


def test_samples_that_calibration_has_too_are_told() -> None:
    evaluation = classified([1, 2, 3], [0, 1, 2])
    (warning,) = sample_warnings(evaluation, classified([9, 3, 2], [0, 0, 0]))
    assert warning.startswith("2 of 3 evaluation samples are calibration samples too")
    assert sample_warnings(evaluation, classified([8, 9], [0, 0])) == ()
    assert sample_warnings(evaluation, None) == ()


def test_classes_that_nothing_is_measured_of_are_told_by_name() -> None:
    (warning,) = sample_warnings(classified([1], [0], labels=("cat", "dog", "owl")), None)
    assert warning == "no evaluation sample is of class dog, owl: nothing is measured there"
    (many,) = sample_warnings(classified([1], [0], count=9), None)
    assert "of class 1, 2, 3, 4, 5 and 3 more" in many
