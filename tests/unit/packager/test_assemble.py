"""The manifest of one profile, and the rows of a report."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import msgspec

from contract.manifest import (
    MANIFEST_MAX_BYTES,
    Artifact,
    ClassificationPostprocessing,
    Golden,
    Manifest,
    Provenance,
    Task,
    Tolerance,
    check_built,
)
from contract.profile import DelegateName, Precision
from packager.assemble import Release, assemble_manifest
from packager.description import check_source
from packager.gate import Measurement, Recovery, Verdict, decide_profile
from packager.plan import Rung
from packager.preprocess import Geometry, plan_preprocessing
from packager.report import PackResult, manifest_json, manifest_rows, pack_json, rung_rows
from packager.rules import Allowance, Rules
from packager.tasks.kind import Presentation
from tests.support.builders import a_manifest, an_artifact
from tests.support.packager_builders import XNNPACK, description, measurement, plan, reference

STATIC, DYNAMIC, FLOAT = Precision.STATIC_INT8, Precision.DYNAMIC_INT8, Precision.FLOAT32
FILES = {STATIC: b"static", FLOAT: b"a float model"}


def release() -> Release:
    return Release(
        name="digits",
        version="1.0.0",
        source=check_source(description(operators=("FULLY_CONNECTED",)), "m"),
        presentation=Presentation(
            task=Task.CLASSIFICATION,
            preprocessing=plan_preprocessing(Geometry(8, 8, 1), (127.5,), (127.5,)),
            postprocessing=ClassificationPostprocessing(softmax=True),
            labels=tuple("0123456789"),
        ),
        metric="accuracy",
        float_value=0.99,
        provenance=Provenance(
            source_name="digits.tflite",
            source_sha256="a" * 64,
            calibration_sha256="b" * 64,
            evaluation_sha256="c" * 64,
            tools={"numpy": "2"},
            recipes={"static-int8": "static_wi8_ai8", "dynamic-int8": "x", "float32": "none"},
        ),
    )


def verdicts() -> tuple[Verdict, ...]:
    measured: dict[tuple[Precision, DelegateName], Measurement | str] = {
        (STATIC, XNNPACK): measurement(peak_memory_bytes=3 << 16, latency_ms_p50=1.5),
        (DYNAMIC, XNNPACK): "no kernel",
        (FLOAT, XNNPACK): measurement(value=0.9),
    }
    return decide_profile(plan((STATIC, DYNAMIC, FLOAT)), measured, reference())


def manifest() -> Manifest:
    artifacts = {precision.value: an_artifact(content) for precision, content in FILES.items()}
    golden = Golden(
        artifact=Artifact(sha256="d" * 64, size_bytes=1000),
        samples=16,
        tolerance={"static-int8": Tolerance(max_abs_error=0.05)},
    )
    return assemble_manifest(release(), "generic-x86-64", verdicts()[:1], artifacts, golden)


def result(bundles: tuple[Path, ...] = ()) -> PackResult:
    return PackResult("digits", "1.0.0", reference(), measurement(), {"board": verdicts()}, (), bundles)


def test_the_manifest_is_complete_and_names_what_the_variant_needs() -> None:
    made = manifest()
    check_built(made)
    (variant,) = made.variants
    assert (variant.name, variant.precision, variant.delegate) == ("static-int8", STATIC, XNNPACK)
    assert variant.requires.min_version == "2.14.0"
    assert (variant.metrics.metric, variant.metrics.value, variant.metrics.float_value) == (
        "accuracy",
        0.99,
        0.99,
    )
    assert made.requires is not None
    assert made.requires.memory_bytes == 3 << 16
    assert made.requires.disk_bytes == len(FILES[STATIC]) + 1000 + MANIFEST_MAX_BYTES


def test_the_host_latency_stays_out_so_that_two_runs_give_the_same_bytes() -> None:
    assert manifest().variants[0].metrics.host_latency_ms_p50 == 0.0


def test_the_input_has_the_range_that_preprocessing_gives_and_logits_ask_for_a_softmax() -> None:
    made = manifest()
    assert made.inputs[0].value_range == (-1.0, 1.0)
    assert made.postprocessing is not None
    assert made.postprocessing.softmax


def test_only_recipes_of_shipped_variants_are_named() -> None:
    provenance = manifest().provenance
    assert provenance is not None
    assert provenance.recipes == {"static-int8": "static_wi8_ai8"}


def test_every_rung_has_a_row_also_those_that_do_not_ship() -> None:
    rows = list(rung_rows(result()))
    assert [(row.variant, row.verdict) for row in rows] == [
        ("static-int8", "shipped"),
        ("dynamic-int8", "not available"),
        ("float32", "refused"),
    ]
    assert rows[0].size_ratio == 0.25
    assert rows[0].drop == 0.0
    assert rows[0].host_latency_ms_p50 == 1.5
    assert rows[1].value is rows[1].size_bytes is None
    assert rows[1].reason == "no kernel"


def test_the_json_of_a_run_holds_gate_rows_and_paths() -> None:
    found = json.loads(json.dumps(pack_json(result((Path("dist/x.bundle"),)))))
    assert found["bundles"] == ["dist/x.bundle"]
    assert found["gate"]["limit"] == 0.98
    assert found["gate"]["baseline_value"] is None
    assert [row["verdict"] for row in found["rows"]] == ["shipped", "not available", "refused"]
    assert found["float"] == {
        "value": 0.99,
        "size_bytes": 400_000,
        "host_latency_ms_p50": 0.02,
        "classes": [],
    }


def test_a_bundles_rows_say_what_it_is_and_where_it_comes_from() -> None:
    rows = dict(manifest_rows(a_manifest()))
    assert rows["model"] == "digits 1.0.0"
    assert rows["labels"] == "10"
    assert rows["made with"] == "litert-quantizer 0.11"
    assert rows["source"].startswith("digits.tflite ")


def test_a_manifest_that_is_not_complete_has_fewer_rows() -> None:
    bare = a_manifest(labels=(), requires=None, golden=None, provenance=None)
    rows = dict(manifest_rows(bare))
    assert rows["labels"] == "none"
    assert set(rows) == {"model", "profile", "task", "input", "output", "labels"}


def test_the_json_of_a_bundle_is_its_manifest() -> None:
    found = json.loads(json.dumps(manifest_json(a_manifest())))
    assert found["variants"][0]["precision"] == "float32"


def test_a_recovered_variant_has_a_name_of_its_own_and_tells_what_it_cost() -> None:
    plain = measurement(value=0.1, classes=(0.0, math.nan), size_bytes=100_000, latency_ms_p50=1.0)
    saved = measurement(
        size_bytes=150_000, latency_ms_p50=1.5, drop_interval=(-0.01, 0.02), classes=(0.5, math.nan)
    )
    against = reference(class_names=("a", "b"), float_classes=(0.6, math.nan))
    rung = Rung(STATIC, XNNPACK, floats=("conv;",))
    rows = decide_profile(
        plan((STATIC,)),
        {(STATIC, XNNPACK): plain},
        against,
        {(STATIC, XNNPACK): Recovery(1, rung, saved, 1)},
    )
    first, second = rung_rows(PackResult("digits", "1.0.0", against, measurement(), {"board": rows}, (), ()))
    assert (first.variant, first.floats, first.cost_bytes, first.drop_high) == ("static-int8", (), None, None)
    assert (second.variant, second.precision, second.floats) == (
        "static-int8-selective",
        "static-int8",
        ("conv;",),
    )
    assert (second.cost_bytes, second.cost_ms) == (50_000, 0.5)
    assert (second.drop_low, second.drop_high, second.classes) == (-0.01, 0.02, (0.5, None))


def test_the_json_names_every_rule_of_the_gate() -> None:
    rules = Rules(max_class_drop=Allowance(0.05, is_relative=True), confidence=0.9)
    found = PackResult(
        "digits", "1.0.0", reference(rules=rules), measurement(), {}, ("no",), (), warnings=("hm",)
    )
    shown: Any = pack_json(found)
    assert (shown["gate"]["max_drop"], shown["gate"]["max_class_drop"]) == ("0.01", "5%")
    assert (shown["gate"]["interval_confidence"], shown["gate"]["class_floor"]) == (0.9, None)
    assert (shown["warnings"], shown["stages"]) == (["hm"], {"reused": 0, "made": 0})


def test_a_bundles_rows_say_how_the_model_was_normalised() -> None:
    made = a_manifest()
    assert made.provenance is not None
    provenance = msgspec.structs.replace(made.provenance, normalized=("made a signature",))
    assert (
        dict(manifest_rows(msgspec.structs.replace(made, provenance=provenance)))["changed"]
        == "made a signature"
    )
