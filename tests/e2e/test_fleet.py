"""The fleet converges without help, whatever dies in the middle of a rollout."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image

from contract.bundle import BundleReader, write_bundle
from contract.manifest import Artifact
from edge_agent import connect
from tests.support.builders import an_artifact
from tests.support.e2e_fleet import EXAMPLES, RealFleet, run_command
from tests.support.server_process import wait_until

pytestmark = pytest.mark.timeout(180)


def answer_of(fleet: RealFleet, device: str) -> tuple[str, str]:
    """Ask the model on a device for a seven: version and label."""
    path = min((EXAMPLES / "evaluation" / "7").glob("*.png"))
    with (
        Image.open(path) as image,
        connect(fleet.home(device) / "run") as agent,
        agent.model("digits") as model,
    ):
        answer = model.infer(np.asarray(image))
    return answer.version, str(answer.label)


def test_every_device_answers_after_a_rollout(fleet: RealFleet) -> None:
    for device in fleet.agents:
        assert answer_of(fleet, device)[1] == "7"


def test_broker_killed_in_mid_rollout_and_the_fleet_converges(fleet: RealFleet) -> None:
    rollout = fleet.start_rollout("1.1.0", 0.3, 1.0)
    fleet.wait_for_first_success(rollout)
    os.kill(fleet.server.broker_pid(), signal.SIGKILL)

    assert fleet.wait_for_end(rollout)["state"] == "succeeded"
    assert set(fleet.versions().values()) == {"1.1.0"}


def test_server_killed_in_mid_rollout_and_restarted_the_fleet_converges(fleet: RealFleet) -> None:
    rollout = fleet.start_rollout("1.3.0", 0.3, 1.0)
    fleet.wait_for_first_success(rollout)
    fleet.server.kill()
    for device in fleet.agents:
        assert answer_of(fleet, device)[1] == "7", "a device answers without its server"
    fleet.server.start()

    assert fleet.wait_for_end(rollout)["state"] == "succeeded"
    assert set(fleet.versions().values()) == {"1.3.0"}


def test_agent_killed_in_mid_deployment_comes_back_and_succeeds(fleet: RealFleet) -> None:
    agent = fleet.agents["board-2"]
    rollout = fleet.start_rollout("1.0.0")
    wait_until(
        lambda: "assigned -> fetching" in agent.log.rsplit("of digits 1.0.0: new", 1)[-1], what="fetching"
    )
    agent.kill()
    agent.start().wait_ready()

    assert fleet.wait_for_end(rollout)["state"] == "succeeded"
    assert {answer_of(fleet, device)[0] for device in fleet.agents} == {"1.0.0"}


def test_a_bench_tells_the_server_what_a_board_really_does(fleet: RealFleet) -> None:
    config = fleet.home("board-3") / "agent.toml"
    said = json.loads(run_command("litefleet-agent", "bench", "digits", "--config", config, "--json"))
    assert said["summary"]["is_valid"], said["summary"]
    assert [len(process["latencies_ms"]) for process in said["result"]["processes"]] == [50, 50, 50]

    wait_until(lambda: fleet.operate("benches"), timeout_s=15, what="the bench at the server")
    (listed,) = fleet.operate("benches", "--model", "digits", "--device", "board-3")
    assert listed["p50_ms"] == said["summary"]["p50_ms"]
    assert (listed["id"], listed["version"]) == (said["id"], fleet.versions()["board-3"])
    whole = fleet.server.api("GET", f"/api/v1/benches/board-3/{listed['id']}")
    assert whole["processes"][2]["latencies_ms"] == said["result"]["processes"][2]["latencies_ms"]
    assert [bench["id"] for bench in fleet.device("board-3")["benches"]] == [listed["id"]]
    waiting = fleet.home("board-3") / "state" / "benches"
    wait_until(lambda: not [*waiting.glob("*.json")], timeout_s=15, what="acknowledged and forgotten")


def test_restarted_agent_answers_before_it_reaches_its_broker(fleet: RealFleet) -> None:
    version = fleet.versions()["board-1"]
    fleet.server.kill()
    agent = fleet.agents["board-1"]
    assert agent.terminate() == 0
    agent.start().wait_ready()

    assert answer_of(fleet, "board-1") == (version, "7")
    fleet.server.start()
    wait_until(lambda: fleet.device("board-1")["online"], what="board-1 online again")


def with_wrong_golden_outputs(bundle: Path, folder: Path, version: str) -> Path:
    """The same release under another version, whose golden outputs are those of another model."""
    with BundleReader(bundle) as reader:
        manifest = reader.manifest
        files = {}
        for digest in manifest.artifacts():
            files[digest] = folder / digest
            files[digest].write_bytes(reader.read_artifact(digest))
    assert manifest.golden is not None
    with np.load(files[manifest.golden.artifact.sha256], allow_pickle=False) as arrays:
        wrong = {
            name: 1 - array if name.startswith("expected.") else array
            for name, array in sorted(arrays.items())
        }
    np.savez(folder / "wrong.npz", allow_pickle=False, **wrong)
    golden: Artifact = an_artifact((folder / "wrong.npz").read_bytes())
    files[golden.sha256] = folder / "wrong.npz"
    spoiled = msgspec.structs.replace(
        manifest,
        version=version,
        golden=msgspec.structs.replace(manifest.golden, artifact=golden),
        documents=None,  # they tell of the artifacts as they were
    )
    return write_bundle(folder, spoiled, files)


def test_release_that_fails_its_self_test_is_rolled_back_and_the_old_one_answers(
    fleet: RealFleet, bundles: dict[str, Path], tmp_path: Path
) -> None:
    before = fleet.versions()
    fleet.publish(with_wrong_golden_outputs(bundles["1.1.0"], tmp_path, "9.0.0"))
    ended = fleet.wait_for_end(fleet.start_rollout("9.0.0", 0.3, 1.0))

    assert ended["state"] == "stopped"
    [failed] = [row for row in ended["deployments"] if row["state"] is not None]
    assert (failed["state"], failed["reason"]) == ("failed", "self-test")
    assert fleet.versions() == before
    assert {device: answer_of(fleet, device)[0] for device in fleet.agents} == before
    wait_until(
        lambda: (row := fleet.device(failed["device"]))["revision_reported"] == row["revision_desired"],
        what="the failed device to take over its old version as desired",
    )


def test_artifact_damaged_on_the_server_is_refused_and_publishing_again_repairs_it(
    fleet: RealFleet, bundles: dict[str, Path], tmp_path: Path
) -> None:
    bundle = tmp_path / "digits-1.4.0-generic-x86-64.bundle"
    with BundleReader(bundles["1.3.0"]) as reader:
        preferred = reader.manifest.variants[0].artifact.sha256
    shutil.copy(as_version_1_4_0(bundles["1.3.0"], tmp_path / "as-1.4.0"), bundle)
    fleet.publish(bundle)
    for device in fleet.agents:  # a device that has the file already would not ask for it
        for path in fleet.home(device).rglob(preferred):
            path.unlink()
    [stored] = [path for path in fleet.server.folder.rglob(f"{preferred}*") if path.is_file()]
    content = bytearray(stored.read_bytes())
    content[len(content) // 2] ^= 1
    stored.chmod(0o644)
    stored.write_bytes(content)
    before = fleet.versions()

    ended = fleet.wait_for_end(fleet.start_rollout("1.4.0", 0.3, 1.0))
    assert ended["state"] == "stopped"
    assert ended["reason"] == "digest"
    assert fleet.versions() == before

    fleet.publish(bundle)
    assert fleet.wait_for_end(fleet.start_rollout("1.4.0"))["state"] == "succeeded"


def as_version_1_4_0(bundle: Path, folder: Path) -> Path:
    """The same content as version 1.4.0."""
    folder.mkdir()
    with BundleReader(bundle) as reader:
        files = {}
        for digest in reader.manifest.artifacts():
            files[digest] = folder / digest
            files[digest].write_bytes(reader.read_artifact(digest))
        manifest = msgspec.structs.replace(reader.manifest, version="1.4.0", documents=None)
        return write_bundle(folder, manifest, files)
