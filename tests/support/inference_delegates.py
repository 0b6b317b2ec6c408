"""External delegates for tests: real shared libraries, built here with gcc; and a slot that wants one."""

from __future__ import annotations

import functools
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from contract.manifest import parse_manifest, serialize_manifest
from contract.profile import DelegateName
from contract.tensor import DType, TensorSpec
from edge_agent.inference.engine import ExternalDelegate
from edge_agent.inference.probe import FOLDER
from tests.support.inference_slots import a_slot, artifact_of, model_bytes
from tests.support.tools import require

SOURCE = Path(__file__).parents[1] / "data" / "delegates" / "delegate.c"


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    """Removed with the process."""
    return tempfile.TemporaryDirectory(prefix="litefleet-delegates-")


@functools.cache
def delegate_library(behaviour: str) -> Path:
    """A delegate that behaves as the source's first comment says, for example ``WORKS``."""
    library = Path(_folder().name) / f"lib{behaviour.lower()}.so"
    _compile("-Wall", "-Wno-unused", f"-D{behaviour}", "-o", library, SOURCE)
    return library


def a_part(path: Path, *, is_broken: bool) -> Path:
    """A library for ``a_delegate_with``; a new file in place of one that is there."""
    path.unlink(missing_ok=True)
    source = path.with_suffix(".c")
    source.write_text(f"int is_broken(void) {{ return {int(is_broken)}; }}\n")
    _compile("-o", path, source)
    return path


def a_delegate_with(part: Path) -> ExternalDelegate:
    """A delegate that needs another library: works as long as that one is not broken."""
    library = part.with_name("libnpu.so")
    _compile(
        "-DPARTS", "-o", library, SOURCE, part, f"-Wl,-rpath,{part.parent}", f"-Wl,-soname,{library.name}"
    )
    return ExternalDelegate(name="npu", library=str(library))


def _compile(*arguments: str | Path) -> None:
    command = [require("gcc"), "-shared", "-fPIC", "-O1", *map(str, arguments)]
    subprocess.run(command, check=True, timeout=60)


def a_delegate(behaviour: str, *, name: str = "npu", **options: str) -> ExternalDelegate:
    """The same, as a worker or probe is given it."""
    return ExternalDelegate(name=name, library=str(delegate_library(behaviour)), options=options)


def a_slot_for_the_edge_tpu(
    folder: Path, *, with_fallback: bool = True, fallback_bytes: int | None = None
) -> Path:
    """A slot whose first choice is for the Edge TPU: the bytes of a compiled model that no runtime here loads.

    Args:
        folder: Where to; made.
        with_fallback: Whether it has a variant for the processor.
        fallback_bytes: Memory of that one's interpreter; by default the same.
    """
    a_slot(folder)
    manifest = parse_manifest((folder / "manifest.json").read_bytes())
    compiled = model_bytes() + b"edgetpu-custom-op"
    cpu = manifest.variants[0]
    assert manifest.golden is not None
    tpu = msgspec.structs.replace(
        cpu, name="static-int8-edgetpu", artifact=artifact_of(compiled), delegate=DelegateName.EDGETPU
    )
    if fallback_bytes is not None:
        cpu = msgspec.structs.replace(cpu, peak_memory_bytes=fallback_bytes)
    tolerance = {**manifest.golden.tolerance, tpu.name: manifest.golden.tolerance[cpu.name]}
    manifest = msgspec.structs.replace(
        manifest,
        variants=(tpu, cpu),
        golden=msgspec.structs.replace(manifest.golden, tolerance=tolerance),
    )
    (folder / "artifacts" / tpu.artifact.sha256).write_bytes(compiled)
    (folder / "manifest.json").write_bytes(serialize_manifest(manifest))
    choice = {"name": tpu.name} | ({"fallback": cpu.name} if with_fallback else {})
    (folder / "variant").write_bytes(msgspec.json.encode(choice))
    return folder


def probe_model() -> bytes:
    """The model of the agent's own probe; of its six nodes ``WORKS`` takes one, the ADD."""
    return (FOLDER / "probe.tflite").read_bytes()


def probe_golden(*variants: str) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
    """Self-test data of the probe's model, 10 samples for each variant, and what a manifest says of the model."""
    with np.load(FOLDER / "golden.npz") as archive:
        arrays = {name: np.repeat(archive[name], 10, axis=0) for name in archive.files}
    given = arrays.pop("image")
    golden = {f"expected.{variant}.{name}": array for variant in variants for name, array in arrays.items()}
    described = {
        "inputs": (TensorSpec(name="image", shape=(1, 8, 8, 8), dtype=DType.FLOAT32),),
        "outputs": tuple(
            TensorSpec(name=name, shape=(1, *array.shape[1:]), dtype=DType.FLOAT32)
            for name, array in arrays.items()
        ),
        "preprocessing": None,
        "postprocessing": None,
        "labels": (),
    }
    return {"input.image": given, **golden}, described
