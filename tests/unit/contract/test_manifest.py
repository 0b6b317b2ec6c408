"""The manifest's parser and its three checks."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from contract.errors import ManifestError
from contract.manifest import (
    MANIFEST_MAX_BYTES,
    Artifact,
    BundleRequires,
    ClassificationPostprocessing,
    Color,
    ImagePreprocessing,
    Tolerance,
    VariantMetrics,
    VariantRequires,
    check_built,
    check_input,
    check_received,
    parse_manifest,
    serialize_manifest,
)
from contract.tensor import Layout
from tests.support.builders import a_manifest, a_variant
from tests.support.contract_builders import JSON_VALUES

GRAY = ImagePreprocessing(width=8, height=8, color=Color.GRAYSCALE, mean=(0.0,), std=(255.0,))


def replaced(struct: Any, **changes: Any) -> Any:
    return msgspec.structs.replace(struct, **changes)


def built_faults(**changes: Any) -> tuple[str, ...]:
    with pytest.raises(ManifestError) as caught:
        check_built(a_manifest(**changes))
    return caught.value.faults


# Reading


def test_a_manifest_survives_writing_and_reading() -> None:
    manifest = a_manifest(preprocessing=GRAY, postprocessing=ClassificationPostprocessing(top_k=3))
    assert parse_manifest(serialize_manifest(manifest)) == manifest
    assert serialize_manifest(parse_manifest(serialize_manifest(manifest))) == serialize_manifest(manifest)


def test_equal_manifests_have_the_same_bytes() -> None:
    provenance = a_manifest().provenance
    forth = a_manifest(provenance=replaced(provenance, tools={"a": "1", "b": "2"}))
    back = a_manifest(provenance=replaced(provenance, tools={"b": "2", "a": "1"}))
    assert serialize_manifest(forth) == serialize_manifest(back)


def test_unknown_fields_are_ignored_and_unknown_words_refused() -> None:
    document = json.loads(serialize_manifest(a_manifest()))
    document["invented"] = {"tomorrow": [1]}
    document["variants"][0]["invented"] = True
    assert parse_manifest(json.dumps(document).encode()) == a_manifest()
    document["variants"][0]["precision"] = "int3"
    with pytest.raises(ManifestError, match="int3"):
        parse_manifest(json.dumps(document).encode())


@given(st.binary(max_size=200))
@example(b"")
@example(b"null")
@example(b"{}")
@example(b"[" * 200_000)
@example(b'{"x":' * 150_000)
@example(b'{"model":"\\ud800"}')
@example(b'{"model":"\xed\xa0\x80"}')
@example(b'{"schema":NaN}')
@example(b'{"schema":1e999}')
@example(b'{"schema":' + b"9" * 5000 + b"}")
def test_arbitrary_bytes_raise_manifest_error_alone(content: bytes) -> None:
    with pytest.raises(ManifestError):
        parse_manifest(content)


@given(JSON_VALUES)
def test_arbitrary_json_raises_manifest_error_alone(value: Any) -> None:
    with pytest.raises(ManifestError):
        parse_manifest(json.dumps(value).encode())


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        found += _places(inner, (*path, key))
    return found


FULL = json.loads(serialize_manifest(a_manifest(preprocessing=GRAY)))
PLACES = _places(FULL)
NASTY: st.SearchStrategy[Any] = st.sampled_from(
    [0, -1, 2**53, 2**64, 10**4299, -(10**4299), 1e308, -0.0, "", "\0", "../..", [], {}, None]
)


@given(st.sampled_from(PLACES), JSON_VALUES | NASTY)
def test_a_manifest_spoiled_anywhere_is_sound_or_raises_manifest_error_alone(
    place: tuple[Any, ...], value: Any
) -> None:
    document = json.loads(json.dumps(FULL))
    at = document
    for key in place[:-1]:
        at = at[key]
    at[place[-1]] = value
    try:
        manifest = parse_manifest(json.dumps(document).encode())
        check_received(manifest, model="digits", version="1.0.0", profile="generic-x86-64")
    except ManifestError as error:
        assert len(error.summary()) < 20_000  # noqa: PT017 - the assertion is about every error there may be
        return
    assert parse_manifest(serialize_manifest(manifest)) == manifest


def test_a_manifest_has_at_most_one_mebibyte() -> None:
    content = serialize_manifest(a_manifest())
    fits = content + b" " * (MANIFEST_MAX_BYTES - len(content))
    assert parse_manifest(fits) == a_manifest()
    with pytest.raises(ManifestError, match="at most 1048576"):
        parse_manifest(fits + b" ")


@pytest.mark.timeout(20)
def test_a_manifest_of_a_hundred_thousand_faults_is_refused_in_a_short_text() -> None:
    spec = a_manifest().inputs[0]
    with pytest.raises(ManifestError) as caught:
        check_input(a_manifest(inputs=(replaced(spec, shape=(0,)),) * 100_000))
    assert len(caught.value.faults) == 51
    assert caught.value.faults[-1].startswith("and 99")
    with pytest.raises(ManifestError) as caught:
        check_input(a_manifest(model="m" * 500_000, version="v" * 500_000))
    assert len(caught.value.summary()) < 1000


# What the author wrote


def test_a_sound_manifest_passes_all_checks() -> None:
    check_input(a_manifest())
    check_built(a_manifest())
    check_received(a_manifest(), model="digits", version="1.0.0", profile="generic-x86-64")


def test_what_the_author_writes_needs_nothing_that_the_packager_adds() -> None:
    author = a_manifest(variants=(), golden=None, requires=None, provenance=None)
    check_input(author)
    with pytest.raises(ManifestError) as caught:
        check_built(author)
    assert caught.value.faults == (
        "variants: 0, 1 to 32 are possible",
        "golden: missing",
        "requires: missing",
        "provenance: missing",
    )


SPEC = a_manifest().inputs[0]
SCORES = a_manifest().outputs[0]
INPUT: list[tuple[dict[str, Any], str]] = [
    ({"schema": 2}, "schema: 2 is not 1"),
    ({"model": "Digits"}, "model: 'Digits' is not a model name"),
    ({"version": "1.0"}, "version: '1.0' is not a version"),
    ({"profile": "a/b"}, "profile: 'a/b' is not a profile id"),
    ({"inputs": ()}, "inputs: 0 tensors, 1 to 64 are possible"),
    ({"inputs": (SPEC, SPEC)}, "inputs: a name appears twice"),
    (
        {"outputs": (replaced(SCORES, shape=(-1, 0)),), "labels": ()},
        "outputs[0]: dimension 0 is neither positive",
    ),
    ({"labels": ("zero",)}, "labels: 1 for 10 scores"),
    (
        {"outputs": (replaced(SCORES, shape=(-1, -1)),), "labels": ("x",) * 10_001},
        "labels: 10001 are more than 10000",
    ),
    ({"postprocessing": ClassificationPostprocessing(top_k=0)}, "postprocessing: top_k must be above 0"),
    (
        {"preprocessing": replaced(GRAY, color=Color.RGB), "inputs": (replaced(SPEC, shape=(-1, 8, 8, 3)),)},
        "preprocessing: rgb needs 3 values of mean and std",
    ),
    ({"preprocessing": replaced(GRAY, std=())}, "preprocessing: grayscale needs 1 values of mean and std"),
    (
        {"preprocessing": replaced(GRAY, std=(0.0,))},
        "preprocessing: mean must be finite, std finite and above 0",
    ),
    (
        {"preprocessing": replaced(GRAY, mean=(float("nan"),))},
        "preprocessing: mean must be finite, std finite and above 0",
    ),
    ({"preprocessing": replaced(GRAY, pad=256)}, "preprocessing: pad 256 is not within 0 to 255"),
    (
        {"preprocessing": replaced(GRAY, layout=Layout.NC)},
        "preprocessing: layout NC is none of images, use NHWC or NCHW",
    ),
    (
        {"preprocessing": replaced(GRAY, layout=Layout.NCHW)},
        "preprocessing: gives (1, 8, 8), inputs[0] wants (8, 8, 1)",
    ),
    ({"preprocessing": replaced(GRAY, width=9)}, "preprocessing: gives (8, 9, 1), inputs[0] wants (8, 8, 1)"),
]


@pytest.mark.parametrize(("changes", "fault"), INPUT)
def test_a_fault_of_the_author_is_named(changes: dict[str, Any], fault: str) -> None:
    with pytest.raises(ManifestError) as caught:
        check_input(a_manifest(**changes))
    assert len(caught.value.faults) == 1
    assert caught.value.faults[0].startswith(fault)


def test_preprocessing_to_nothing_is_refused() -> None:
    faults = built_faults(preprocessing=replaced(GRAY, height=0))
    assert "preprocessing: width and height must be above 0" in faults


def test_labels_may_stand_beside_free_missing_and_scalar_scores() -> None:
    labels = ("a", "b")
    for shape in ((-1, -1), (), (-1, 2)):
        check_input(a_manifest(labels=labels, outputs=(replaced(SCORES, shape=shape),)))
    check_input(a_manifest(preprocessing=GRAY))
    with pytest.raises(ManifestError) as caught:
        check_input(a_manifest(labels=labels, inputs=(), outputs=(), preprocessing=GRAY))
    assert len(caught.value.faults) == 2


# What the packager completed

BUILT: list[tuple[dict[str, Any], str]] = [
    ({"name": "Float 32"}, "variants[0].name: 'Float 32' is not a model name"),
    ({"artifact": Artifact(sha256="5F" * 32, size_bytes=1)}, "variants[0].artifact.sha256: '5F"),
    (
        {"artifact": Artifact(sha256="5f" * 32, size_bytes=0)},
        "variants[0].artifact.size_bytes: 0 is not within 1 to",
    ),
    (
        {"artifact": Artifact(sha256="5f" * 32, size_bytes=(2 << 30) + 1)},
        "variants[0].artifact.size_bytes: 2147483649",
    ),
    (
        {"requires": VariantRequires(min_version="2.17")},
        "variants[0].requires.min_version: '2.17' is not a version",
    ),
    ({"peak_memory_bytes": 0}, "variants[0].peak_memory_bytes: must be above 0"),
]


@pytest.mark.parametrize(("changes", "fault"), BUILT)
def test_a_fault_of_a_variant_is_named(changes: dict[str, Any], fault: str) -> None:
    golden = replaced(a_manifest().golden, tolerance={"float32": Tolerance(max_abs_error=0.1)})
    if "name" in changes:
        golden = replaced(golden, tolerance={changes["name"]: Tolerance(max_abs_error=0.1)})
    (found,) = built_faults(variants=(a_variant(**changes),), golden=golden)
    assert found.startswith(fault)


METRICS: list[tuple[dict[str, Any], str]] = [
    ({"value": 1.1}, "value and float_value must be 0 to 1"),
    ({"float_value": float("nan")}, "value and float_value must be 0 to 1"),
    ({"samples": 0}, "samples: at least one is needed"),
    ({"host_latency_ms_p50": -1.0}, "host_latency_ms_p50: must be finite and not negative"),
    ({"host_latency_ms_p50": float("inf")}, "host_latency_ms_p50: must be finite and not negative"),
]


@pytest.mark.parametrize(("changes", "fault"), METRICS)
def test_a_fault_of_what_was_measured_is_named(changes: dict[str, Any], fault: str) -> None:
    metrics = replaced(a_variant().metrics, **changes)
    (found,) = built_faults(variants=(a_variant(metrics=metrics),))
    assert found.endswith(fault)


def test_variants_are_named_apart_and_bounded_in_number() -> None:
    assert built_faults(variants=(a_variant(), a_variant())) == ("variants: a name appears twice",)
    assert "variants: 33, 1 to 32 are possible" in built_faults(variants=(a_variant(),) * 33)


def test_one_file_cannot_have_two_sizes() -> None:
    artifact = a_variant().artifact
    liar = a_variant(name="liar", artifact=replaced(artifact, size_bytes=artifact.size_bytes + 1))
    golden = a_manifest().golden
    assert golden is not None
    tolerance = {"float32": Tolerance(max_abs_error=0.1), "liar": Tolerance(max_abs_error=0.1)}
    faults = built_faults(variants=(a_variant(), liar), golden=replaced(golden, tolerance=tolerance))
    assert faults == (f"variants[0].artifact: {artifact.sha256} has two sizes",)


GOLDEN: list[tuple[dict[str, Any], str]] = [
    ({"artifact": Artifact(sha256="", size_bytes=1)}, "golden.artifact.sha256: '' is not a digest"),
    ({"samples": 0}, "golden.samples: at least one is needed"),
    ({"tolerance": {}}, "golden.tolerance: missing for float32"),
    ({"tolerance": {"float32": Tolerance(max_abs_error=-0.1)}}, "golden.tolerance.float32: error must be"),
    (
        {"tolerance": {"float32": Tolerance(max_abs_error=float("nan"))}},
        "golden.tolerance.float32: error must be",
    ),
    (
        {"tolerance": {"float32": Tolerance(max_abs_error=0.1, min_top1_agreement=1.5)}},
        "golden.tolerance.float32: error must be",
    ),
    (
        {"tolerance": {"float32": Tolerance(max_abs_error=0.1, outputs={"boxes": -1.0})}},
        "golden.tolerance.float32: error must be",
    ),
]


@pytest.mark.parametrize(("changes", "fault"), GOLDEN)
def test_a_fault_of_the_golden_inputs_is_named(changes: dict[str, Any], fault: str) -> None:
    (found,) = built_faults(golden=replaced(a_manifest().golden, **changes))
    assert found.startswith(fault)


def test_requirements_and_provenance_are_checked() -> None:
    requires = BundleRequires(memory_bytes=-1, disk_bytes=0, agent="new")
    provenance = replaced(a_manifest().provenance, source_sha256="x", evaluation_sha256="")
    assert built_faults(requires=requires, provenance=provenance) == (
        "requires.agent: 'new' is not a version",
        "requires: memory_bytes and disk_bytes must not be negative",
        "provenance.source_sha256: 'x' is not a digest",
        "provenance.evaluation_sha256: '' is not a digest",
    )
    assert len(built_faults(requires=BundleRequires(memory_bytes=0, disk_bytes=-1))) == 1


# What a device got


@pytest.mark.parametrize("key", ["model", "version", "profile"])
def test_another_release_or_profile_than_asked_for_is_refused(key: str) -> None:
    asked = {"model": "digits", "version": "1.0.0", "profile": "generic-x86-64"} | {key: "1.1.1"}
    with pytest.raises(ManifestError) as caught:
        check_received(a_manifest(), **asked)
    assert caught.value.faults == (f"{key}: asked for '1.1.1', got {getattr(a_manifest(), key)!r}",)


def test_a_device_also_refuses_what_the_other_checks_refuse() -> None:
    with pytest.raises(ManifestError) as caught:
        check_received(a_manifest(schema=3, golden=None), model="digits", version="1.0.0", profile="p")
    assert len(caught.value.faults) == 3


def test_the_artifacts_are_every_file_once() -> None:
    manifest = a_manifest()
    assert manifest.golden is not None
    assert list(manifest.artifacts().values()) == [manifest.variants[0].artifact, manifest.golden.artifact]
    author = a_manifest(variants=(), golden=None)
    assert author.artifacts() == {}
    assert a_manifest(variants=(a_variant(), a_variant(name="b"))).artifacts() == manifest.artifacts()


def test_where_a_manifest_stands_in_the_release_repository() -> None:
    assert a_manifest().target_path() == "digits/1.0.0/generic-x86-64/manifest.json"


def test_the_drop_is_what_is_lost_against_float() -> None:
    metrics = VariantMetrics(metric="accuracy", value=0.75, float_value=1.0, samples=4)
    assert metrics.drop == 0.25
