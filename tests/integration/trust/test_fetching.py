"""The fetching process against a real server: a real child, real keys, and networks and disks that fail."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from contract.errors import DownloadError
from contract.manifest import Artifact, Manifest, parse_manifest
from edge_agent.update.fetch_protocol import (
    Fetched,
    FetchJob,
    Line,
    Progress,
    Refused,
    parse_line,
    serialize_job,
)
from edge_agent.update.http import Http
from packager.keys import create_keys
from packager.publish import publish_bundles
from tests.support.builders import PROFILE, a_bundle, some_capabilities
from tests.support.trust_network import Cutter, Staller, answering
from tests.support.trust_server import TrustServer, running, serving

BIG = bytes(range(256)) * 8192  # 2 MiB
TIMEOUT_S = 60
COMMAND = [sys.executable, "-m", "edge_agent.update.fetch"]


class Fleet:
    """A server with two releases, and one device's folders.

    Attributes:
        server: The running server.
        model: Description of 1.1.0's model file, 2 MiB.
    """

    def __init__(self, folder: Path, server: TrustServer) -> None:
        self.server = server
        self._folder = folder
        bundles = [
            a_bundle(folder / "bundles"),
            a_bundle(folder / "bundles", version="1.1.0", model_bytes=BIG),
        ]
        create_keys(folder / "keys")
        self.publish(*bundles)
        (folder / "root.json").write_bytes((folder / "keys" / "root.json").read_bytes())
        (place,) = (server.folder / "tuf").rglob("1.1.0/*/*.manifest.json")
        self.manifest: Manifest = parse_manifest(place.read_bytes())
        self.model: Artifact = self.manifest.variants[0].artifact

    def publish(self, *bundles: Path) -> None:
        token, keys = self.server.publisher_token, self._folder / "keys"
        publish_bundles(bundles, server=self.server.url, token=token, keys=keys, echo=lambda _: None)

    def job(self, slot: str = "slot", **changes: Any) -> FetchJob:
        (self._folder / slot).mkdir(exist_ok=True)
        job = FetchJob(
            server_url=self.server.url,
            root_path=str(self._folder / "root.json"),
            trust_dir=str(self._folder / "trust"),
            model="digits",
            version="1.1.0",
            profile=PROFILE,
            capabilities=some_capabilities(),
            slot_dir=str(self._folder / slot),
        )
        return msgspec.structs.replace(job, **changes)

    def assert_complete(self, job: FetchJob) -> None:
        slot = Path(job.slot_dir)
        assert (slot / "artifacts" / self.model.sha256).read_bytes() == BIG
        assert parse_manifest((slot / "manifest.json").read_bytes()) == self.manifest
        assert json.loads((slot / "variant").read_bytes()) == {"name": "float32"}
        assert sorted(path.name for path in (slot / "artifacts").iterdir()) == sorted(
            self.manifest.artifacts()
        )

    def has_in_slot(self, job: FetchJob) -> list[str]:
        return sorted(path.name for path in Path(job.slot_dir).iterdir() if path.is_file())


@contextlib.contextmanager
def fleet(folder: Path, **changes: Any) -> Iterator[Fleet]:
    with running(folder / "server", **changes) as server:
        yield Fleet(folder, server)


def run(job: FetchJob) -> tuple[Line, list[Progress]]:
    """Run the process to its end: last line, and the progress before it."""
    done = subprocess.run(
        COMMAND, input=serialize_job(job), capture_output=True, timeout=TIMEOUT_S, check=True
    )
    lines = [parse_line(line) for line in done.stdout.splitlines()]
    progress = [line for line in lines[:-1] if isinstance(line, Progress)]
    assert len(progress) == len(lines) - 1, "a last line was not the last"
    return lines[-1], progress


def refused(job: FetchJob) -> Refused:
    last, _ = run(job)
    assert isinstance(last, Refused), last
    return last


def fetched(job: FetchJob) -> Fetched:
    last, _ = run(job)
    assert isinstance(last, Fetched), last
    return last


def test_a_release_is_fetched_whole_by_a_process_of_its_own(tmp_path: Path) -> None:
    with fleet(tmp_path) as the:
        last, progress = run(the.job())
        assert isinstance(last, Fetched)
        assert last.ok
        assert last.variant == "float32"
        assert (
            last.bytes_downloaded == last.bytes_total == progress[-1].bytes_done == progress[-1].bytes_total
        )
        the.assert_complete(the.job())


def test_a_release_of_which_a_slot_has_everything_needs_no_download(tmp_path: Path) -> None:
    with fleet(tmp_path) as the:
        fetched(the.job())
        the.server.requests.clear()
        second = the.job("second", reuse=(str(tmp_path / "slot" / "artifacts"),))
        assert fetched(second).bytes_downloaded == 0
        the.assert_complete(second)
        assert not [path for _, path in the.server.requests if path.startswith("/artifacts/")]


def test_a_connection_cut_in_the_middle_resumes_with_a_range(tmp_path: Path) -> None:
    cutter = Cutter("/artifacts/", after_bytes=900_000, times=1)
    with fleet(tmp_path, wrap=cutter.wrap) as the:
        job = the.job()
        first = refused(job)
        assert (first.code, first.ok) == ("download", False)
        assert the.has_in_slot(job) == []
        (part,) = (tmp_path / "slot" / "artifacts").glob("*.part")
        have = part.stat().st_size
        assert 0 < have <= 900_000
        second = fetched(job)
        assert second.bytes_downloaded == second.bytes_total - have
        assert cutter.ranges[:2] == ["", f"bytes={have}-"]
        the.assert_complete(job)


def test_a_network_that_is_cut_again_and_again_gets_there(tmp_path: Path) -> None:
    cutter = Cutter("/artifacts/", after_bytes=700_000, times=3)
    with fleet(tmp_path, wrap=cutter.wrap) as the:
        job = the.job(parts_dir=str(tmp_path / "parts"))
        codes = []
        for _ in range(10):
            last, _ = run(job)
            if isinstance(last, Fetched):
                break
            assert isinstance(last, Refused)
            codes.append(last.code)
        assert set(codes) == {"download"}
        the.assert_complete(job)
        assert list((tmp_path / "parts").iterdir()) == []


def test_killed_while_downloading_goes_on_in_the_next_process(tmp_path: Path) -> None:
    staller = Staller("/artifacts/", after_bytes=1_000_000)
    with fleet(tmp_path, wrap=staller.wrap) as the:
        job = the.job()
        with subprocess.Popen(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdin is not None
            process.stdin.write(serialize_job(job))
            process.stdin.close()
            assert staller.reached.wait(TIMEOUT_S)
            process.send_signal(signal.SIGKILL)
            process.wait(TIMEOUT_S)
        staller.release()
        assert the.has_in_slot(job) == []
        second = fetched(job)
        assert second.bytes_downloaded < second.bytes_total
        the.assert_complete(job)


def test_a_byte_flipped_on_the_servers_disk_is_refused_after_one_retry(tmp_path: Path) -> None:
    with fleet(tmp_path) as the:
        place = the.server.artifacts.path(the.model.sha256)
        content = bytearray(place.read_bytes())
        content[1_000_000] ^= 0x10
        place.write_bytes(content)
        job = the.job()
        refusal = refused(job)
        assert refusal.code == "digest"
        assert the.model.sha256 in refusal.message
        asked = [path for method, path in the.server.requests if method == "GET" and the.model.sha256 in path]
        assert len(asked) == 2
        assert the.has_in_slot(job) == []
        assert list((tmp_path / "slot" / "artifacts").iterdir()) == []


def test_a_server_without_the_artifact_is_a_refusal(tmp_path: Path) -> None:
    with fleet(tmp_path) as the:
        the.server.artifacts.path(the.model.sha256).unlink()
        assert refused(the.job()).code == "not-found"


def test_an_unknown_version_is_a_refusal(tmp_path: Path) -> None:
    with fleet(tmp_path) as the:
        assert refused(the.job(version="7.0.0")).code == "not-found"


@pytest.mark.parametrize("change", [{"model": "../x"}, {"version": "latest"}, {"profile": "a/b"}])
def test_names_that_are_none_ask_the_server_nothing(tmp_path: Path, change: dict[str, str]) -> None:
    with fleet(tmp_path) as the:
        the.server.requests.clear()
        assert refused(the.job(**change)).code == "manifest"
        assert the.server.requests == []


def test_a_release_this_board_cannot_run_downloads_nothing(tmp_path: Path) -> None:
    with fleet(tmp_path) as the:
        job = the.job(capabilities=some_capabilities(delegates=(), runtimes=()))
        refusal = refused(job)
        assert refusal.code == "incompatible"
        assert len(refusal.faults) == 2
        assert not [path for method, path in the.server.requests if method == "GET" and "/artifacts/" in path]


def test_a_tampered_timestamp_is_refused(tmp_path: Path) -> None:
    with fleet(tmp_path) as the:
        path = the.server.metadata / "timestamp.json"
        timestamp = json.loads(path.read_bytes())
        timestamp["signed"]["expires"] = "2099-01-01T00:00:00Z"
        path.write_text(json.dumps(timestamp))
        assert refused(the.job()).code == "signature"


def test_a_repository_set_back_is_refused(tmp_path: Path) -> None:
    with fleet(tmp_path) as the:
        path = the.server.metadata / "timestamp.json"
        old = path.read_bytes()
        the.publish(a_bundle(tmp_path / "bundles", version="1.2.0"))
        fetched(the.job())
        new = path.read_bytes()
        path.write_bytes(old)
        assert refused(the.job("second")).code == "rollback-attack"
        path.write_bytes(new)
        assert fetched(the.job("second")).ok


def test_a_time_the_agent_knows_reaches_the_verification(tmp_path: Path) -> None:
    with fleet(tmp_path) as the:
        assert refused(the.job(time_floor_s=4_000_000_000.0)).code == "rollback-attack"


def test_a_server_that_is_off_may_be_tried_again(tmp_path: Path) -> None:
    with fleet(tmp_path) as the:
        job = the.job()
    refusal = refused(job)
    assert refusal.code == "download"
    assert "Connection refused" in refusal.message


@pytest.mark.parametrize(("status", "code"), [(502, "download"), (404, "not-found"), (302, "download")])
def test_what_a_proxy_answers_says_whether_to_try_again(tmp_path: Path, status: int, code: str) -> None:
    with fleet(tmp_path) as the:
        job = the.job()
    location = {"location": "http://127.0.0.1:1/"}
    with serving(answering(status, b"<html>", location)) as url:
        assert refused(msgspec.structs.replace(job, server_url=url)).code == code


def test_a_folder_that_cannot_be_written_is_a_storage_error(tmp_path: Path) -> None:
    with fleet(tmp_path) as the:
        (tmp_path / "file").touch()
        assert refused(the.job(slot_dir=str(tmp_path / "file"))).code == "storage"


def test_what_is_no_job_is_answered_too() -> None:
    done = subprocess.run(COMMAND, input=b"hello\n", capture_output=True, timeout=TIMEOUT_S, check=True)
    line = parse_line(done.stdout)
    assert isinstance(line, Refused)
    assert line.code == "message"


def test_a_connection_that_stands_still_times_out() -> None:
    staller = Staller("/", after_bytes=10)
    http = Http(read_timeout_s=0.3)
    with serving(staller.wrap(answering(200, bytes(100)))) as url:
        try:
            with pytest.raises(DownloadError, match="was cut off"), http.get(url) as answer:
                assert sum(map(len, answer.blocks)) == 10
        finally:
            staller.release()
            http.close()


def test_a_connection_that_trickles_is_given_up() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
            with contextlib.suppress(TimeoutError):
                if (await asyncio.wait_for(receive(), 0.02))["type"] == "http.disconnect":
                    return

    http = Http(stall_window_s=0.3)
    with serving(app) as url:
        try:
            with pytest.raises(DownloadError, match="bytes a second"), http.get(url) as answer:
                for _ in answer.blocks:
                    pass
        finally:
            http.close()
