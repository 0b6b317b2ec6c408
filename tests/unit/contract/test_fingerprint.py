"""The fingerprint in a manifest: what is refused, and that it fits."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest

from contract.errors import ManifestError
from contract.fingerprint import (
    MAX_ALL_CHANNELS,
    MAX_CHANNELS,
    MAX_CLASSES,
    MAX_EDGES,
    AnswerFingerprint,
    Basis,
    ChannelFingerprint,
    Fingerprint,
    TensorFingerprint,
    channel_faults,
    fingerprint_faults,
)
from contract.manifest import MANIFEST_MAX_BYTES, check_built, parse_manifest, serialize_manifest
from tests.support.builders import a_manifest

CHANNEL = ChannelFingerprint(mean=0.5, std=0.1, low=0.0, high=1.0, edges=(0.25, 0.75), counts=(1, 8, 1))
TENSOR = TensorFingerprint(name="image", channels=(CHANNEL,))
SCORES = TensorFingerprint(name="probabilities", channels=(CHANNEL,), is_pooled=True)
ANSWERS = AnswerFingerprint(best_score=CHANNEL, classes=(4, 6))
WHOLE = Fingerprint(basis=Basis.CALIBRATION, samples=10, inputs=(TENSOR,), outputs=(SCORES,), answers=ANSWERS)


def changed(struct: Any, **changes: Any) -> Any:
    return msgspec.structs.replace(struct, **changes)


def test_a_manifest_with_a_fingerprint_survives_writing_and_reading() -> None:
    manifest = a_manifest(fingerprint=WHOLE)
    check_built(manifest)
    assert parse_manifest(serialize_manifest(manifest)) == manifest
    assert CHANNEL.count == 10
    check_built(a_manifest(fingerprint=changed(WHOLE, answers=None)))


def test_a_manifest_without_a_fingerprint_is_what_it_was_before_there_were_any() -> None:
    assert b"fingerprint" not in serialize_manifest(a_manifest())
    check_built(a_manifest())


def test_a_basis_that_nobody_knows_is_refused() -> None:
    content = serialize_manifest(a_manifest(fingerprint=WHOLE))
    with pytest.raises(ManifestError, match="hearsay"):
        parse_manifest(content.replace(b'"basis":"calibration"', b'"basis":"hearsay"'))


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"mean": math.nan}, "numbers must be finite"),
        ({"edges": (0.25, math.inf)}, "numbers must be finite"),
        ({"std": -0.1}, "std must not be negative"),
        ({"low": 2.0}, "low not above high"),
        ({"edges": (0.75, 0.25)}, "edges must rise"),
        ({"edges": (0.25, 0.25)}, "edges must rise"),
        ({"edges": (0.25,)}, "3 counts for 1 edges"),
        ({"edges": tuple(map(float, range(MAX_EDGES + 1)))}, "more than 31 edges"),
        ({"counts": (-1, 8, 3)}, "must not be negative"),
        ({"counts": (0, 0, 0)}, "not all 0"),
        ({"counts": (2**53, 0, 0)}, "not all 0"),
    ],
)
def test_a_channel_that_cannot_be_compared_is_refused(changes: dict[str, Any], fault: str) -> None:
    assert fault in "; ".join(channel_faults(changed(CHANNEL, **changes), "x"))


BROKEN = changed(CHANNEL, mean=math.inf)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"samples": 0}, "at least one is needed"),
        ({"inputs": (changed(TENSOR, name="other"),)}, "there is no 'other'"),
        ({"outputs": (SCORES, SCORES)}, "a name appears twice"),
        ({"inputs": (changed(TENSOR, name=""),)}, "name must have 1 to 256"),
        ({"inputs": (changed(TENSOR, channels=()),)}, "0 channels, 1 to 64"),
        ({"inputs": (changed(TENSOR, channels=(CHANNEL,) * (MAX_CHANNELS + 1)),)}, "65 channels, 1 to 64"),
        ({"outputs": (changed(SCORES, channels=(CHANNEL, CHANNEL)),)}, "counted as one channel and has 2"),
        ({"inputs": (changed(TENSOR, channels=(BROKEN,)),)}, "fingerprint.inputs[0].channels[0]: numbers"),
        ({"answers": changed(ANSWERS, classes=(1,))}, "1 classes, 2 to 10000"),
        ({"answers": changed(ANSWERS, classes=(1,) * (MAX_CLASSES + 1))}, "10001 classes"),
        ({"answers": changed(ANSWERS, classes=(1, -1))}, "counts must be 0 to"),
        ({"answers": changed(ANSWERS, best_score=BROKEN)}, "answers.best_score: numbers"),
    ],
)
def test_a_fingerprint_that_does_not_fit_its_model_is_refused(changes: dict[str, Any], fault: str) -> None:
    manifest = a_manifest(fingerprint=changed(WHOLE, **changes))
    with pytest.raises(ManifestError) as caught:
        check_built(manifest)
    assert fault in caught.value.summary()


def test_more_channels_than_a_manifest_has_room_for_are_refused_without_looking_at_each() -> None:
    broken = changed(TENSOR, channels=(BROKEN,) * 64)
    faults = fingerprint_faults(changed(WHOLE, inputs=(broken,) * 9), ["image"], ["probabilities"])
    assert len(faults) == 1
    assert "10 tensors with 577 channels" in faults[0]


def test_many_broken_channels_are_told_in_a_few_lines() -> None:
    broken = changed(WHOLE, inputs=(changed(TENSOR, channels=(BROKEN,) * 64),))
    assert len(fingerprint_faults(broken, ["image"], ["probabilities"])) == 4


def test_the_largest_fingerprint_leaves_the_manifest_below_its_limit() -> None:
    wordy = ChannelFingerprint(
        mean=-1.234567e-300,
        std=1.234567e-300,
        low=-1.234567e-300,
        high=1.234567e300,
        edges=tuple(1.234567e-300 * step for step in range(1, 10)),
        counts=(2**40,) * 10,
    )
    names = [f"x{index}" for index in range(MAX_ALL_CHANNELS // MAX_CHANNELS)]
    fingerprint = Fingerprint(
        basis=Basis.EVALUATION,
        samples=1,
        inputs=tuple(TensorFingerprint(name=name, channels=(wordy,) * MAX_CHANNELS) for name in names),
        outputs=(),
        answers=AnswerFingerprint(best_score=wordy, classes=(10**6,) * MAX_CLASSES),
    )
    assert fingerprint_faults(fingerprint, names, []) == []
    assert len(msgspec.json.encode(fingerprint)) < MANIFEST_MAX_BYTES * 0.4
