"""Writing bundles: the same bytes anywhere, whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from contract.bundle import BLOCK_BYTES, BundleReader, bundle_name, digest_of, write_bundle
from contract.bundle_layout import BUNDLE_MAX_BYTES, bundle_bytes
from contract.errors import DigestError, ManifestError, StorageError
from contract.manifest import Artifact, Golden, Tolerance, serialize_manifest
from tests.support.builders import GOLDEN_BYTES, MODEL_BYTES, a_bundle, a_manifest, a_variant, an_artifact

ROOT = Path(__file__).resolve().parents[3]
WRITE = """
import hashlib, os, sys
from pathlib import Path
from tests.support.builders import a_bundle
os.umask(int(sys.argv[2], 8))
path = a_bundle(Path(sys.argv[1]))
sys.stdout.write(f"{path.stat().st_mode & 0o777:o} {hashlib.sha256(path.read_bytes()).hexdigest()}")
"""
EXPECTED_SHA256 = "799036d795be696efe78f9e7a0226248ffbb8fb554ebab43829b64c1f792cfd0"


def artifact_files(folder: Path) -> dict[str, Path]:
    """The files of ``a_manifest`` by digest."""
    files: dict[str, Path] = {}
    for content in (MODEL_BYTES, GOLDEN_BYTES):
        digest = an_artifact(content).sha256
        files[digest] = folder / f"file-{digest[:8]}"
        files[digest].write_bytes(content)
    return files


def run(program: str, *words: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program, *words],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_bundle_holds_the_manifest_and_every_artifact(tmp_path: Path) -> None:
    path = a_bundle(tmp_path)
    assert path == tmp_path / "digits-1.0.0-generic-x86-64.bundle" == tmp_path / bundle_name(a_manifest())
    with BundleReader(path) as reader:
        assert reader.manifest == a_manifest()
        assert reader.manifest_bytes == serialize_manifest(a_manifest())
        assert reader.read_artifact(an_artifact(MODEL_BYTES).sha256) == MODEL_BYTES
        assert reader.read_artifact(an_artifact(GOLDEN_BYTES).sha256) == GOLDEN_BYTES
    reader.close()  # may be called twice


def test_a_bundle_is_these_bytes_and_no_larger_than_announced(tmp_path: Path) -> None:
    content = a_bundle(tmp_path).read_bytes()
    assert hashlib.sha256(content).hexdigest() == EXPECTED_SHA256
    members = [("manifest.json", len(serialize_manifest(a_manifest())))]
    members += [(f"artifacts/{a.sha256}", a.size_bytes) for a in a_manifest().artifacts().values()]
    assert len(content) == bundle_bytes(members)


@pytest.mark.parametrize(
    ("umask", "environment"),
    [
        ("022", {"TZ": "UTC", "PYTHONHASHSEED": "0"}),
        ("077", {"TZ": "Asia/Kathmandu", "PYTHONHASHSEED": "1"}),
        ("000", {"TZ": "America/St_Johns", "PYTHONHASHSEED": "4242", "LC_ALL": "C"}),
    ],
)
def test_neither_folder_umask_time_zone_nor_hash_seed_change_a_byte(
    tmp_path: Path, umask: str, environment: dict[str, str]
) -> None:
    assert run(WRITE, str(tmp_path / umask), umask, **environment) == f"644 {EXPECTED_SHA256}"


def test_neither_the_files_names_nor_their_order_change_a_byte(tmp_path: Path) -> None:
    files = artifact_files(tmp_path)
    backwards = dict(reversed(files.items()))
    assert (
        write_bundle(tmp_path, a_manifest(), backwards).read_bytes() == a_bundle(tmp_path / "b").read_bytes()
    )


def test_files_that_the_manifest_does_not_name_are_left_out(tmp_path: Path) -> None:
    files = artifact_files(tmp_path) | {"ff" * 32: tmp_path / "nothing"}
    path = write_bundle(tmp_path, a_manifest(), files)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == EXPECTED_SHA256


def test_an_artifact_that_two_variants_share_is_stored_once(tmp_path: Path) -> None:
    golden = Golden(
        artifact=an_artifact(GOLDEN_BYTES),
        samples=1,
        tolerance={name: Tolerance(max_abs_error=0.1) for name in ("float32", "again")},
    )
    manifest = a_manifest(variants=(a_variant(), a_variant(name="again")), golden=golden)
    with BundleReader(write_bundle(tmp_path, manifest, artifact_files(tmp_path))) as reader:
        assert len(reader.manifest.artifacts()) == 2


def test_writing_again_replaces_the_bundle(tmp_path: Path) -> None:
    a_bundle(tmp_path, labels=())
    path = a_bundle(tmp_path)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == EXPECTED_SHA256
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_an_artifact_comes_in_blocks(tmp_path: Path) -> None:
    content = os.urandom(3 * BLOCK_BYTES + 1)
    with BundleReader(a_bundle(tmp_path, model_bytes=content)) as reader:
        blocks = list(reader.artifact_blocks(an_artifact(content).sha256))
    assert b"".join(blocks) == content
    assert max(map(len, blocks)) <= BLOCK_BYTES


def test_an_artifact_that_the_manifest_does_not_name_is_refused(tmp_path: Path) -> None:
    with BundleReader(a_bundle(tmp_path)) as reader, pytest.raises(ManifestError, match="has no artifact"):
        reader.read_artifact("../../etc/passwd")


def test_a_stream_is_described_as_an_artifact() -> None:
    assert digest_of(io.BytesIO(MODEL_BYTES)) == an_artifact(MODEL_BYTES)
    assert digest_of(io.BytesIO()) == Artifact(sha256=hashlib.sha256(b"").hexdigest(), size_bytes=0)


# Whole or not at all


def left_behind(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("file-"))


def test_an_incomplete_manifest_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="not usable"):
        write_bundle(tmp_path, a_manifest(golden=None), artifact_files(tmp_path))
    assert left_behind(tmp_path) == []


def test_an_artifact_without_a_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="without a file") as caught:
        write_bundle(tmp_path, a_manifest(), {})
    assert caught.value.faults == tuple(sorted(a_manifest().artifacts()))


@pytest.mark.parametrize(
    "content", [b"", MODEL_BYTES[:-1], MODEL_BYTES + b"!", MODEL_BYTES[:-1] + b"!", b"x" * 1_000_000]
)
def test_a_file_that_is_not_what_the_manifest_says_leaves_nothing(tmp_path: Path, content: bytes) -> None:
    files = artifact_files(tmp_path)
    files[an_artifact(MODEL_BYTES).sha256].write_bytes(content)
    with pytest.raises(DigestError, match="is not the artifact"):
        write_bundle(tmp_path, a_manifest(), files)
    assert left_behind(tmp_path) == []


def test_a_file_that_cannot_be_read_leaves_nothing_and_the_old_bundle_as_it_was(tmp_path: Path) -> None:
    path = a_bundle(tmp_path)
    files = artifact_files(tmp_path)
    files[an_artifact(GOLDEN_BYTES).sha256].unlink()
    with pytest.raises(StorageError, match="No such file"):
        write_bundle(tmp_path, a_manifest(), files)
    assert left_behind(tmp_path) == [path.name]
    assert hashlib.sha256(path.read_bytes()).hexdigest() == EXPECTED_SHA256


def test_a_folder_that_does_not_exist_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="No such file") as caught:
        write_bundle(tmp_path / "missing", a_manifest(), artifact_files(tmp_path))
    assert caught.value.remedy == "see to the folder and its space"


def test_a_bundle_too_large_to_be_read_is_not_begun(tmp_path: Path) -> None:
    large = msgspec.structs.replace(an_artifact(MODEL_BYTES), size_bytes=BUNDLE_MAX_BYTES)
    manifest = a_manifest(variants=(a_variant(artifact=large),))
    with pytest.raises(ManifestError, match="at most 2000000000 are possible"):
        write_bundle(tmp_path, manifest, artifact_files(tmp_path))
    assert left_behind(tmp_path) == []


FULL_DISK = """
import resource, sys
from pathlib import Path
from contract.errors import StorageError
from tests.support.builders import a_bundle
before = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), before[1]))
try:
    a_bundle(Path(sys.argv[1]))
