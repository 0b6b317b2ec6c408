from __future__ import annotations

import json
import math
from datetime import datetime, timezone

import numpy as np
import pytest

from edge_agent.inference.asking import Inference
from edge_agent.inference.protocol import ScoredClass
from edge_agent.inference.sources.results import OUTPUT_MAX_VALUES, encode_result, is_wanted, result_of
from edge_agent.inference.sources.tally import (
    Counts,
    OverloadWatch,
    decode_counts,
    encode_counts,
)
from edge_agent.overload import QUIET_S

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)


def an_answer(*classes: ScoredClass, values: int = 2) -> Inference:
    output = np.zeros((1, values), np.float32)
    output[0, 0] = math.nan
    return Inference({"y": output}, classes, "1.0.0", "int8", 0.25)


def test_an_answer_with_classes_is_json_without_tensors() -> None:
    answer = an_answer(ScoredClass(index=3, label="three", score=0.5))
    assert json.loads(encode_result(result_of(answer, "digits", "a.png", AT))) == {
        "model": "digits",
        "version": "1.0.0",
        "variant": "int8",
        "source": "a.png",
        "at": "2026-01-02T03:04:05+00:00",
        "latency_s": 0.25,
        "classes": [{"index": 3, "label": "three", "score": 0.5}],
    }


def test_an_answer_without_classes_has_its_tensors_up_to_a_limit() -> None:
    small = result_of(an_answer(), "m", "a", AT)
    assert small["outputs"] == {"y": {"shape": [1, 2], "values": [None, 0.0]}}
    large = result_of(an_answer(values=OUTPUT_MAX_VALUES + 1), "m", "a", AT)
    assert large["outputs_left_off"] == OUTPUT_MAX_VALUES + 1
    assert "outputs" not in large


@pytest.mark.parametrize(
    ("labels", "min_score", "wanted"),
    [((), 0.0, True), (("cat",), 0.0, True), (("dog",), 0.0, False), (("cat",), 0.9, False), ((), 0.5, True)],
)
def test_what_is_wanted_hangs_on_the_best_class(
    labels: tuple[str, ...], min_score: float, wanted: object
) -> None:
    result = {"classes": [{"label": "cat", "score": 0.6}, {"label": "dog", "score": 0.4}]}
    assert is_wanted(result, labels, min_score) is wanted


def test_an_answer_without_classes_is_wanted_only_by_those_who_want_all() -> None:
    assert is_wanted({"classes": []}, (), 0.0)
    assert not is_wanted({"classes": []}, ("cat",), 0.0)


def test_counts_travel_as_a_line() -> None:
    counts = Counts(captured=3, rate_hz=2.0)
    assert encode_counts(counts).endswith(b"\n")
    assert decode_counts(encode_counts(counts)) == counts
    assert decode_counts(b"hello") is None


def test_overload_is_told_when_it_begins_and_again_after_a_quiet_while() -> None:
    watch = OverloadWatch()
    assert watch.take(Counts(captured=10, skipped=9, rate_hz=2.0), 0.0) == ""
    told = watch.take(Counts(captured=20, dropped=4, rate_hz=2.0), 5.0)
    assert told == "4 of 10 inputs dropped, the model is slower than 2 a second"
    assert watch.take(Counts(captured=30, dropped=8), 10.0) == ""
    assert watch.take(Counts(captured=40, dropped=8), 15.0) == ""
    later = watch.take(Counts(captured=50, dropped=8, sink_dropped=2), 10.0 + QUIET_S)
    assert later == "2 answers lost at a full or failing sink"


def test_counts_of_a_new_process_begin_anew() -> None:
    watch = OverloadWatch()
    watch.take(Counts(captured=100, dropped=50), 0.0)
    assert watch.take(Counts(captured=10, dropped=5, rate_hz=1.0), 1000.0).startswith("5 of 10 inputs")
