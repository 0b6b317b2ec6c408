"""Workers with delegates from real shared libraries: what runs, what is reported, and the way back to the processor."""

from __future__ import annotations

import functools
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from contract.errors import DigestError, RuntimeLoadError, SelfTestError
from contract.manifest import parse_manifest, serialize_manifest
from contract.profile import DelegateName
from edge_agent import connect
from edge_agent.crew import Crew
from edge_agent.inference.engine import Engine, ExternalDelegate
from edge_agent.inference.pool import Crash, Pool, WorkerHandle
from edge_agent.inference.probe_protocol import ProbeJob
from edge_agent.inference.prober import Prober
from edge_agent.inference.runtime import is_compiled_for_edgetpu
from edge_agent.inference.slot import load_slot
from edge_agent.update.slots import check_slot
from tests.support.inference_delegates import a_delegate, a_slot_for_the_edge_tpu, probe_golden, probe_model
from tests.support.inference_slots import (
    START_S,
    a_pool,
    a_slot,
    artifact_of,
    children,
    fixed_threads,
    images_of,
    is_running,
    model_bytes,
    nobody,
    npz_of,
    short_folder,
    slot_of,
    wait_until,
)

LITERT = "ai-edge-litert"
HANG_S = 5.0
"""Long enough for a worker that does not hang."""


def an_engine(*delegates: ExternalDelegate) -> Engine:
    return Engine(runtime=LITERT, externals=delegates)


@pytest.fixture
def crashes() -> list[Crash]:
    return []


@pytest.fixture
def pool(crashes: list[Crash]) -> Iterator[Pool]:
    with short_folder() as folder, a_pool(folder) as (made, told):
        yield made
        crashes += told


def start(pool: Pool, engine: Engine, slot: Path | None = None) -> WorkerHandle:
    crew = Crew(pool, fixed_threads(), START_S, START_S, lambda: engine, on_gap=nobody)
    return crew.start("digits", "1.0.0", slot or slot_of("1.0.0"))


def a_probe_slot(folder: Path) -> Path:
    """A slot that says digits and holds the probe's model, of whose six nodes the test's delegate takes the ADD."""
    golden, described = probe_golden("static-int8")
    return a_slot(folder, content=probe_model(), golden=npz_of(golden), **described)


def test_a_delegate_that_takes_nothing_leaves_the_model_to_xnnpack_and_the_report_says_so(pool: Pool) -> None:
    report = start(pool, an_engine(a_delegate("IDLE"))).delegate

    assert (report.requested, report.actual, report.nodes_delegated) == ("npu", "xnnpack", 8)
    assert report.reason == "npu took no node of this model"


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        ("REFUSES", "Failed to load delegate"),
        ("SYMBOL", "tflite_plugin_create_delegate"),
        ("BREAKS", "this device is on fire"),
        ("CRASHES", "SIGSEGV"),
    ],
)
def test_a_model_for_the_processor_runs_without_a_delegate_that_fails(
    pool: Pool, behaviour: str, words: str
) -> None:
    handle = start(pool, an_engine(a_delegate(behaviour)))

    assert (handle.delegate.requested, handle.delegate.actual) == ("npu", "xnnpack")
    assert words in handle.delegate.reason
    assert pool.self_test(handle, START_S).top1_agreement == 1.0


@pytest.mark.parametrize("may_fork", [True, False], ids=["forked", "executed"])
def test_a_delegate_that_passed_its_probe_and_hangs_in_the_worker_costs_one_start_and_leaves_nothing(
    tmp_path: Path,
    may_fork: bool,  # noqa: FBT001 - a case
) -> None:
    stuck = tmp_path / "stuck"
    delegate = a_delegate("STICKS", device=str(stuck))
    assert Prober()(ProbeJob(runtime=LITERT, delegate=delegate)).passed is not None
    stuck.touch()
    with short_folder() as run_dir, a_pool(run_dir, may_fork=may_fork) as (pool, crashes):
        before = children()
        crew = Crew(pool, fixed_threads(), HANG_S, START_S, lambda: an_engine(delegate), on_gap=nobody)
        handle = crew.start("digits", "1.0.0", slot_of("1.0.0"))
        report = handle.delegate

        assert (report.requested, report.actual, report.nodes_delegated) == ("npu", "xnnpack", 8)
        assert f"not ready within {HANG_S:g} s" in report.reason
        assert pool.self_test(handle, START_S).top1_agreement == 1.0
        crew.activate(handle)
        with connect(run_dir).model("digits") as model:
            assert model.infer(images_of(3)[0]).label == "3"
        assert not crew.may_regain(handle)
        wait_until(lambda: children() == before | {handle.pid}, "end of the worker that hangs")
        assert crashes == []
    wait_until(lambda: not is_running(handle.pid), "end of the worker")


