"""Slots, pools and applications for tests of the inference part, all of them real."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from PIL import Image

from contract.manifest import Artifact, Manifest, Variant, parse_manifest, serialize_manifest
from contract.profile import DelegateName, Precision
from edge_agent.inference.board import Facts
from edge_agent.inference.pool import Crash, Pool, PoolLimits, WorkerHandle, WorkerSpec
from edge_agent.inference.threads import WorkerSettings
from edge_agent.thread_tuning import ThreadTuning

ROOT = Path(__file__).parents[2]
SLOTS = ROOT / "tests" / "data" / "slots"
DIGITS = ROOT / "examples" / "digits"
VARIANT = "static-int8"
START_S = 60.0
"""A worker is ready after half a second on an idle machine; tests share theirs."""


def slot_of(version: str) -> Path:
    """The static int8 digits model of a version (1.0.0 or 1.1.0), as the agent stores it. Do not write there."""
    return SLOTS / f"digits-{version}"


def manifest_of(version: str = "1.0.0") -> Manifest:
    """Its manifest."""
    return parse_manifest((slot_of(version) / "manifest.json").read_bytes())


def model_bytes(version: str = "1.0.0") -> bytes:
    """Its model file."""
    digest = manifest_of(version).variants[0].artifact.sha256
    return (slot_of(version) / "artifacts" / digest).read_bytes()


def golden_arrays(version: str = "1.0.0") -> dict[str, npt.NDArray[Any]]:
    """Its golden inputs and expected outputs."""
    golden = manifest_of(version).golden
    assert golden is not None
    with np.load(slot_of(version) / "artifacts" / golden.artifact.sha256) as archive:
        return {name: archive[name] for name in archive.files}


def artifact_of(content: bytes) -> Artifact:
    """Description of some bytes."""
    return Artifact(sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content))


def npz_of(arrays: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """A golden artifact."""
    stream = io.BytesIO()
    np.savez(stream, **dict(arrays))  # type: ignore[arg-type]  # its stub takes the keywords for allow_pickle
    return stream.getvalue()


def a_slot(
    folder: Path,
    *,
    content: bytes | None = None,
    golden: bytes | None = None,
    variant: Mapping[str, Any] | None = None,
    **changes: Any,
) -> Path:
    """Write a slot that starts as digits 1.0.0; digests are right whatever is replaced.

    Args:
        folder: Where to; made.
        content: Of the model file.
        golden: Content of the golden artifact.
        variant: Fields of the only variant to replace.
        changes: Fields of the manifest to replace.
    """
    manifest = manifest_of()
    old = manifest.golden
    assert old is not None
    content = model_bytes() if content is None else content
    golden = (slot_of("1.0.0") / "artifacts" / old.artifact.sha256).read_bytes() if golden is None else golden
    chosen: Variant = msgspec.structs.replace(
        manifest.variants[0], artifact=artifact_of(content), **dict(variant or {})
    )
    manifest = msgspec.structs.replace(
        manifest,
        variants=(chosen,),
        golden=msgspec.structs.replace(
            old, artifact=artifact_of(golden), tolerance={chosen.name: old.tolerance[VARIANT]}
        ),
    )
    manifest = msgspec.structs.replace(manifest, **changes)
    (folder / "artifacts").mkdir(parents=True)
    for each in (content, golden):
        (folder / "artifacts" / artifact_of(each).sha256).write_bytes(each)
    (folder / "manifest.json").write_bytes(serialize_manifest(manifest))
    (folder / "variant").write_bytes(msgspec.json.encode({"name": chosen.name}))
    return folder


def a_float_slot(folder: Path, model_version: str, delegate: DelegateName = DelegateName.XNNPACK) -> Path:
    """A slot that says digits 1.0.0 and holds the float model of a version; golden outputs are those of 1.0.0."""
    arrays = golden_arrays()
    arrays["expected.float32.probabilities"] = arrays.pop(f"expected.{VARIANT}.probabilities")
    return a_slot(
        folder,
        content=(DIGITS / f"digits-{model_version}.tflite").read_bytes(),
        golden=npz_of(arrays),
        variant={"name": "float32", "precision": Precision.FLOAT32, "delegate": delegate},
    )


def model_path_in(slot: Path) -> Path:
    """The model file of a slot."""
    manifest = parse_manifest((slot / "manifest.json").read_bytes())
    return slot / "artifacts" / manifest.variants[0].artifact.sha256


def spec_of(version: str = "1.0.0", slot: Path | None = None) -> WorkerSpec:
    """A worker for a slot; by default for the version's own."""
    return WorkerSpec(model="digits", version=version, slot_dir=slot or slot_of(version), threads=1)