except StorageError as error:
    sys.stdout.write(error.code)
finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
"""


def test_a_disk_that_fills_up_while_writing_leaves_nothing(tmp_path: Path) -> None:
    # The largest file that may be written is the model itself, so that the bundle around it does not fit.
    limit = len(MODEL_BYTES)
    assert run(FULL_DISK, str(tmp_path), str(limit)) == "storage"
    assert left_behind(tmp_path) == []


KILLED = """
import sys
from pathlib import Path
from contract.bundle import write_bundle
from tests.support.builders import GOLDEN_BYTES, MODEL_BYTES, a_manifest, an_artifact
folder = Path(sys.argv[1])
files = {an_artifact(content).sha256: folder / "file-pipe" for content in (MODEL_BYTES, GOLDEN_BYTES)}
write_bundle(folder, a_manifest(), files)
"""


def open_when_read(pipe: Path, writer: subprocess.Popen[bytes]) -> int:
    """Open a named pipe for writing once somebody reads it."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and writer.poll() is None:
        with contextlib.suppress(OSError):  # nobody reads it yet
            return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        time.sleep(0.01)
    pytest.fail("the bundle's writer did not begin")


def test_killed_while_writing_leaves_no_bundle(tmp_path: Path) -> None:
    pipe = tmp_path / "file-pipe"
    os.mkfifo(pipe)
    with subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], cwd=ROOT) as writer:
        handle = open_when_read(pipe, writer)
        os.write(handle, b"some")
        writer.kill()
        assert writer.wait(30) == -signal.SIGKILL
        os.close(handle)
    assert list(tmp_path.glob("*.bundle")) == []
    assert a_bundle(tmp_path).is_file()
