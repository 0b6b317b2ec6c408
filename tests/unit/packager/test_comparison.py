"""Comparing two bundles: what breaks an application is named, and what a device fetches is counted."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from contract.documents import Documents
from contract.fingerprint import Basis, Fingerprint
from contract.manifest import (
    Artifact,
    BundleRequires,
    ClassificationPostprocessing,
    Color,
    ImagePreprocessing,
    Manifest,
    Resize,
    Task,
    Tolerance,
    VariantMetrics,
    VariantRequires,
)
from contract.profile import DelegateName, Precision
from contract.results import EmbeddingDecoding, Suppression, YoloDecoding
from contract.tensor import DType
from packager.comparison.compare import Content, compare
from packager.comparison.document import ComparedBundle, Comparison
from packager.comparison.lines import comparison_lines, verdict
from packager.reporting.document import to_json
from packager.reporting.render import render_comparison
from tests.support.builders import a_manifest, a_variant, an_artifact

IMAGE = ImagePreprocessing(width=8, height=8, color=Color.GRAYSCALE, mean=(0.0,), std=(255.0,))


def content(manifest: Manifest) -> Content:
    bundle = ComparedBundle(
        file=f"{manifest.version}.bundle",
        model=manifest.model,
        version=manifest.version,
        profile=manifest.profile,
        size_bytes=1234,
        sha256="a" * 64,
    )
    return Content(bundle=bundle, manifest=manifest)


def compared(before: Manifest, after: Manifest, **bytes_changed: int) -> Comparison:
    return compare(content(before), content(after), bytes_changed)


def changes(before: Manifest, after: Manifest) -> list[tuple[str, str, str]]:
    return [(one.effect, one.area, one.text) for one in compared(before, after).changes]


def replaced(struct: Any, **fields: Any) -> Any:
    return msgspec.structs.replace(struct, **fields)


PLAIN = a_manifest()
"""What a test spoils one thing of."""


def test_the_same_bundle_has_no_change() -> None:
    found = compared(PLAIN, PLAIN)
    assert (found.is_same, found.changes, found.provenance, found.new_bytes) == (True, (), (), 0)
    assert [one.change for one in found.variants] == ["same"]
    assert list(comparison_lines(found))[-1] == "the bundles are the same"


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({"model": "other"}, ("breaks", "model", "is other, was digits")),
        ({"task": Task.EMBEDDING}, ("breaks", "task", "is embedding, was classification")),
        (
            {"inputs": (replaced(PLAIN.inputs[0], name="picture"),)},
            ("breaks", "inputs", f"{PLAIN.inputs[0].name} is gone"),
        ),
        (
            {"inputs": (*PLAIN.inputs, replaced(PLAIN.inputs[0], name="mask"))},
            ("breaks", "inputs", "mask is new"),
        ),
        ({"outputs": (*PLAIN.outputs, replaced(PLAIN.outputs[0], name="extra"))}, ("look", "outputs", "extra is new")),
        (
            {"inputs": (replaced(PLAIN.inputs[0], dtype=DType.UINT8),)},
            ("breaks", "inputs", f"dtype of {PLAIN.inputs[0].name} is uint8, was float32"),
        ),
        ({"profile": "raspberry-pi-4"}, (
            "look", "profile", "is raspberry-pi-4, was generic-x86-64: the bundles are for different boards",
        )),
        ({"version": "0.9.0"}, ("look", "version", "is 0.9.0, was 1.0.0: the second bundle is the older one")),
    ],
)  # fmt: skip
def test_a_change_is_named_with_what_it_means(fields: dict[str, Any], wanted: tuple[str, str, str]) -> None:
    assert wanted in changes(PLAIN, replaced(PLAIN, **fields))


def test_a_wider_range_of_an_output_is_to_look_at_and_of_an_input_breaks() -> None:
    wide = {"value_range": (-9.0, 9.0)}
    output = replaced(PLAIN, outputs=(replaced(PLAIN.outputs[0], **wide),))
    given = replaced(PLAIN, inputs=(replaced(PLAIN.inputs[0], **wide),))
    assert [change[:2] for change in changes(PLAIN, output)] == [("look", "outputs")]
    assert [change[:2] for change in changes(PLAIN, given)] == [("breaks", "inputs")]


def test_tensors_in_another_order_break_those_that_go_by_it() -> None:
    two = (PLAIN.outputs[0], replaced(PLAIN.outputs[0], name="extra"))
    found = changes(replaced(PLAIN, outputs=two), replaced(PLAIN, outputs=two[::-1]))
    assert found == [("breaks", "outputs", "stand in another order, for those that go by it")]


def test_preprocessing_that_comes_is_fine_goes_breaks_and_changes_breaks_who_feeds_tensors() -> None:
    without, with_it = replaced(PLAIN, preprocessing=None), replaced(PLAIN, preprocessing=IMAGE)
    other = replaced(PLAIN, preprocessing=replaced(IMAGE, resize=Resize.LETTERBOX))
    assert [one[:2] for one in changes(without, with_it)] == [("fine", "preprocessing")]
    assert [one[:2] for one in changes(with_it, without)] == [("breaks", "preprocessing")]
    assert changes(with_it, other) == [
        (
            "breaks",
            "preprocessing",
            "resize is letterbox, was stretch: those that feed tensors must prepare them so",
        )
    ]


def test_other_results_break_and_other_limits_of_results_do_not() -> None:
    top = ClassificationPostprocessing(top_k=1)
    boxes = YoloDecoding(suppression=Suppression(min_score=0.3))
    classes, more = (
        replaced(PLAIN, postprocessing=top),
        replaced(PLAIN, postprocessing=replaced(top, top_k=5)),
    )
    soft = replaced(PLAIN, postprocessing=replaced(top, softmax=True))
    plain = replaced(PLAIN, postprocessing=None)
    assert changes(classes, plain)[0][0] == "breaks"
    assert changes(classes, more) == [("look", "postprocessing", "top_k is 5, was 1")]
    assert changes(classes, soft) == [("breaks", "postprocessing", "softmax is True, was False")]
    one, other = replaced(plain, decoding=boxes), replaced(plain, decoding=YoloDecoding())
    assert [change[:2] for change in changes(one, other)] == [("look", "decoding")]
    assert changes(one, replaced(plain, decoding=EmbeddingDecoding())) == [
        ("breaks", "decoding", "is EmbeddingDecoding, was YoloDecoding: applications get other results")
    ]


def test_labels_that_go_break_those_that_come_or_move_are_told() -> None:
    old = replaced(PLAIN, labels=("cat", "dog", "owl"))
    assert changes(old, replaced(PLAIN, labels=("cat", "dog", "owl", "fox"))) == [
        ("look", "labels", "1: 'fox' added")
    ]
    assert changes(old, replaced(PLAIN, labels=("cat", "dog"))) == [("breaks", "labels", "1: 'owl' removed")]
    (moved,) = changes(old, replaced(PLAIN, labels=("dog", "cat", "owl")))
    assert moved[:2] == ("look", "labels")
    assert moved[2].startswith("2: 'cat', 'dog' in another place")
    many = replaced(PLAIN, labels=tuple(map(str, range(40))))
    assert (
        "40: '0', '1', '2', '3', '4' and 35 more removed" in changes(many, replaced(PLAIN, labels=()))[0][2]
    )


def test_a_long_label_is_cut() -> None:
    (change,) = changes(replaced(PLAIN, labels=()), replaced(PLAIN, labels=("x" * 5000,)))
    assert len(change[2]) < 200


def test_what_a_board_must_have_is_to_look_at_when_it_grows() -> None:
    needs = BundleRequires(memory_bytes=1000, disk_bytes=1000, agent="0.1.0")
    more = replaced(needs, memory_bytes=2000, disk_bytes=500, agent="0.2.0")
    assert changes(replaced(PLAIN, requires=needs), replaced(PLAIN, requires=more)) == [
        ("look", "requires", "memory_bytes is 2,000, was 1,000: boards with less refuse it"),
        ("look", "requires", "agent is 0.2.0, was 0.1.0: older agents refuse it"),
        ("fine", "requires", "disk_bytes is 500, was 1,000"),
    ]
    assert changes(replaced(PLAIN, requires=None), replaced(PLAIN, requires=more)) == []


def with_variants(*variants: Any, tolerance: Tolerance | None = None) -> Manifest:
    chosen = tolerance or Tolerance(max_abs_error=0.1)
    golden = PLAIN.golden
    assert golden is not None
    return msgspec.structs.replace(
        PLAIN, variants=variants, golden=replaced(golden, tolerance={one.name: chosen for one in variants})
    )


def test_variants_that_come_go_and_change_are_listed_with_what_a_device_fetches() -> None:
    old = with_variants(a_variant(b"one", name="a"), a_variant(b"two", name="b"))
    new = with_variants(a_variant(b"two", name="b"), a_variant(b"three", name="c"))
    found = compared(old, new)
    assert [(one.name, one.change, one.fetch_bytes) for one in found.variants] == [
        ("b", "changed", 0),
        ("c", "added", 5),
        ("a", "removed", None),
    ]
    assert (found.new_artifacts, found.new_bytes) == (1, 5)
    assert [change.text for change in found.changes] == [
        "b is number 1 in the order of preference, was 2",
        "a is gone",
        "c is new",
    ]
    text = "\n".join(comparison_lines(found))
    assert "b: the same file, described otherwise; nothing to fetch" in text
    assert "a: removed" in text
    assert "c: added, 5 bytes; a device fetches 5 bytes" in text


def test_new_self_test_data_is_fetched_with_every_variant() -> None:
    new = replaced(PLAIN, golden=replaced(PLAIN.golden, artifact=an_artifact(b"other golden")))
    found = compared(PLAIN, new)
    assert (found.variants[0].change, found.variants[0].fetch_bytes, found.new_bytes) == ("same", 12, 12)
    assert "same, " in "\n".join(comparison_lines(found))


def test_other_bytes_of_a_variant_are_counted_where_sizes_are_the_same() -> None:
    old, new = with_variants(a_variant(b"1234", name="a")), with_variants(a_variant(b"1244", name="a"))
    found = compared(old, new, a=1)
    assert found.variants[0].bytes_changed == 1
    assert "changed, 4 bytes, 1 of them changed (25%); accuracy" in "\n".join(comparison_lines(found))
    longer = compared(old, with_variants(a_variant(b"12345", name="a")))
    assert longer.variants[0].bytes_changed is None
    assert "changed, 4 -> 5 bytes; accuracy" in "\n".join(comparison_lines(longer))


def test_a_variant_that_needs_or_is_something_else_is_told() -> None:
    was = a_variant(name="a")
    now = replaced(
        was,
        precision=Precision.FLOAT16,
        delegate=DelegateName.NONE,
        requires=VariantRequires(min_version="2.99.0", libraries=("libedgetpu.so.1",)),
    )
    assert changes(with_variants(was), with_variants(now)) == [
        ("look", "variants", f"a has precision float16, had {was.precision.value}"),
        ("look", "variants", f"a has delegate none, had {was.delegate.value}"),
        ("look", "variants", f"a needs TFLite 2.99.0, needed {was.requires.min_version}"),
        ("look", "variants", "a also needs libedgetpu.so.1"),
    ]
    assert changes(with_variants(now), with_variants(replaced(now, requires=was.requires)))[0][0] == "fine"


def scored(value: float, metric: str = "accuracy") -> Any:
    return a_variant(
        name="a", metrics=VariantMetrics(metric=metric, value=value, float_value=0.99, samples=500)
    )


def test_a_value_that_falls_is_to_look_at_and_one_that_rises_is_fine() -> None:
    assert changes(with_variants(scored(0.9)), with_variants(scored(0.8))) == [
        ("look", "metric", "accuracy of a is 0.8000, was 0.9000")
    ]
    assert changes(with_variants(scored(0.8)), with_variants(scored(0.9)))[0][0] == "fine"


def test_values_on_other_samples_or_of_another_metric_are_not_compared() -> None:
    old = with_variants(scored(0.9))
    assert old.provenance is not None
    elsewhere = replaced(
        with_variants(scored(0.5)), provenance=replaced(old.provenance, evaluation_sha256="9" * 64)
    )
    for new in (
        elsewhere,
        with_variants(scored(0.5, "mAP")),
        replaced(with_variants(scored(0.5)), provenance=None),
    ):
        found = compared(old, new)
        assert not found.is_comparable
        assert [(one.effect, one.area) for one in found.changes] == [("look", "metric")]


def test_a_looser_self_test_is_to_look_at_and_a_tighter_one_is_fine() -> None:
    old = with_variants(a_variant(name="a"), tolerance=Tolerance(max_abs_error=0.1))
    loose = with_variants(a_variant(name="a"), tolerance=Tolerance(max_abs_error=0.1, min_top1_agreement=0.5))
    assert changes(old, loose) == [
        ("look", "tolerance", "a may be off by 0.1 and agree in 0.5 of its self-test, before by 0.1 and in 1")
    ]
    assert changes(loose, old)[0][:2] == ("fine", "tolerance")


def test_differences_of_provenance_are_listed_also_those_of_documents() -> None:
    assert PLAIN.provenance is not None
    documents = Documents(
        sbom=Artifact(sha256="1" * 64, size_bytes=1), provenance=Artifact(sha256="2" * 64, size_bytes=1)
    )
    fingerprint = Fingerprint(basis=Basis.CALIBRATION, samples=4, inputs=(), outputs=())
    new = replaced(
        PLAIN,
        fingerprint=fingerprint,
        provenance=replaced(PLAIN.provenance, tools={"numpy": "9.9"}, normalized=("a", "b")),
        documents=documents,
    )
    rows = {row.what: (row.before, row.after) for row in compared(PLAIN, new).provenance}
    assert rows["tool numpy"][1] == "9.9"
    assert rows["normalized"] == ("", "a; b")
    assert rows["sbom.json"] == ("", "1" * 64)
    assert len(rows["fingerprint"][1]) == 64
    text = "\n".join(comparison_lines(compared(PLAIN, new)))
    assert f"sbom.json: none -> {'1' * 12}" in text
    assert compared(PLAIN, replaced(PLAIN, provenance=None)).provenance[0].after == ""


def test_the_verdict_counts() -> None:
    assert verdict(compared(PLAIN, PLAIN)) == "nothing that breaks applications"
    older = replaced(PLAIN, version="0.9.0")
    assert verdict(compared(PLAIN, older)) == "nothing that breaks applications, 1 change to look at"
    broken = replaced(older, model="x", task=Task.EMBEDDING)
    assert verdict(compared(PLAIN, broken)) == "2 changes that may break applications, 1 more to look at"


EVIL = "\x1b[31m<script>alert(1)</script>"


def test_neither_the_terminal_nor_the_page_obeys_a_label() -> None:
    found = compared(
        PLAIN, replaced(PLAIN, labels=(EVIL,), provenance=replaced(PLAIN.provenance, source_name=EVIL))
    )
    assert "\x1b" not in "".join(comparison_lines(found))
    page = render_comparison(found).decode()
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_the_page_and_the_document_hold_everything() -> None:
    old = with_variants(a_variant(b"1234", name="a"), a_variant(b"two", name="gone"))
    new = with_variants(a_variant(b"1244", name="a"), a_variant(b"three", name="came"))
    found = compared(old, new, a=1)
    assert msgspec.json.decode(to_json(found), type=Comparison) == found
    page = render_comparison(found).decode()
    assert all(f">{word}<" in page for word in ("a", "came", "gone", "added", "removed", "changed"))
    same = render_comparison(compared(PLAIN, PLAIN)).decode()
    assert "The bundles are the same." in same
    assert "<p>The same.</p>" in same
    other = replaced(PLAIN, provenance=None)
    assert "they cannot be compared" in render_comparison(compared(PLAIN, other)).decode()
