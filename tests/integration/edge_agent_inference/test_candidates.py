"""A candidate becomes ready and passes its self-test, or says why not; real workers, real LiteRT."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import numpy as np
import pytest

from contract.errors import (
    ConfigError,
    DigestError,
    ManifestError,
    RuntimeLoadError,
    SelfTestError,
    StorageError,
)
from contract.profile import DelegateName
from contract.tensor import DType, TensorSpec
from edge_agent.inference.pool import Pool, WorkerHandle, WorkerSpec
from tests.support.inference_slots import (
    START_S,
    VARIANT,
    a_float_slot,
    a_hanging_slot,
    a_slot,
    children,
    golden_arrays,
    is_running,
    manifest_of,
    model_bytes,
    model_path_in,
    npz_of,
    serve,
    spec_of,
    wait_until,
)


def start(pool: Pool, slot: Path) -> WorkerHandle:
    return pool.start_candidate(spec_of(slot=slot), START_S)


def test_a_sound_candidate_is_ready_and_passes_its_self_test(pool: Pool) -> None:
    handle = pool.start_candidate(spec_of("1.1.0"), START_S)
    report = pool.self_test(handle, START_S)

    assert handle.variant == VARIANT
    assert handle.digest == manifest_of("1.1.0").variants[0].artifact.sha256
    assert handle.runtime == "ai-edge-litert"
    assert is_running(handle.pid)
    assert (report.samples, report.top1_agreement) == (10, 1.0)
    assert report.worst_abs_error <= report.max_abs_error
    assert pool.active("digits") is None


def test_the_delegate_that_runs_is_reported_with_its_nodes(pool: Pool) -> None:
    handle = pool.start_candidate(spec_of(), START_S)

    assert (handle.delegate.requested, handle.delegate.actual) == ("xnnpack", "xnnpack")
    # XNNPACK leaves the int8 softmax, the last of nine nodes, to TFLite's own kernel.
    assert (handle.delegate.nodes_total, handle.delegate.nodes_delegated) == (9, 8)


def test_a_variant_for_no_delegate_runs_on_none(pool: Pool, tmp_path: Path) -> None:
    handle = start(pool, a_float_slot(tmp_path / "slot", "1.0.0", DelegateName.NONE))

    assert (handle.delegate.requested, handle.delegate.actual) == ("none", "none")
    assert (handle.delegate.nodes_total, handle.delegate.nodes_delegated) == (9, 0)
    assert pool.self_test(handle, START_S).top1_agreement == 1.0


def test_a_variant_for_a_delegate_that_is_not_installed_is_not_loaded(pool: Pool, tmp_path: Path) -> None:
    with pytest.raises(RuntimeLoadError, match="libedgetpu"):
        start(pool, a_float_slot(tmp_path / "slot", "1.0.0", DelegateName.EDGETPU))


def test_a_discarded_candidate_ends_and_leaves_nothing(pool: Pool, run_dir: Path) -> None:
    handle = pool.start_candidate(spec_of(), START_S)

    pool.discard(handle)

    wait_until(lambda: not is_running(handle.pid), "end of the candidate")
    wait_until(lambda: not list((run_dir / "w").iterdir()), "removal of its socket")
    with pytest.raises(RuntimeLoadError, match="has ended"):
        pool.activate(handle)
    with pytest.raises(RuntimeLoadError, match="has ended"):
        pool.self_test(handle, 1.0)
    pool.discard(handle)


def test_a_model_file_of_garbage_is_refused_in_the_runtimes_words(pool: Pool, tmp_path: Path) -> None:
    with pytest.raises(RuntimeLoadError, match=r"ai-edge-litert .* does not load variant static-int8"):
        start(pool, a_slot(tmp_path / "slot", content=b"no flatbuffer" * 99))


def test_a_model_file_that_was_cut_short_is_refused(pool: Pool, tmp_path: Path) -> None:
    with pytest.raises(RuntimeLoadError):
        start(pool, a_slot(tmp_path / "slot", content=model_bytes()[:1000]))


def test_a_model_file_damaged_on_disk_is_never_given_to_the_runtime(pool: Pool, tmp_path: Path) -> None:
    slot = a_slot(tmp_path / "slot")
    content = bytearray(model_bytes())
    content[50_000] ^= 1
    model_path_in(slot).write_bytes(content)

    with pytest.raises(DigestError, match="damaged on this device"):
        start(pool, slot)


def test_a_missing_model_file_is_told(pool: Pool, tmp_path: Path) -> None:
    slot = a_slot(tmp_path / "slot")
    model_path_in(slot).unlink()

    with pytest.raises(StorageError, match="cannot be read"):
        start(pool, slot)


def test_an_empty_slot_is_told(pool: Pool, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"manifest\.json"):
        start(pool, tmp_path)


def test_an_endless_variant_file_is_not_read(pool: Pool, tmp_path: Path) -> None:
    slot = a_slot(tmp_path / "slot")
    (slot / "variant").write_bytes(b" " * 5000)

    with pytest.raises(StorageError, match="more than 4096 bytes"):
        start(pool, slot)


@pytest.mark.parametrize("content", [b"{", b'{"name":"float64"}'])
def test_a_choice_that_the_manifest_does_not_have_is_refused(
    pool: Pool, tmp_path: Path, content: bytes
) -> None:
    slot = a_slot(tmp_path / "slot")
    (slot / "variant").write_bytes(content)

    with pytest.raises(ManifestError):
        start(pool, slot)


def test_a_slot_that_holds_another_version_is_refused(pool: Pool) -> None:
    with pytest.raises(ManifestError, match=r"holds digits 1\.0\.0, not digits 1\.1\.0"):
        pool.start_candidate(
            WorkerSpec(model="digits", version="1.1.0", slot_dir=spec_of("1.0.0").slot_dir, threads=1),
            START_S,
        )


def test_a_model_that_is_not_what_the_manifest_describes_is_refused_with_every_fault(
    pool: Pool, tmp_path: Path
) -> None:
    inputs = (TensorSpec(name="image", shape=(1, 16, 16, 1), dtype=DType.INT32),)
    outputs = (TensorSpec(name="probability", shape=(1, 10), dtype=DType.FLOAT32),)

    with pytest.raises(RuntimeLoadError, match="not what the manifest describes") as caught:
        start(pool, a_slot(tmp_path / "slot", inputs=inputs, preprocessing=None))
    assert len(caught.value.faults) == 2
    with pytest.raises(RuntimeLoadError) as caught:
        start(pool, a_slot(tmp_path / "other", outputs=outputs))
    assert caught.value.faults == (
        "output 'probabilities' is not in the manifest",
        "output 'probability' is not in the model, did you mean 'probabilities'?",
    )


def test_labels_too_long_for_an_answer_are_refused_before_the_first_request(
    pool: Pool, tmp_path: Path
) -> None:
    with pytest.raises(RuntimeLoadError, match="does not fit"):
        start(pool, a_slot(tmp_path / "slot", labels=("x" * 70_000, *"123456789")))


def test_another_model_under_the_same_version_fails_the_self_test(pool: Pool, tmp_path: Path) -> None:
    handle = start(pool, a_float_slot(tmp_path / "slot", "1.2.0"))

    with pytest.raises(SelfTestError) as caught:
        pool.self_test(handle, START_S)

    assert "samples" in caught.value.faults[0]
    assert "at most 0.00976562 is allowed" in caught.value.faults[0]
    assert "best class" in caught.value.faults[1]


def test_a_flipped_bit_that_the_runtime_loads_fails_the_self_test(pool: Pool, tmp_path: Path) -> None:
    content = bytearray(model_bytes())
    content[FLIPPED_BYTE] ^= 0x01

    handle = start(pool, a_slot(tmp_path / "slot", content=bytes(content)))

    with pytest.raises(SelfTestError, match="as expected"):
        pool.self_test(handle, START_S)


def test_golden_inputs_damaged_on_disk_fail_the_self_test(pool: Pool, tmp_path: Path) -> None:
    slot = a_slot(tmp_path / "slot")
    golden = manifest_of().golden
    assert golden is not None
    handle = start(pool, slot)
    (slot / "artifacts" / golden.artifact.sha256).write_bytes(b"not an archive")

    with pytest.raises(DigestError):
        pool.self_test(handle, START_S)


def test_golden_inputs_that_are_no_archive_fail_the_self_test(pool: Pool, tmp_path: Path) -> None:
    handle = start(pool, a_slot(tmp_path / "slot", golden=b"not an archive"))

    with pytest.raises(ManifestError, match="golden inputs of digits cannot be read"):
        pool.self_test(handle, START_S)


def test_pickled_golden_inputs_are_not_unpickled(pool: Pool, tmp_path: Path) -> None:
    arrays = golden_arrays() | {"input.image": np.array([{"a": 1}], dtype=object)}
    handle = start(pool, a_slot(tmp_path / "slot", golden=npz_of(arrays)))

    with pytest.raises(ManifestError, match="cannot be read"):
        pool.self_test(handle, START_S)


def test_golden_inputs_of_another_variant_fail_the_self_test(pool: Pool, tmp_path: Path) -> None:
    arrays = golden_arrays()
    arrays["expected.other.probabilities"] = arrays.pop(f"expected.{VARIANT}.probabilities")
    handle = start(pool, a_slot(tmp_path / "slot", golden=npz_of(arrays)))

    with pytest.raises(SelfTestError, match="do not fit"):
        pool.self_test(handle, START_S)


def test_golden_inputs_that_cannot_be_run_fail_the_self_test(pool: Pool, tmp_path: Path) -> None:
    arrays = golden_arrays()
    arrays["input.image"][3] = np.nan
    handle = start(pool, a_slot(tmp_path / "slot", golden=npz_of(arrays)))

    with pytest.raises(SelfTestError, match="golden sample 3 could not be run"):
        pool.self_test(handle, START_S)


def test_a_candidate_that_is_not_ready_in_time_is_killed(pool: Pool, run_dir: Path, tmp_path: Path) -> None:
    slot = a_hanging_slot(tmp_path / "slot")
    before = children()

    with pytest.raises(RuntimeLoadError, match=r"not ready within 1\.5 s"):
        pool.start_candidate(spec_of(slot=slot), 1.5)

    wait_until(lambda: children() <= before, "end of the candidate")
    assert not list((run_dir / "w").iterdir())


def test_a_native_crash_while_loading_is_named(pool: Pool, tmp_path: Path) -> None:
    slot = a_hanging_slot(tmp_path / "slot")
    before = children()
    failures: list[RuntimeLoadError] = []

    def load() -> None:
        with pytest.raises(RuntimeLoadError) as caught:
            pool.start_candidate(spec_of(slot=slot), START_S)
        failures.append(caught.value)

    thread = threading.Thread(target=load)
    thread.start()
    wait_until(lambda: bool(children() - before), "start of the candidate")
    (pid,) = children() - before
    wait_until(lambda: "digits" in Path(f"/proc/{pid}/comm").read_text(), "its beginning")
    os.kill(pid, signal.SIGSEGV)
    thread.join(START_S)

    assert "died of SIGSEGV before it was ready" in str(failures[0])


def test_a_candidate_that_dies_after_it_was_ready_cannot_be_activated(pool: Pool) -> None:
    handle = pool.start_candidate(spec_of(), START_S)
    os.kill(handle.pid, signal.SIGABRT)
    wait_until(lambda: not is_running(handle.pid), "death of the candidate")

    with pytest.raises(RuntimeLoadError):
        pool.self_test(handle, START_S)
    with pytest.raises(RuntimeLoadError):
        pool.activate(handle)


def test_a_candidate_that_dies_in_its_self_test_is_told(pool: Pool) -> None:
    handle = pool.start_candidate(spec_of(), START_S)
    os.kill(handle.pid, signal.SIGSTOP)
    killer = threading.Timer(0.2, os.kill, (handle.pid, signal.SIGBUS))
    killer.start()
    waker = threading.Timer(0.3, os.kill, (handle.pid, signal.SIGCONT))
    waker.start()

    with pytest.raises(RuntimeLoadError, match="died of SIGBUS in its self-test"):
        pool.self_test(handle, START_S)
    killer.join()
    waker.join()


def test_a_self_test_that_takes_too_long_fails(pool: Pool) -> None:
    handle = pool.start_candidate(spec_of(), START_S)
    os.kill(handle.pid, signal.SIGSTOP)

    with pytest.raises(SelfTestError, match=r"took more than 0\.2 s"):
        pool.self_test(handle, 0.2)
    os.kill(handle.pid, signal.SIGCONT)


def test_a_failed_candidate_leaves_the_active_worker_alone(pool: Pool, tmp_path: Path) -> None:
    active = serve(pool)

    with pytest.raises(RuntimeLoadError):
        start(pool, a_slot(tmp_path / "slot", content=b"no flatbuffer" * 99))

    assert pool.active("digits") == active
    assert is_running(active.pid)


def test_a_model_name_too_long_for_a_socket_is_refused(pool: Pool) -> None:
    spec = WorkerSpec(model="m" * 95, version="1.0.0", slot_dir=Path("/nowhere"), threads=1)

    with pytest.raises(ConfigError, match="at most 107"):
        pool.start_candidate(spec, START_S)


def test_a_closed_pool_starts_nothing(pool: Pool) -> None:
    pool.close()

    with pytest.raises(RuntimeLoadError, match="agent is ending"):
        pool.start_candidate(spec_of(), START_S)
    assert pool.take_windows() == []


FLIPPED_BYTE = 99_708
"""Of the int8 digits model 1.0.0, in a tensor's scale: with its lowest bit flipped it loads, and answers wrongly."""
