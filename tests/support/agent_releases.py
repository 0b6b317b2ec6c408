"""Signed releases of the digits model for the agent's tests: two good versions, and one for each way to be bad.

Made once per folder: publishing signs and uploads, which takes about a second for all of them.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from contract.bundle import write_bundle
from contract.manifest import Artifact, Manifest, parse_manifest
from contract.profile import DelegateName, Precision
from packager.keys import create_keys
from packager.publish import publish_bundles
from tests.support.inference_delegates import probe_golden, probe_model
from tests.support.inference_slots import artifact_of, golden_arrays, npz_of
from tests.support.trust_server import Asgi, TrustServer, running

ROOT = Path(__file__).resolve().parents[2]
SLOTS = ROOT / "tests" / "data" / "slots"
PROFILE = "generic-x86-64"
GOOD = "1.0.0"
BETTER = "1.1.0"
ANSWERS_WRONG = "1.2.0"
CANNOT_LOAD = "1.3.0"
TOO_LARGE = "1.4.0"
DAMAGED = "1.5.0"
"""Its model file is damaged on the server after it was published."""
TWO_FORMS = "1.6.0"
"""The first version, as static int8 and, second and more accurate, as float."""
FOR_NPU = "1.7.0"
"""The model of the agent's probe, for a delegate in a library of its own and, second, for the processor."""
SECOND = "digits-again"
"""Another model, with the good versions of the first under its own name."""


def slot_manifest(version: str) -> Manifest:
    """The manifest of a prepared slot."""
    return parse_manifest((SLOTS / f"digits-{version}" / "manifest.json").read_bytes())


def slot_files(version: str) -> dict[str, Path]:
    """The artifacts of a prepared slot by digest."""
    return {path.name: path for path in (SLOTS / f"digits-{version}" / "artifacts").iterdir()}


def _with_model(folder: Path, version: str, content: bytes) -> Path:
    """A bundle whose model file is something else than its golden inputs were made with."""
    source = slot_manifest(GOOD)
    model = folder / f"{version}.tflite"
    model.write_bytes(content)
    artifact = Artifact(sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content))
    variant = msgspec.structs.replace(source.variants[0], artifact=artifact)
    manifest = msgspec.structs.replace(source, version=version, variants=(variant,))
    return write_bundle(folder, manifest, {**slot_files(GOOD), artifact.sha256: model})


def _with_two_forms(folder: Path) -> Path:
    """A bundle with two variants that answer the same."""
    source = slot_manifest(GOOD)
    assert source.golden is not None
    first = source.variants[0]
    model = ROOT / "examples" / "digits" / "digits-1.0.0.tflite"
    second = msgspec.structs.replace(
        first,
        name="float32",
        artifact=artifact_of(model.read_bytes()),
        precision=Precision.FLOAT32,
        metrics=msgspec.structs.replace(first.metrics, value=1.0),
    )
    arrays = golden_arrays()
    arrays["expected.float32.probabilities"] = arrays[f"expected.{first.name}.probabilities"]
    golden = folder / "two-forms.npz"
    golden.write_bytes(npz_of(arrays))
    tolerance = source.golden.tolerance
    manifest = msgspec.structs.replace(
        source,
        version=TWO_FORMS,
        variants=(first, second),
        golden=msgspec.structs.replace(
            source.golden,
            artifact=artifact_of(golden.read_bytes()),
            tolerance={**tolerance, "float32": tolerance[first.name]},
        ),
    )
    files = {artifact_of(path.read_bytes()).sha256: path for path in (model, golden)}
    return write_bundle(folder, manifest, {**slot_files(GOOD), **files})


