"""Models as they come: without signature, failing while they run, on other runtimes; real LiteRT, mostly in process."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import ai_edge_litert.interpreter as litert
import numpy as np
import pytest

from contract.errors import InferenceError, RuntimeLoadError, StorageError
from contract.tensor import DType, TensorSpec
from edge_agent import connect
from edge_agent.inference.area import create_area
from edge_agent.inference.model import LoadedModel
from edge_agent.inference.pool import Pool
from edge_agent.inference.runtime import find_runtime
from edge_agent.inference.slot import load_slot
from tests.support.inference_models import (
    a_lookup,
    a_model_that_always_fails,
    digits_with_a_scale_per_row,
    digits_without_signature,
)
from tests.support.inference_slots import a_slot, images_of, serve, slot_of, spec_of, tensor_of
from tests.support.own_process import opened


def float_spec(name: str, *shape: int) -> TensorSpec:
    return TensorSpec(name=name, shape=shape, dtype=DType.FLOAT32)


def load(slot: Path) -> LoadedModel:
    return LoadedModel(load_slot(slot), find_runtime(), 1)


def a_lookup_slot(folder: Path) -> Path:
    return a_slot(
        folder,
        content=a_lookup(),
        inputs=(TensorSpec(name="index", shape=(1,), dtype=DType.INT32),),
        outputs=(float_spec("out", 1),),
        labels=(),
        preprocessing=None,
        postprocessing=None,
    )


def test_a_model_without_a_signature_goes_by_its_tensors_names(tmp_path: Path) -> None:
    slot = a_slot(
        tmp_path / "slot",
        content=digits_without_signature(),
        inputs=(float_spec("serving_default_image:0", 1, 8, 8, 1),),
        outputs=(float_spec("StatefulPartitionedCall:0", 1, 10),),
    )

    (scores,) = load(slot).infer([tensor_of(images_of(6)[0])])

    assert scores.argmax() == 6


def test_a_border_with_several_scales_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RuntimeLoadError, match="has 8 scales"):
        load(a_slot(tmp_path / "slot", content=digits_with_a_scale_per_row()))


def test_a_model_that_fails_in_its_first_run_is_not_loaded(tmp_path: Path) -> None:
    slot = a_slot(
        tmp_path / "slot",
        content=a_model_that_always_fails(),
        inputs=(float_spec("table", 4),),
        outputs=(float_spec("out", 1),),
        labels=(),
        preprocessing=None,
    )

    with pytest.raises(RuntimeLoadError, match="the first run failed"):
        load(slot)


def test_a_model_that_fails_on_one_request_goes_on_with_the_next(
    pool: Pool, run_dir: Path, tmp_path: Path
) -> None:
    handle = serve(pool, slot=a_lookup_slot(tmp_path / "slot"))

    with connect(run_dir).model("digits") as model:
        assert model.infer(np.array([2], np.int32)).outputs["out"].tolist() == [12.0]
        with pytest.raises(InferenceError, match="the runtime failed"):
            model.infer(np.array([9], np.int32))
        assert model.infer(np.array([3], np.int32)).outputs["out"].tolist() == [13.0]

    assert (handle.delegate.requested, handle.delegate.actual) == ("xnnpack", "none")  # it takes no look-ups
    (window,) = pool.take_windows()
    assert (window.requests, window.errors, window.latency.count) == (3, 1, 2)


def test_without_a_runtime_every_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("ai_edge_litert", "tflite_runtime", "tensorflow.lite.python"):
        monkeypatch.setitem(sys.modules, f"{package}.interpreter", None)

    with pytest.raises(RuntimeLoadError, match="no TFLite runtime") as caught:
        find_runtime()

    assert [fault.partition(":")[0] for fault in caught.value.faults] == [
        "ai-edge-litert",
        "tflite-runtime",
        "tensorflow",
    ]


def test_the_next_runtime_is_taken_where_the_first_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    monkeypatch.setitem(sys.modules, "tflite_runtime", types.ModuleType("tflite_runtime"))
    monkeypatch.setitem(sys.modules, "tflite_runtime.interpreter", litert)

    runtime = find_runtime()

    assert (runtime.name, runtime.version) == ("tflite-runtime", "")
    assert LoadedModel(load_slot(slot_of("1.0.0")), runtime, 1).graph.delegate.actual == "xnnpack"


def test_a_runtime_that_does_not_show_its_graph_claims_no_delegate(monkeypatch: pytest.MonkeyPatch) -> None:
    class Interpreter(litert.Interpreter):  # type: ignore[misc]  # LiteRT has no type hints
        """An interpreter of a runtime that lacks the private call."""

        @property
        def _get_ops_details(self) -> Any:
            raise AttributeError

    monkeypatch.setattr(litert, "Interpreter", Interpreter)

    report = load(slot_of("1.0.0")).graph.delegate

    assert (report.requested, report.actual, report.nodes_total) == ("xnnpack", "none", 0)


def test_memory_that_cannot_be_made_leaves_no_descriptor_open() -> None:
    before = len(opened())

    with pytest.raises((OSError, ValueError)):
        create_area(-1)

    assert len(opened()) == before


def test_a_worker_that_cannot_listen_says_so(pool: Pool, run_dir: Path) -> None:
    (run_dir / "w").rmdir()

    with pytest.raises(StorageError, match="cannot listen"):
        pool.start_candidate(spec_of(), 60.0)
