"""The report's page: complete without anything else, and nothing from a model is taken for markup."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from typing import Any

import msgspec
import pytest

from packager.compression.download import Download
from packager.compression.report import DownloadRow
from packager.coverage.coverage import Coverage, Memory
from packager.edgetpu_log import CompilerReport
from packager.notes import EdgetpuNote
from packager.reporting.document import OperatorError, Ranked, Report, to_json
from packager.reporting.render import render_report
from tests.support.packager_reports import COVERAGE, a_report

VOID = {"meta", "br", "rect", "line", "path", "circle"}
WORDS = {"outcome", "severity"}
"""Fields that hold one of a few words and decide what is shown."""
EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>&amp;"


class Page(HTMLParser):
    """Checks that tags are balanced, and remembers what is there."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def shown(report: Report) -> Page:
    return Page(render_report(report).decode())


def spoiled(node: Any, key: str = "") -> Any:
    """A JSON document in which every free text is markup."""
    if isinstance(node, dict):
        return {name: spoiled(inner, name) for name, inner in node.items()}
    if isinstance(node, list):
        return [spoiled(inner, key) for inner in node]
    return EVIL if isinstance(node, str) and key not in WORDS else node


def test_the_page_loads_nothing_and_runs_nothing() -> None:
    text = render_report(a_report()).decode()
    page = Page(text)
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "link", "img", "iframe", "object", "base"})
    names = {name for _, attributes in page.tags for name in attributes}
    assert names.isdisjoint({"src", "style", "srcset"})
    assert not [name for name in names if name.startswith("on")]
    targets = [attributes["href"] for _, attributes in page.tags if "href" in attributes]
    assert all(target is not None and target.startswith("#") for target in targets)
    assert "url(" not in text
    assert "@import" not in text


def test_its_policy_allows_its_own_style_and_nothing_else() -> None:
    text = render_report(a_report()).decode()
    found = re.search(r"<style>(.*?)</style>", text, re.DOTALL)
    assert found is not None
    digest = base64.b64encode(hashlib.sha256(found[1].encode()).digest()).decode()
    policy = next(
        attributes["content"]
        for tag, attributes in Page(text).tags
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


def test_every_link_has_its_place_and_every_table_its_headings() -> None:
    page = shown(a_report())
    places = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    assert {str(attributes["href"])[1:] for _, attributes in page.tags if "href" in attributes} <= places
    assert all("scope" in attributes for tag, attributes in page.tags if tag == "th")
    drawings = [attributes for tag, attributes in page.tags if tag == "svg"]
    assert all("aria-hidden" in one or one.get("role") == "img" for one in drawings)


def test_markup_in_names_labels_and_reasons_is_shown_as_text() -> None:
    report = msgspec.convert(spoiled(json.loads(to_json(a_report()))), Report)
    page = shown(report)
    assert "alert(1)" in page.text
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "img"})
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]


def test_a_name_that_is_no_text_and_a_reversing_label_do_no_harm() -> None:
    report = a_report(class_names=("\u202egnp.exe", "\x00", "\ud800"))
    assert "<bdi>\u202egnp.exe</bdi>" in render_report(report).decode()


def test_the_same_document_gives_the_same_bytes() -> None:
    assert render_report(a_report()) == render_report(a_report())


def test_a_refused_release_says_first_why() -> None:
    text = shown(a_report(outcome="refused", faults=("board: best is 0.5",))).text
    assert "Why it is refused" in text
    assert text.index("board: best is 0.5") < text.index("Size against accuracy")
    assert "The best accuracy of a variant is 0.9900; 0.9800 is needed." in text


def test_a_release_nothing_could_be_made_of_still_has_a_page() -> None:
    report = a_report(outcome="refused", faults=("x",), variants=())
    text = shown(report).text
    assert "No variant passes for 1 board, so no bundle was written." in text
    assert "No variant here is quantized operator by operator." in text


def test_a_shipped_page_names_the_first_choice_the_cost_and_the_operators() -> None:
    text = shown(a_report()).text
    assert "Ships to 1 board. The smallest variant, static-int8-selective, has 37.5 %" in text
    assert "1 operator in float, which costs +50,000 bytes: conv1" in text
    assert "in float" in text
    assert "Compared on 4 samples." in text
    assert "1 x SOFTMAX: scores is int8 (type)" in text
    assert "give 100" in text
    assert "2 images are in both sets" in text


def test_a_variant_that_could_not_be_compared_says_so() -> None:
    raw = a_report()
    first = msgspec.structs.replace(raw.variants[0], ranking=Ranked(note="names are not unique"))
    empty = msgspec.structs.replace(raw.variants[1], ranking=Ranked(samples=4))
    text = shown(a_report(variants=(first, empty, *raw.variants[2:]))).text
    assert "Not compared: names are not unique" in text
    assert "No operator adds an error." in text