def _for_npu(folder: Path) -> Path:
    """A bundle whose first variant runs on nothing but a delegate in a library of its own."""
    source = slot_manifest(GOOD)
    assert source.golden is not None
    model, golden = folder / "probe.tflite", folder / "probe.npz"
    model.write_bytes(probe_model())
    arrays, described = probe_golden("on-npu", "on-cpu")
    golden.write_bytes(npz_of(arrays))
    variants = tuple(
        msgspec.structs.replace(
            source.variants[0], name=name, artifact=artifact_of(probe_model()), delegate=delegate
        )
        for name, delegate in (("on-npu", DelegateName.EXTERNAL), ("on-cpu", DelegateName.XNNPACK))
    )
    tolerance = source.golden.tolerance[source.variants[0].name]
    manifest = msgspec.structs.replace(
        source,
        version=FOR_NPU,
        variants=variants,
        golden=msgspec.structs.replace(
            source.golden,
            artifact=artifact_of(golden.read_bytes()),
            tolerance={variant.name: tolerance for variant in variants},
        ),
        **described,
    )
    return write_bundle(
        folder, manifest, {artifact_of(path.read_bytes()).sha256: path for path in (model, golden)}
    )


def _bundles(folder: Path) -> list[Path]:
    good = [write_bundle(folder, slot_manifest(version), slot_files(version)) for version in (GOOD, BETTER)]
    source = slot_manifest(GOOD)
    assert source.requires is not None
    too_large = msgspec.structs.replace(
        source,
        version=TOO_LARGE,
        requires=msgspec.structs.replace(source.requires, memory_bytes=1 << 50),
    )
    return [
        *good,
        *(
            write_bundle(
                folder, msgspec.structs.replace(slot_manifest(version), model=SECOND), slot_files(version)
            )
            for version in (GOOD, BETTER)
        ),
        _with_model(
            folder, ANSWERS_WRONG, (ROOT / "examples" / "digits" / "digits-1.2.0.tflite").read_bytes()
        ),
        _with_model(folder, CANNOT_LOAD, b"this is no flatbuffer" * 100),
        _with_model(folder, DAMAGED, b"this will be damaged" * 100),
        write_bundle(folder, too_large, slot_files(GOOD)),
        _with_two_forms(folder),
        _for_npu(folder),
    ]


class Gate:
    """Between the network and the server: can hold back, or refuse, what is asked for under a path."""

    def __init__(self) -> None:
        self.holds = ""
        self.refuses = ""

    def wrap(self, app: Asgi) -> Asgi:
        """The application behind this gate."""
        import asyncio

        async def gated(scope: object, receive: object, send: object) -> None:
            path = scope["path"] if isinstance(scope, dict) and scope["type"] == "http" else ""
            deadline = time.monotonic() + 60
            # Set by the test's thread, which has no event of this loop.
            while self.holds and path.startswith(self.holds) and time.monotonic() < deadline:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            if self.refuses and path.startswith(self.refuses):
                await _refuse(send)
                return
            await app(scope, receive, send)

        return gated

    @contextlib.contextmanager
    def holding(self, path: str) -> Iterator[None]:
        """Hold back everything under a path while inside."""
        self.holds = path
        try:
            yield
        finally:
            self.holds = ""


async def _refuse(send: object) -> None:
    assert callable(send)
    await send({"type": "http.response.start", "status": 503, "headers": []})
    await send({"type": "http.response.body", "body": b"{}"})


@dataclass(frozen=True)
class Releases:
    """A running HTTP server with every release above.

    Attributes:
        server: It.
        gate: In front of it.
        root: File with the pinned TUF root.
    """

    server: TrustServer
    gate: Gate
    root: Path


@contextlib.contextmanager
def releases_served(folder: Path) -> Iterator[Releases]:
    """Serve all releases from a folder."""
    gate = Gate()
    for name in ("bundles", "server"):
        (folder / name).mkdir()
    create_keys(folder / "keys")
    with running(folder / "server", wrap=gate.wrap) as server:
        publish_bundles(
            _bundles(folder / "bundles"),
            server=server.url,
            token=server.publisher_token,
            keys=folder / "keys",
            echo=lambda _: None,
        )
        damaged = server.artifacts.path(hashlib.sha256(b"this will be damaged" * 100).hexdigest())
        damaged.chmod(0o644)
        damaged.write_bytes(b"it has been damaged!" * 100)
        root = folder / "root.json"
        newest = server.tuf.newest_root()
        assert newest is not None
        root.write_bytes(newest)
        yield Releases(server, gate, root)