def images_of(digit: int, count: int = 1) -> list[npt.NDArray[np.uint8]]:
    """Evaluation images (8, 8) uint8 of a digit; the float model knows every one of these."""
    paths = sorted((DIGITS / "evaluation" / str(digit)).glob("*.png"))[:count]
    return [np.asarray(Image.open(path), np.uint8) for path in paths]


def tensor_of(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """The model's own input (1, 8, 8, 1) float32 of an image."""
    return (image.astype(np.float32) / np.float32(255))[np.newaxis, :, :, np.newaxis]


def a_hanging_slot(folder: Path) -> Path:
    """A slot whose model file nobody ever finishes reading: a pipe without a writer."""
    slot = a_slot(folder)
    path = model_path_in(slot)
    path.unlink()
    os.mkfifo(path)
    return slot


@contextlib.contextmanager
def short_folder() -> Iterator[Path]:
    """A temporary folder whose path leaves room for a socket's name."""
    folder = Path(tempfile.mkdtemp(prefix="lf-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@contextlib.contextmanager
def a_pool(
    run_dir: Path, limits: PoolLimits | None = None, *, may_fork: bool = True
) -> Iterator[tuple[Pool, list[Crash]]]:
    """A pool and the crashes it tells of."""
    crashes: list[Crash] = []
    pool = Pool(run_dir, crashes.append, limits or PoolLimits(), may_fork=may_fork)
    try:
        yield pool, crashes
    finally:
        pool.close()


def serve(pool: Pool, version: str = "1.0.0", slot: Path | None = None) -> WorkerHandle:
    """Make a slot's model the active one."""
    handle = pool.start_candidate(spec_of(version, slot), START_S)
    pool.activate(handle)
    return handle


def wait_until(condition: Callable[[], bool], what: str, timeout_s: float = 30.0) -> None:
    """Wait for something that happens elsewhere."""
    ends = time.monotonic() + timeout_s
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < ends, f"{what}: not within {timeout_s} s"
        pause.wait(0.01)


def is_running(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    state = told(pid, "stat").rpartition(")")[2].split()
    return bool(state) and state[0] != "Z"


def told(pid: int, file: str) -> str:
    """What the kernel tells of a process in a file of its folder (proc(5)); nothing of one that ended meanwhile."""
    try:
        return Path(f"/proc/{pid}/{file}").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def children(pid: int | str = "self") -> set[int]:
    """Processes that one has started, and those that these have, not reaped yet; by default this one's."""
    found: set[int] = set()
    with contextlib.suppress(
        FileNotFoundError, ProcessLookupError
    ):  # a process or thread that ended meanwhile
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                found |= {int(pid) for pid in (task / "children").read_text(encoding="ascii").split()}
    return found.union(*(children(child) for child in found))


@contextlib.contextmanager
def an_agent(run_dir: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Another process with a pool that serves digits 1.0.0, and its worker's process id."""
    code = (
        "import sys, pathlib\n"
        "from tests.support.inference_slots import serve\n"
        "from edge_agent.inference.pool import Pool\n"
        "pool = Pool(pathlib.Path(sys.argv[1]), print)\n"
        "print(serve(pool).pid, flush=True)\n"
        "sys.stdin.read()\n"
        "pool.close()\n"
    )
    command = [sys.executable, "-c", code, str(run_dir)]
    process = subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    with process:
        assert process.stdout is not None
        yield process, int(process.stdout.readline())
        process.kill()


@contextlib.contextmanager
def hammers(
    run_dir: Path,
    pauses_s: Sequence[float],
    models: Sequence[str] = ("digits",),
    *,
    has_spans: bool = False,
) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """Applications that ask without end, each about its own digit; the value ends them and gives results.

    Args:
        run_dir: Of the agent.
        pauses_s: Per application, how long it rests between two requests.
        models: What they ask, in turns.
        has_spans: Whether each tells of every single request.
    """
    with contextlib.ExitStack() as stack:
        running: list[subprocess.Popen[str]] = []
        for digit, pause_s in enumerate(pauses_s):
            command = [
                sys.executable,
                "-m",
                "tests.support.inference_hammer",
                str(run_dir),
                str(digit),
                str(pause_s),
                models[digit % len(models)],
                "spans" if has_spans else "",
            ]
            process = subprocess.Popen(
                command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            running.append(stack.enter_context(process))
        for process in running:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"

        def results() -> list[dict[str, Any]]:
            return [json.loads(process.communicate(timeout=60)[0]) for process in running]

        try:
            yield results
        finally:
            for process in running:
                process.kill()


def nobody(*_: object) -> None:
    """Whom nothing has to be told."""


def fixed_threads(count: int = 1) -> ThreadTuning:
    """Threads that are settled, so that nothing is measured and nothing written."""
    return ThreadTuning(WorkerSettings(threads=count), count, Path("/nowhere"), Facts)
