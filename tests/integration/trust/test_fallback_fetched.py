"""A variant for an accelerator comes with one for the processor beside it."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path

import msgspec

from contract.bundle import write_bundle
from contract.profile import DelegateName
from edge_agent.inference.slot import load_slot
from edge_agent.update.fetch_protocol import Fetched, FetchJob, parse_line, serialize_job
from edge_agent.update.fetcher import COMMAND
from packager.keys import create_keys
from packager.publish import publish_bundles
from tests.support.builders import (
    GOLDEN_BYTES,
    MODEL_BYTES,
    PROFILE,
    a_manifest,
    a_variant,
    an_artifact,
    some_capabilities,
)
from tests.support.trust_server import running

TPU_BYTES = b"edgetpu-custom-op"
EVERYTHING = (DelegateName.EDGETPU, DelegateName.XNNPACK, DelegateName.NONE)


def a_bundle_for_an_edge_tpu(folder: Path) -> Path:
    folder.mkdir()
    cpu = a_variant(name="float32", artifact=an_artifact(MODEL_BYTES))
    tpu = msgspec.structs.replace(
        cpu, name="tpu", artifact=an_artifact(TPU_BYTES), delegate=DelegateName.EDGETPU
    )
    golden = a_manifest().golden
    assert golden is not None
    tolerance = golden.tolerance | {"tpu": golden.tolerance["float32"]}
    golden = msgspec.structs.replace(golden, tolerance=tolerance)
    files: dict[str, Path] = {}
    for content in (MODEL_BYTES, TPU_BYTES, GOLDEN_BYTES):
        digest = hashlib.sha256(content).hexdigest()
        files[digest] = folder / f".{digest}"
        files[digest].write_bytes(content)
    return write_bundle(folder, a_manifest(variants=(tpu, cpu), golden=golden), files)


def test_the_variant_for_the_processor_is_stored_beside_the_one_for_the_accelerator(tmp_path: Path) -> None:
    with running(tmp_path / "server") as server:
        create_keys(tmp_path / "keys")
        publish_bundles(
            [a_bundle_for_an_edge_tpu(tmp_path / "bundles")],
            server=server.url,
            token=server.publisher_token,
            keys=tmp_path / "keys",
            echo=lambda _: None,
        )
        for delegates, wanted, count in (
            (EVERYTHING, {"name": "tpu", "fallback": "float32"}, 3),
            (EVERYTHING[1:], {"name": "float32"}, 2),
        ):
            slot = tmp_path / f"slot-{count}"
            slot.mkdir()
            job = FetchJob(
                server_url=server.url,
                root_path=str(tmp_path / "keys" / "root.json"),
                trust_dir=str(tmp_path / "trust"),
                model="digits",
                version="1.0.0",
                profile=PROFILE,
                capabilities=some_capabilities(delegates=delegates),
                slot_dir=str(slot),
            )
            done = subprocess.run(
                COMMAND, input=serialize_job(job), capture_output=True, timeout=60, check=True
            )
            last = parse_line(done.stdout.splitlines()[-1])
            assert isinstance(last, Fetched), last
            assert json.loads((slot / "variant").read_bytes()) == wanted
            assert len(list((slot / "artifacts").iterdir())) == count
            assert (load_slot(slot).fallback is not None) == ("fallback" in wanted)