def test_the_second_delegate_is_taken_when_the_first_fails(pool: Pool) -> None:
    engine = an_engine(a_delegate("REFUSES"), a_delegate("IDLE", name="gpu"))

    assert start(pool, engine).delegate.reason.startswith("npu: Failed to load")


def test_a_delegate_that_did_not_survive_its_probe_is_not_loaded_at_all(pool: Pool) -> None:
    engine = an_engine(a_delegate("CRASHES")).without_externals("abi-crash: SIGSEGV")
    report = start(pool, engine).delegate

    assert (report.requested, report.actual, report.reason) == ("npu", "xnnpack", "abi-crash: SIGSEGV")


def test_a_board_without_xnnpack_runs_an_ordinary_model_on_plain_kernels(pool: Pool) -> None:
    report = start(pool, Engine(runtime=LITERT, has_xnnpack=False)).delegate

    assert (report.requested, report.actual, report.nodes_delegated) == ("xnnpack", "none", 0)


def test_a_runtime_that_is_not_there_is_named(pool: Pool) -> None:
    with pytest.raises(RuntimeLoadError, match="no TFLite runtime"):
        start(pool, Engine(runtime="tflite-runtime"))


def test_a_lost_edge_tpu_makes_the_fallback_run(pool: Pool, tmp_path: Path) -> None:
    handle = start(pool, an_engine(), a_slot_for_the_edge_tpu(tmp_path / "slot"))

    assert (handle.variant, handle.digest) == ("static-int8", artifact_of(model_bytes()).sha256)
    assert (handle.delegate.requested, handle.delegate.actual) == ("edgetpu", "xnnpack")
    assert "edgetpu alone" in handle.delegate.reason
    assert pool.self_test(handle, START_S).top1_agreement == 1.0


def test_an_edge_tpu_library_that_crashes_makes_the_fallback_run(pool: Pool, tmp_path: Path) -> None:
    engine = an_engine(a_delegate("CRASHES", name="edgetpu"))
    handle = start(pool, engine, a_slot_for_the_edge_tpu(tmp_path / "slot"))

    assert handle.variant == "static-int8"
    assert "SIGSEGV" in handle.delegate.reason


def test_without_a_fallback_the_reason_is_clear(pool: Pool, tmp_path: Path) -> None:
    slot = a_slot_for_the_edge_tpu(tmp_path / "slot", with_fallback=False)
    engine = an_engine(a_delegate("REFUSES", name="edgetpu"))

    with pytest.raises(RuntimeLoadError, match="edgetpu: Failed to load delegate") as caught:
        start(pool, engine, slot)
    assert "litefleet-agent doctor" in caught.value.remedy


def test_a_lost_delegate_of_a_variants_own_is_told_by_its_name_and_may_come_back(
    pool: Pool, tmp_path: Path
) -> None:
    slot = a_probe_slot(tmp_path / "slot")
    manifest = parse_manifest((slot / "manifest.json").read_bytes())
    (cpu,) = manifest.variants
    npu = msgspec.structs.replace(cpu, name="on-npu", delegate=DelegateName.EXTERNAL)
    assert manifest.golden is not None
    tolerance = {npu.name: manifest.golden.tolerance[cpu.name], **manifest.golden.tolerance}
    golden = msgspec.structs.replace(manifest.golden, tolerance=tolerance)
    manifest = msgspec.structs.replace(manifest, variants=(npu, cpu), golden=golden)
    (slot / "manifest.json").write_bytes(serialize_manifest(manifest))
    (slot / "variant").write_bytes(msgspec.json.encode({"name": npu.name, "fallback": cpu.name}))

    for behaviour, may_regain in (("REFUSES", True), ("CRASHES", False)):
        handle = start(pool, an_engine(a_delegate(behaviour)), slot)
        known = functools.partial(an_engine, a_delegate(behaviour))
        crew = Crew(pool, fixed_threads(), START_S, START_S, known, on_gap=nobody)

        assert handle.variant == cpu.name
        assert (handle.delegate.requested, handle.delegate.actual) == ("npu", "xnnpack")
        assert crew.may_regain(handle) is may_regain


