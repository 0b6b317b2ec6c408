"""What a model file says of itself to Android's and MediaPipe's task libraries."""

from __future__ import annotations

import contextlib
import hashlib
import io
import struct
import zipfile
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.errors import ManifestError
from contract.manifest import ClassificationPostprocessing, Color, ImagePreprocessing
from contract.manifest import Task as TaskName
from contract.profile import DelegateName
from contract.tensor import DType, Layout, TensorSpec
from packager.description import Source
from packager.metadata.card import Content, LabelUse, Space, Subject, describe_model, label_file
from packager.metadata.embed import append_files, embed_card
from packager.metadata.encode import encode_card
from packager.metadata.read import read_card
from packager.metadata.stage import card_of, replaced_text
from packager.runtime.interpreter import LoadedModel
from packager.runtime.objects import text_of, unpack_model
from packager.sources.tflite import SourceModel
from packager.tasks.kind import Presentation
from tests.support.packager_models import changed_model, digits_model
from tests.support.packager_rgb import rgb_digits

LABELS = ("zéro", "一", "2", "3", "4", "5", "6", "7", "8", "nine with spaces")
GRAY = ImagePreprocessing(width=8, height=8, color=Color.GRAYSCALE, mean=(0.0,), std=(255.0,))
RGB = ImagePreprocessing(width=8, height=6, color=Color.RGB, mean=(1.0, 2.0, 3.0), std=(10.0, 20.0, 30.0))


def spec(name: str, *shape: int) -> TensorSpec:
    return TensorSpec(name=name, shape=shape, dtype=DType.FLOAT32)


CLASSIFIER = Subject(
    name="digits",
    version="1.2.3",
    task="classification",
    inputs=(spec("image", 1, 8, 8, 1),),
    outputs=(spec("probabilities", 1, 10),),
    preprocessing=GRAY,
    labels=LABELS,
    is_logits=False,
    operators=("CONV_2D", "SOFTMAX"),
)
DETECTOR = Subject(
    name="cats",
    version="1.0.0",
    task="detection",
    inputs=(spec("image", 1, 6, 8, 3),),
    outputs=(spec("a", 1, 5, 4), spec("b", 1, 5), spec("c", 1, 5), spec("d", 1)),
    preprocessing=RGB,
    labels=("cat", "dog"),
    is_logits=False,
    operators=("CONV_2D", "CUSTOM TFLite_Detection_PostProcess"),
)


def changed(subject: Subject, **changes: Any) -> Subject:
    return replace(subject, **changes)


def stored_card(content: bytes) -> Any:
    """The metadata in a model, through TFLite's own schema and a plain look at the tables."""
    model = schema.Model.GetRootAs(content, 0)
    for index in range(model.MetadataLength()):
        if text_of(model.Metadata(index).Name()) == "TFLITE_METADATA":
            return bytes(model.Buffers(model.Metadata(index).Buffer()).DataAsNumpy())
    return None


# What is said


def test_a_classifier_names_image_scores_and_labels() -> None:
    card = describe_model(CLASSIFIER)
    (image,), (scores,) = card.inputs, card.outputs
    assert (image.content, image.space, image.size) == (Content.IMAGE, Space.GRAYSCALE, (8, 8))
    assert (image.mean, image.std, image.low, image.high) == ((0.0,), (255.0,), (0.0,), (1.0,))
    assert (scores.name, scores.text, scores.labels) == ("probability", "Score of each class", LabelUse.AXIS)
    assert card.files == {"labels.txt": "\n".join(LABELS).encode()}


def test_normalisation_is_in_pixel_units_for_each_channel() -> None:
    image = describe_model(DETECTOR).inputs[0]
    assert (image.space, image.size) == (Space.RGB, (8, 6))
    assert (image.mean, image.std) == ((1.0, 2.0, 3.0), (10.0, 20.0, 30.0))
    assert image.low == pytest.approx((-0.1, -0.1, -0.1))
    assert image.high == pytest.approx((25.4, 12.65, 8.4))