def test_operators_that_add_less_are_counted() -> None:
    raw = a_report()
    many = Ranked(
        operators=tuple(OperatorError(operator="ADD", name=f"{n};", added=0.1 / (n + 1)) for n in range(40)),
        samples=4,
    )
    first = msgspec.structs.replace(raw.variants[0], ranking=many)
    assert "30 operators that add less stand in the JSON form." in shown(a_report(variants=(first,))).text


def test_many_classes_are_cut_and_counted() -> None:
    count = 300
    raw = a_report()
    first = msgspec.structs.replace(raw.variants[0], classes=tuple(n / count for n in range(count)))
    report = a_report(
        class_names=tuple(f"class-{n}" for n in range(count)), float_classes=(1.0,) * count, variants=(first,)
    )
    page = shown(report)
    assert page.text.index("class-0") < page.text.index("class-19") < page.text.index("180 more classes")
    assert "100 classes that lose less stand in the JSON form" in page.text
    assert "class-299" not in page.text


def test_a_task_without_classes_and_with_another_metric_has_no_table_of_classes() -> None:
    variants = tuple(msgspec.structs.replace(one, classes=()) for one in a_report().variants)
    report = a_report(metric="mAP", class_names=(), float_classes=(), variants=variants)
    page = shown(report)
    assert "Change per class" not in page.text
    assert "Size against mAP" in page.text


def test_unchanged_classes_are_said_in_a_sentence() -> None:
    variants = tuple(msgspec.structs.replace(one, classes=(1.0, 0.98, None)) for one in a_report().variants)
    assert "No class changes in any variant." in shown(a_report(variants=variants)).text


def test_a_class_that_only_a_variant_has_no_value_of_is_a_dash() -> None:
    raw = a_report()
    first = msgspec.structs.replace(raw.variants[0], classes=(None, 0.4, None))
    assert "cat" in shown(a_report(variants=(first, *raw.variants[1:]))).text


def test_a_compressed_model_is_no_float_model_and_its_downloads_are_told() -> None:
    raw = a_report()
    floating = msgspec.structs.replace(raw.variants[-1], value=0.985)
    row = DownloadRow(
        form="float32",
        before=Download(plain_bytes=400_000, zlib_bytes=371_000, lzma_bytes=350_000),
        after=Download(plain_bytes=400_000, zlib_bytes=123_456, lzma_bytes=110_000),
    )
    page = shown(a_report(variants=(*raw.variants[:-1], floating), downloads=(row,)))
    assert "123,456" in page.text
    assert "float32: 400,000 bytes, accuracy 0.9850, shipped." in page.text
    assert "float32: 400,000" not in shown(raw).text


COMPILED = CompilerReport(
    version="16.0",
    on_chip_bytes=1_000_000,
    on_chip_left_bytes=7,
    off_chip_bytes=0,
    subgraphs=1,
    operations_tpu=8,
    operations_cpu=1,
)
PREDICTED = Coverage(
    delegate="edgetpu",
    nodes_total=9,
    nodes_delegated=7,
    partitions=1,
    left_out=(),
    source="a table",
    memory=Memory(on_chip_bytes=123_456, off_chip_bytes=0),
)


@pytest.mark.parametrize(
    ("note", "wanted"),
    [
        (EdgetpuNote(profile="x", text="it ran", is_shipped=True, report=COMPILED), "8 of 9 operations"),
        (
            EdgetpuNote(profile="x", text="no compiler", is_shipped=False, predicted=PREDICTED),
            "123,456 bytes",
        ),
        (
            EdgetpuNote(profile="x", text="no int8", is_shipped=False, predicted=COVERAGE),
            "8 of 9 operators on the",
        ),
        (EdgetpuNote(profile="x", text="nothing to compile", is_shipped=False), "nothing to compile"),
    ],
)
def test_the_edge_tpu_part_says_what_became_of_it(note: EdgetpuNote, wanted: str) -> None:
    raw = a_report()
    board = msgspec.structs.replace(raw.profiles[0], edgetpu=note)
    assert wanted in shown(a_report(profiles=(board,))).text


def test_a_shipped_release_whose_first_board_takes_nothing_measured_has_no_first_choice() -> None:
    raw = a_report()
    rungs = tuple(msgspec.structs.replace(rung, outcome="refused") for rung in raw.profiles[0].rungs)
    board = msgspec.structs.replace(raw.profiles[0], rungs=rungs)
    text = shown(a_report(profiles=(board,))).text
    assert "First choice" not in text
    assert "Ships to 1 board." in text