def test_a_damaged_fallback_is_found_when_the_slot_is_checked(tmp_path: Path) -> None:
    slot = a_slot_for_the_edge_tpu(tmp_path / "slot")
    fallback = load_slot(slot).fallback
    assert fallback is not None
    check_slot(slot, model="digits", version="1.0.0", profile="generic-x86-64")
    (slot / "artifacts" / fallback.artifact.sha256).write_bytes(b"damaged")
    with pytest.raises(DigestError, match="damaged on this device"):
        check_slot(slot, model="digits", version="1.0.0", profile="generic-x86-64")


def test_a_compiled_model_is_known_by_its_op_and_not_by_its_name(tmp_path: Path) -> None:
    plain, compiled = tmp_path / "x_edgetpu.tflite", tmp_path / "y.tflite"
    plain.write_bytes(model_bytes())
    compiled.write_bytes(model_bytes() + b"edgetpu-custom-op")
    assert not is_compiled_for_edgetpu(plain)
    assert is_compiled_for_edgetpu(compiled)
    compiled.write_bytes(b"")
    with pytest.raises(RuntimeLoadError, match="cannot be read"):
        is_compiled_for_edgetpu(compiled)


def test_a_worker_that_keeps_dying_with_a_delegate_comes_back_without_it(pool: Pool) -> None:
    handle = start(pool, an_engine(a_delegate("IDLE")))
    pool.activate(handle)
    killed = 0
    while killed < 4:
        active = pool.active("digits")
        assert active is not None
        os.kill(active.pid, signal.SIGKILL)
        killed += 1
        wait_until(lambda old=active.pid: _pid(pool) != old, "the restart")  # type: ignore[misc]
    active = pool.active("digits")
    assert active is not None
    assert active.delegate.reason == "the worker died 4 times in a row with it"


def _pid(pool: Pool) -> int:
    active = pool.active("digits")
    assert active is not None
    return active.pid


def test_a_delegate_that_works_takes_its_nodes_and_answers_rightly(pool: Pool, tmp_path: Path) -> None:
    handle = start(pool, an_engine(a_delegate("WORKS")), a_probe_slot(tmp_path / "slot"))
    report = handle.delegate

    assert (report.requested, report.actual, report.reason) == ("npu", "npu", "")
    assert (report.nodes_total, report.nodes_delegated, report.partitions) == (6, 1, 1)
    assert pool.self_test(handle, START_S).worst_abs_error < 1e-5


def test_a_delegate_that_answers_wrongly_is_caught_by_the_self_test(pool: Pool, tmp_path: Path) -> None:
    handle = start(pool, an_engine(a_delegate("WRONG")), a_probe_slot(tmp_path / "slot"))

    assert handle.delegate.actual == "npu"
    with pytest.raises(SelfTestError, match="golden inputs") as caught:
        pool.self_test(handle, START_S)
    assert any("sum" in fault for fault in caught.value.faults)


def test_only_a_delegate_that_may_come_back_is_worth_another_try(pool: Pool) -> None:
    refused = start(pool, an_engine(a_delegate("REFUSES")))
    crew = Crew(
        pool, fixed_threads(), START_S, START_S, lambda: an_engine(a_delegate("REFUSES")), on_gap=nobody
    )
    assert crew.may_regain(refused)
    assert not crew.may_regain(start(pool, an_engine(a_delegate("CRASHES"))))
    assert not crew.may_regain(start(pool, an_engine()))