@pytest.mark.parametrize(
    "image",
    [
        msgspec.structs.replace(RGB, color=Color.BGR),
        msgspec.structs.replace(RGB, layout=Layout.NCHW),
        None,
    ],
    ids=["blue first", "channels first", "no image"],
)
def test_an_input_that_libraries_would_feed_wrongly_is_no_image_to_them(image: Any) -> None:
    (card,) = describe_model(changed(DETECTOR, preprocessing=image)).inputs
    assert (card.content, card.mean, card.name) == (Content.FEATURE, (), "image")


def test_a_second_input_is_no_image() -> None:
    both = changed(CLASSIFIER, inputs=(*CLASSIFIER.inputs, spec("age", 1, 1)))
    assert [card.content for card in describe_model(both).inputs] == [Content.IMAGE, Content.FEATURE]


def test_logits_are_called_logits() -> None:
    assert describe_model(changed(CLASSIFIER, is_logits=True)).outputs[0].text == "Logit of each class"


def test_a_detector_that_ends_in_tflites_own_operator_has_the_four_names_that_libraries_look_for() -> None:
    outputs = describe_model(DETECTOR).outputs
    assert [card.name for card in outputs] == ["location", "category", "score", "number of detections"]
    assert [card.key for card in outputs] == ["a", "b", "c", "d"]
    assert [card.labels for card in outputs] == [None, LabelUse.VALUE, None, None]
    assert outputs[0].content is Content.BOXES


def test_other_detectors_and_regressions_have_plain_outputs() -> None:
    for subject in (
        changed(DETECTOR, operators=("CONV_2D",)),
        changed(DETECTOR, task="regression", labels=()),
    ):
        assert [card.name for card in describe_model(subject).outputs] == ["a", "b", "c", "d"]


def test_a_segmentation_names_its_classes() -> None:
    maps = changed(CLASSIFIER, task="segmentation", outputs=(spec("maps", 1, 8, 8, 10),))
    assert describe_model(maps).outputs[0].labels is LabelUse.AXIS


def test_a_wave_is_described_by_its_rate_and_its_classes_are_named() -> None:
    wave = changed(CLASSIFIER, task="audio-classification", rate_hz=16_000, preprocessing=None)
    card = describe_model(wave)
    (sound,), (scores,) = card.inputs, card.outputs
    assert (sound.content, sound.rate_hz, sound.key) == (Content.AUDIO, 16_000, CLASSIFIER.inputs[0].name)
    assert scores.labels is LabelUse.AXIS
    assert b"1.3.0" in encode_card(card, card.inputs, card.outputs)
    assert (16_000).to_bytes(4, "little") in encode_card(card, card.inputs, card.outputs)


def test_without_a_wave_readers_need_know_the_first_version_only() -> None:
    card = describe_model(CLASSIFIER)
    assert b"1.3.0" not in encode_card(card, card.inputs, card.outputs)
    assert b"1.0.0" in encode_card(card, card.inputs, card.outputs)


def test_without_labels_nothing_is_appended() -> None:
    card = describe_model(changed(CLASSIFIER, labels=()))
    assert card.files == {}
    assert card.outputs[0].labels is None


@pytest.mark.parametrize(
    "label", ["a\nb", "a\rb", "nul\0", "\x1b[31mred", "line\u2028end", "", "  ", "a\x85b"]
)
def test_a_label_that_is_no_line_of_its_own_is_refused(label: str) -> None:
    with pytest.raises(ManifestError, match="one line each") as caught:
        label_file(["good", label])
    assert caught.value.faults[0].startswith("label 1 is ")


@given(st.lists(st.text(min_size=1, max_size=30), min_size=1, max_size=5))
def test_labels_come_back_as_they_were_or_are_refused(labels: list[str]) -> None:
    try:
        content = label_file(labels)
    except ManifestError:
        return
    assert content.decode().split("\n") == labels
    assert content.decode().splitlines() == labels


# Embedding


def embedded(subject: Subject = CLASSIFIER, content: bytes = b"") -> bytes:
    return embed_card(content or digits_model(), describe_model(subject))


