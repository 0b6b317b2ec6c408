from __future__ import annotations

import msgspec
import pytest

from packager.compression.download import Download
from packager.compression.report import (
    CompressionReport,
    DistillationReport,
    DownloadRow,
    LayerRow,
    Tried,
    compression_lines,
    distillation_lines,
    download_lines,
)

LARGE = Download(plain_bytes=102_656, zlib_bytes=92_444, lzma_bytes=92_180)
SMALL = Download(plain_bytes=102_656, zlib_bytes=47_543, lzma_bytes=44_320)
COMPRESSED = CompressionReport(
    model="digits.tflite",
    what="50% of the weights pruned",
    prune=0.5,
    clusters=0,
    metric="accuracy",
    samples=500,
    before=0.998,
    after=0.996,
    drop_low=0.0,
    drop_high=0.006,
    confidence=0.95,
    limit="0.9880",
    fault="",
    tried=(Tried(what="50% of the weights pruned", value=0.996, fault=""),),
    layers=(LayerRow(name="conv/w;conv/b", elements=2000, zeros=1000, values=0),),
    downloads=(DownloadRow(form="dynamic-int8", before=LARGE, after=SMALL),),
    untuned=None,
    epochs=0,
    output="small.tflite",
)
DISTILLED = DistillationReport(
    teacher="teacher.keras",
    student="student.keras",
    metric="accuracy",
    samples=500,
    teacher_value=0.998,
    before=0.1,
    alone=0.982,
    after=0.988,
    teacher_download=LARGE,
    student_download=SMALL,
    limit="0.9720 (0.9820 of the student trained alone less 0.01)",
    fault="",
    epochs=60,
    output="distilled.keras",
)


def test_a_compression_tells_settings_layers_and_bytes_before_and_after() -> None:
    assert list(compression_lines(COMPRESSED)) == [
        "digits.tflite: accuracy 0.9980 over 500 samples; at least 0.9880 passes",
        "  50% of the weights pruned: accuracy 0.9960",
        "50% of the weights pruned: accuracy 0.9960, drop +0.0020 (0.95 bootstrap interval +0.0000 to +0.0060)",
        "  conv/w: 2,000 weights, 50% zeros",
        "bytes to download               as a file             after zlib             after lzma",
        "dynamic-int8                      102,656        92,444 > 47,543        92,180 > 44,320",
        "wrote small.tflite",
    ]


def test_a_refused_compression_says_why_and_no_drop() -> None:
    tried = (Tried(what="all", value=0.1, fault="accuracy 0.1000 is below 0.9880"),)
    refused = msgspec.structs.replace(COMPRESSED, fault=tried[0].fault, tried=tried, output="")
    lines = list(compression_lines(refused))
    assert lines[1] == "  all: accuracy 0.1000, refused: accuracy 0.1000 is below 0.9880"
    assert not [line for line in lines if "drop" in line or "wrote" in line]


def test_a_search_that_finds_nothing_tells_only_what_was_tried() -> None:
    nothing = msgspec.structs.replace(
        COMPRESSED, after=None, fault="no setting passes", layers=(), downloads=(), output=""
    )
    assert len(list(compression_lines(nothing))) == 2


def test_fine_tuning_is_told_beside_what_it_was_without() -> None:
    layer = msgspec.structs.replace(COMPRESSED.layers[0], values=16)
    tuned = msgspec.structs.replace(
        COMPRESSED, untuned=0.86, epochs=5, layers=(layer,), drop_low=None, drop_high=None
    )
    lines = list(compression_lines(tuned))
    assert lines[2] == "  fine-tuned for 5 epochs; without it accuracy 0.8600"
    assert lines[3].endswith("drop +0.0020")
    assert lines[4].endswith("50% zeros, at most 16 shares of a channel's largest")


def test_a_size_that_stays_is_told_once() -> None:
    assert "102,656 >" not in list(download_lines(COMPRESSED.downloads))[1]


@pytest.mark.parametrize("alone", [0.982, None])
def test_a_distillation_tells_teacher_and_every_student(alone: float | None) -> None:
    lines = list(distillation_lines(msgspec.structs.replace(DISTILLED, alone=alone)))
    assert lines[-2:] == [
        "  student distilled for 60 epochs: 0.9880, 102,656 bytes as float .tflite, drop against the teacher +0.0100",
        "wrote distilled.keras",
    ]
    assert ("  student trained alone for 60 epochs: 0.9820" in lines) == (alone is not None)


def test_a_refused_distillation_writes_nothing() -> None:
    refused = msgspec.structs.replace(DISTILLED, fault="worse", output="")
    assert "wrote" not in list(distillation_lines(refused))[-1]
