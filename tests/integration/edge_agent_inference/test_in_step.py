"""Real workers that are replaced by ones with fewer threads, or of a cheaper variant."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec
import pytest

from contract.errors import DeviceError, SelfTestError
from contract.manifest import parse_manifest, serialize_manifest
from contract.profile import Precision
from edge_agent import connect
from edge_agent.crew import Crew
from edge_agent.inference.admission import Swap
from edge_agent.inference.board import Facts
from edge_agent.inference.client import Model
from edge_agent.inference.engine import UNPROVED
from edge_agent.inference.pool import Pool
from edge_agent.inference.threads import WorkerSettings
from edge_agent.inference.workers import WorkerHandle
from edge_agent.thread_tuning import ThreadTuning
from tests.support.inference_slots import (
    DIGITS,
    START_S,
    VARIANT,
    a_slot,
    artifact_of,
    golden_arrays,
    images_of,
    nobody,
    npz_of,
    wait_until,
)


@dataclass
class Heat:
    """What heat asks for."""

    cap: int = 0
    is_saving: bool = False
    room: int = 1 << 40


def two_forms(folder: Path, *, model_version: str = "1.0.0") -> Path:
    """A slot with the float model of digits 1.0.0, and the model of a version as what it calls its cheaper variant."""
    arrays = golden_arrays()
    arrays["expected.float32.probabilities"] = arrays[f"expected.{VARIANT}.probabilities"]
    slot = a_slot(
        folder,
        content=(DIGITS / "digits-1.0.0.tflite").read_bytes(),
        golden=npz_of(arrays),
        variant={"name": "float32", "precision": Precision.FLOAT32},
    )
    manifest = parse_manifest((slot / "manifest.json").read_bytes())
    assert manifest.golden is not None
    cheaper_content = (DIGITS / f"digits-{model_version}.tflite").read_bytes()
    cheaper = msgspec.structs.replace(
        manifest.variants[0],
        name="cheaper",
        artifact=artifact_of(cheaper_content),
        precision=Precision.STATIC_INT8,
    )
    (slot / "artifacts" / cheaper.artifact.sha256).write_bytes(cheaper_content)
    arrays["expected.cheaper.probabilities"] = arrays["expected.float32.probabilities"]
    golden = npz_of(arrays)
    (slot / "artifacts" / artifact_of(golden).sha256).write_bytes(golden)
    tolerance = manifest.golden.tolerance["float32"]
    manifest = msgspec.structs.replace(
        manifest,
        variants=(*manifest.variants, cheaper),
        golden=msgspec.structs.replace(
            manifest.golden,
            artifact=artifact_of(golden),
            tolerance={"float32": tolerance, "cheaper": tolerance},
        ),
    )
    (slot / "manifest.json").write_bytes(serialize_manifest(manifest))
    (slot / "variant").write_bytes(msgspec.json.encode({"name": "float32", "cheaper": "cheaper"}))
    return slot


def a_crew(pool: Pool, heat: Heat, folder: Path) -> Crew:
    threads = ThreadTuning(WorkerSettings(threads=2), 2, folder, Facts, lambda: heat.cap)
    return Crew(
        pool,
        threads,
        START_S,
        START_S,
        lambda: UNPROVED,
        Swap.BESIDE,
        lambda: heat.room,
        saves=lambda: heat.is_saving,
        on_gap=nobody,
    )


def replaced(crew: Crew, worker: WorkerHandle) -> WorkerHandle:
    """What the update part does with a worker that is out of step."""
    assert crew.is_out_of_step(worker)
    better = crew.start_in_step(worker)
    crew.self_test(better)
    crew.activate(better)
    assert not crew.is_out_of_step(better)
    return better


def runs(worker: WorkerHandle) -> tuple[str, int]:
    return worker.variant, worker.spec.threads


def answers_as(model: Model, variant: str) -> bool:
    """Whether a variant answers now; one that drains may have answered last."""
    answer = model.infer(images_of(3)[0])
    assert answer.label == "3"
    return answer.variant == variant


def test_a_worker_follows_heat_down_and_back(pool: Pool, run_dir: Path, tmp_path: Path) -> None:
    heat = Heat()
    crew = a_crew(pool, heat, tmp_path)
    worker = crew.start("digits", "1.0.0", two_forms(tmp_path / "slot"))
    crew.activate(worker)
    assert (runs(worker), crew.is_out_of_step(worker)) == (("float32", 2), False)
    with connect(run_dir).model("digits") as model:
        for heat.cap, heat.is_saving, wanted in (
            (1, False, ("float32", 1)),
            (1, True, ("cheaper", 1)),
            (0, False, ("float32", 2)),
        ):
            worker = replaced(crew, worker)
            assert runs(worker) == wanted
            wait_until(partial(answers_as, model, wanted[0]), "the new worker answers")


def test_a_cap_that_a_worker_is_under_anyway_and_a_slot_without_a_cheaper_variant_change_nothing(
    pool: Pool, tmp_path: Path
) -> None:
    heat = Heat()
    crew = a_crew(pool, heat, tmp_path)
    worker = crew.start("digits", "1.0.0", a_slot(tmp_path / "slot"))
    heat.cap, heat.is_saving = 2, True
    assert not crew.is_out_of_step(worker)
    crew.discard(worker)


def test_a_cheaper_variant_that_answers_wrongly_is_never_taken_and_threads_fall_all_the_same(
    pool: Pool, tmp_path: Path
) -> None:
    heat = Heat()
    crew = a_crew(pool, heat, tmp_path)
    worker = crew.start("digits", "1.0.0", two_forms(tmp_path / "slot", model_version="1.2.0"))
    crew.activate(worker)
    heat.cap, heat.is_saving = 1, True
    wrong = crew.start_in_step(worker)
    with pytest.raises(SelfTestError):
        crew.self_test(wrong)
    crew.discard(wrong)
    assert runs(replaced(crew, worker)) == ("float32", 1)


def test_a_worker_is_not_started_a_second_time_where_memory_does_not_hold_it(
    pool: Pool, tmp_path: Path
) -> None:
    heat = Heat()
    crew = a_crew(pool, heat, tmp_path)
    worker = crew.start("digits", "1.0.0", a_slot(tmp_path / "slot"))
    heat.cap, heat.room = 1, 1 << 20
    with pytest.raises(DeviceError, match=r"1\.0\.0 takes \d+ MiB of memory a second time, 1 MiB can be had"):
        crew.start_in_step(worker)
    crew.discard(worker)