def test_a_card_comes_back_from_the_file() -> None:
    told = read_card(embedded())
    assert told is not None
    assert (told.name, told.version, told.text) == ("digits", "1.2.3", "digits 1.2.3: classification.")
    assert (told.inputs, told.outputs, told.files) == (("image",), ("probability",), ("labels.txt",))
    assert told.size_bytes == len(stored_card(embedded()))
    assert read_card(digits_model()) is None


def test_the_model_computes_what_it_did_before() -> None:
    samples = np.random.default_rng(3).random((8, 8, 8, 1), dtype=np.float32)
    for delegate in (DelegateName.XNNPACK, DelegateName.NONE):
        (before,), (after,) = (
            LoadedModel(content, delegate).run([samples]) for content in (digits_model(), embedded())
        )
        assert np.array_equal(before, after)


def test_it_costs_a_kilobyte() -> None:
    assert 0 < len(embedded()) - len(digits_model()) < 2048


def test_the_same_model_and_card_give_the_same_bytes() -> None:
    assert embedded() == embedded()
    assert (
        hashlib.sha256(embedded()).digest()
        != hashlib.sha256(embedded(changed(CLASSIFIER, name="x"))).digest()
    )


def test_labels_stand_behind_the_model_as_a_plain_zip_of_the_whole_file() -> None:
    with zipfile.ZipFile(io.BytesIO(embedded())) as archive:
        (member,) = archive.infolist()
        assert (member.filename, member.compress_type) == ("labels.txt", zipfile.ZIP_STORED)
        assert member.date_time == (1980, 1, 1, 0, 0, 0)
        assert archive.read(member).decode().split("\n") == list(LABELS)


def test_bytes_of_a_model_that_look_like_the_end_of_a_zip_do_no_harm() -> None:
    content = digits_model() + b"PK\x05\x06" + b"\xff" * 18
    with zipfile.ZipFile(io.BytesIO(append_files(content, {"labels.txt": b"a"}))) as archive:
        assert archive.read("labels.txt") == b"a"


def test_metadata_and_files_that_were_there_are_replaced() -> None:
    first = embedded(changed(CLASSIFIER, name="older", labels=("x",) * 10))
    again = embedded(content=first)
    told = read_card(again)
    assert told is not None
    assert (told.name, told.files) == ("digits", ("labels.txt",))
    with zipfile.ZipFile(io.BytesIO(again)) as archive:
        assert archive.read("labels.txt").decode().split("\n") == list(LABELS)
    model = unpack_model(again)
    assert [text_of(entry.name) for entry in model.metadata].count("TFLITE_METADATA") == 1


def test_other_metadata_stays() -> None:
    before = {text_of(entry.name) for entry in unpack_model(digits_model()).metadata or []}
    after = {text_of(entry.name) for entry in unpack_model(embedded()).metadata}
    assert after == before | {"TFLITE_METADATA"}


def test_cards_follow_the_order_of_the_graph_and_not_of_the_signature() -> None:
    def swap(model: Any) -> None:
        graph, signature = model.subgraphs[0], model.signatureDefs[0]
        graph.outputs = np.array([graph.outputs[0], graph.operators[-1].inputs[0]], dtype=np.int32)
        extra = schema.TensorMapT()
        extra.name, extra.tensorIndex = "logits", int(graph.outputs[1])
        signature.outputs = [extra, *signature.outputs]

    content = changed_model(swap)
    name = text_of(unpack_model(digits_model()).signatureDefs[0].outputs[0].name)
    both = changed(
        CLASSIFIER, task="regression", labels=(), outputs=(spec("logits", 1, 10), spec(name, 1, 10))
    )
    told = read_card(embedded(both, content))
    assert told is not None
    assert told.outputs == (name, "logits")


def test_boxes_say_in_which_order_their_corners_stand() -> None:
    card = describe_model(DETECTOR)
    encoded = encode_card(card, card.inputs, card.outputs)
    assert encoded[4:8] == b"M001"
    assert b"\x04\x00\x00\x00" + np.array([1, 0, 3, 2], dtype="<u4").tobytes() in encoded


