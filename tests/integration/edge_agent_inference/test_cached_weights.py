"""Large models with their packed weights on disk: real LiteRT, real child processes, real files."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pytest

from edge_agent import connect
from edge_agent.inference.cached_weights import DRAFT_FILE, FOLDER, RECORD_FILE, open_cached
from edge_agent.inference.compiled import CompiledGraph
from edge_agent.inference.engine import Engine
from edge_agent.inference.facts import processor_of
from edge_agent.inference.model import LoadedModel
from edge_agent.inference.pool import Pool
from edge_agent.inference.runtime import Graph, find_runtime
from edge_agent.inference.slot import load_slot
from edge_agent.inference.weight_cache import TRIES, Grounds, Record, encode_record, next_try, parse_record
from tests.support.inference_slots import START_S, model_path_in, serve, spec_of, wait_until
from tests.support.large_models import WIDTH, a_large_slot

ENGINE = Engine(runtime="ai-edge-litert")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A slot whose cache was made."""
    slot = a_large_slot(tmp_path_factory.mktemp("made") / "slot")
    assert isinstance(load(slot).graph, CompiledGraph)
    return slot


@pytest.fixture
def slot(made: Path, tmp_path: Path) -> Path:
    """A copy of it, to be spoiled."""
    return Path(shutil.copytree(made, tmp_path / "slot"))


def load(slot: Path, engine: Engine = ENGINE) -> LoadedModel:
    return LoadedModel(load_slot(slot), find_runtime(), 1, engine)


def question() -> npt.NDArray[np.float32]:
    return np.random.default_rng(3).normal(0, 1, (1, WIDTH)).astype(np.float32)


def record_of(slot: Path) -> Record:
    record = parse_record((slot / FOLDER / RECORD_FILE).read_bytes())
    assert record is not None
    return record


def weights_of(slot: Path) -> list[Path]:
    return sorted((slot / FOLDER).glob("*.xnn"))


def grounds_of(slot: Path) -> Grounds:
    runtime = find_runtime()
    digest = load_slot(slot).variant.artifact.sha256
    return Grounds(model=digest, runtime=runtime.version, processor=processor_of())


def write(slot: Path, record: Record) -> None:
    (slot / FOLDER / RECORD_FILE).write_bytes(encode_record(record))


def test_it_answers_as_the_classic_interpreter_does_to_the_last_bit(slot: Path) -> None:
    classic = load(slot, msgspec.structs.replace(ENGINE, has_weight_cache=False))
    cached = load(slot)

    assert isinstance(classic.graph, Graph)
    assert isinstance(cached.graph, CompiledGraph)
    (one,), (other,) = classic.infer([question()]), cached.infer([question()])
    np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(one, cached.graph.run_one(question()))
    assert np.ptp(one) > 1
    assert cached.graph.delegate == classic.graph.delegate
    assert cached.graph.delegate.nodes_delegated == 2


def test_a_worker_holds_the_weights_in_pages_that_the_system_can_have_back(
    slot: Path, run_dir: Path, pool: Pool
) -> None:
    handle = serve(pool, slot=slot)
    with connect(run_dir).model("digits") as model:
        model.infer(question())
    cached = anonymous_bytes(handle.pid)
    bare = replace(spec_of(slot=slot), engine=msgspec.structs.replace(ENGINE, has_weight_cache=False))
    classic = anonymous_bytes(pool.start_candidate(bare, START_S).pid)

    assert classic - cached > weights_of(slot)[0].stat().st_size / 2


def anonymous_bytes(pid: int) -> int:
    """Memory that stands in no file (proc(5), smaps_rollup)."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Anonymous:")) * 1024


def test_a_damaged_cache_is_never_used_and_made_again(slot: Path) -> None:
    (weights,) = weights_of(slot)
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 0x40
    weights.write_bytes(content)

    (answer,) = load(slot).infer([question()])

    (expected,) = load(slot, msgspec.structs.replace(ENGINE, has_weight_cache=False)).infer([question()])
    np.testing.assert_array_equal(answer, expected)
    assert weights_of(slot)[0].read_bytes() != bytes(content)


@pytest.mark.parametrize("spoil", ["missing file", "damaged record", "another processor", "another runtime"])
def test_a_cache_that_does_not_fit_is_made_again(slot: Path, spoil: str) -> None:
    record = record_of(slot)
    if spoil == "missing file":
        weights_of(slot)[0].unlink()
    elif spoil == "damaged record":
        (slot / FOLDER / RECORD_FILE).write_bytes(b"{")
    else:
        change: dict[str, Any] = {"processor": "z80"} if spoil == "another processor" else {"runtime": "0.1"}
        write(
            slot, msgspec.structs.replace(record, grounds=msgspec.structs.replace(record.grounds, **change))
        )

    graph = load(slot).graph

    assert isinstance(graph, CompiledGraph)
    assert record_of(slot).grounds == record.grounds
    assert len(weights_of(slot)) == 1


def test_a_model_without_a_signature_runs_without_and_is_not_tried_again(tmp_path: Path) -> None:
    slot = a_large_slot(tmp_path / "slot", has_signature=False)

    assert isinstance(load(slot).graph, Graph)

    assert "signature" in record_of(slot).refused
    assert not weights_of(slot)
    before = (slot / FOLDER / RECORD_FILE).stat().st_mtime_ns
    assert open_cached(find_runtime(), model_path_in(slot), load_slot(slot).variant, 1) is None
    assert (slot / FOLDER / RECORD_FILE).stat().st_mtime_ns == before


def test_after_two_tries_that_ended_in_the_middle_it_is_left_alone(slot: Path) -> None:
    record = record_of(slot)
    write(slot, Record(grounds=record.grounds, tries=TRIES))

    assert isinstance(load(slot).graph, Graph)


def test_a_folder_that_cannot_be_used_costs_the_cache_and_not_the_model(slot: Path) -> None:
    shutil.rmtree(slot / FOLDER)
    (slot / FOLDER).write_text("a file where the folder should be", encoding="utf-8")

    model = load(slot)

    assert isinstance(model.graph, Graph)
    (answer,) = model.infer([question()])
    assert np.isfinite(answer).all()


def test_a_packing_that_is_killed_leaves_the_model_without_a_cache(slot: Path) -> None:
    shutil.rmtree(slot / FOLDER)
    (slot / FOLDER).mkdir()
    write(slot, next_try(None, grounds_of(slot)))
    packing = subprocess.Popen(
        [sys.executable, "-m", "edge_agent.inference.pack_weights", str(slot), "float32"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_until((slot / FOLDER / DRAFT_FILE).exists, "the draft of a cache")
    packing.kill()
    packing.wait(10)

    assert record_of(slot).packed is None
    assert isinstance(load(slot).graph, CompiledGraph)  # the second and last try
    assert not (slot / FOLDER / DRAFT_FILE).exists()