# Reading what nobody vouches for


@given(st.binary(max_size=400))
def test_arbitrary_bytes_are_refused_or_have_no_metadata(content: bytes) -> None:
    with contextlib.suppress(ManifestError):
        assert read_card(content) is None


SOUND = embed_card(rgb_digits(), describe_model(changed(CLASSIFIER, preprocessing=RGB)))
_TAIL = SOUND.rindex(b"M001")  # the card stands at the end of the flatbuffer or not far from it


@settings(max_examples=300)
@given(st.integers(0, 4000), st.binary(min_size=1, max_size=4))
def test_damaged_files_end_reading_soon(place: int, rubbish: bytes) -> None:
    for start in (0, max(0, _TAIL - 64)):
        at = min(start + place, len(SOUND) - len(rubbish))
        content = SOUND[:at] + rubbish + SOUND[at + len(rubbish) :]
        with contextlib.suppress(ManifestError):
            read_card(content)


def test_a_file_that_was_cut_off_is_refused() -> None:
    for wrong in (b"", SOUND[:100]):
        with pytest.raises(ManifestError, match="is damaged"):
            read_card(wrong)


def test_a_table_before_the_start_of_the_file_is_refused() -> None:
    with pytest.raises(ManifestError, match="place -"):
        read_card(struct.pack("<IiI", 4, 0x7FFFFFFF, 0))


def test_a_name_without_end_is_refused() -> None:
    at = SOUND.index(b"TFLITE_METADATA") - 4
    with pytest.raises(ManifestError, match="4294967295 bytes at"):
        read_card(SOUND[:at] + b"\xff" * 4 + SOUND[at + 4 :])


def test_a_list_without_end_is_refused() -> None:
    place = struct.unpack_from("<I", SOUND)[0]
    fields = place - struct.unpack_from("<i", SOUND, place)[0]
    metadata = place + struct.unpack_from("<H", SOUND, fields + 4 + 2 * 6)[0]
    at = metadata + struct.unpack_from("<I", SOUND, metadata)[0]
    with pytest.raises(ManifestError, match="a list of 4294967295"):
        read_card(SOUND[:at] + b"\xff" * 4 + SOUND[at + 4 :])


def test_a_buffer_that_is_not_there_is_refused() -> None:
    def lead_away(model: Any) -> None:
        entry = schema.MetadataT()
        entry.name, entry.buffer = "TFLITE_METADATA", 10_000
        model.metadata = [entry]

    with pytest.raises(ManifestError, match="entry 10000 of"):
        read_card(changed_model(lead_away))


def test_texts_cannot_move_a_terminals_cursor() -> None:
    told = read_card(embedded(changed(CLASSIFIER, name="\x1b[2Jdigits")))
    assert told is not None
    assert told.name == "\ufffd[2Jdigits"


# In a pack run


def source(content: bytes) -> SourceModel:
    return SourceModel(name="m.tflite", content=content, sha256="0" * 64, source=Source("x", (), ()))


def test_metadata_that_a_source_had_is_said_to_be_replaced() -> None:
    assert replaced_text(source(digits_model())) == ""
    text = replaced_text(source(embedded(changed(CLASSIFIER, name="theirs"))))
    assert text == "the TFLite metadata of m.tflite (theirs) and its files labels.txt is replaced"
    without = replaced_text(source(embedded(changed(CLASSIFIER, labels=()))))
    assert without == "the TFLite metadata of m.tflite (digits) is replaced"
    assert replaced_text(source(b"")).endswith("new metadata replaces it")


def test_a_card_says_what_the_manifest_will_say() -> None:
    model = SourceModel(
        name="m.tflite",
        content=digits_model(),
        sha256="0" * 64,
        source=Source("x", CLASSIFIER.inputs, CLASSIFIER.outputs),
    )
    logits = ClassificationPostprocessing(softmax=True)
    shown = Presentation(TaskName.CLASSIFICATION, GRAY, logits, labels=LABELS)
    card = card_of("digits", "1.2.3", model, shown)
    assert card == describe_model(changed(CLASSIFIER, is_logits=True))
