"""The same inputs give the same bytes: packed on two machines, as far as one machine can play both."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from contract.bundle import BundleReader
from tests.support.packager_builders import DIGITS

ROOT = Path(__file__).resolve().parents[3]
TIMEOUT_S = 100.0
PROFILES = ("generic-x86-64", "generic-x86-64-small")
IMAGES_OF_A_CLASS = 10
STARTER = """
import os, runpy, sys
os.umask(int(sys.argv[1], 8))
if sys.argv[2] == "one core":
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
sys.argv = ["litefleet-packager", *sys.argv[3:]]
runpy.run_module("packager.cli", run_name="__main__")
"""


@dataclass(frozen=True)
class Machine:
    """What differs between two machines, and must not matter.

    Attributes:
        folder: Where everything is.
        umask: Of the process.
        cores: ``all cores`` or ``one core``.
        modified: Time of the input files, seconds since 1970.
        is_backwards: Whether files were written in falling order of their names, as other file systems list them.
        is_relative: Whether paths are given relative to the folder.
        cache: Whether earlier runs are remembered.
        environment: Variables.
    """

    folder: Path
    umask: str
    cores: str
    modified: float
    is_backwards: bool
    is_relative: bool
    cache: bool
    environment: dict[str, str] = field(default_factory=dict)

    def prepare(self) -> None:
        """Copy the inputs."""
        inputs = self.folder / "inputs"
        for path in sorted(_chosen(), reverse=self.is_backwards):
            copy = inputs / path.relative_to(DIGITS)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
            os.utime(copy, (self.modified, self.modified))
        shutil.move(inputs / "digits-1.0.0.tflite", inputs / "model.tflite")
        for name in ("tmp", "cache", "home"):
            (self.folder / name).mkdir()

    def pack(self, output: str) -> dict[str, bytes]:
        """Pack; gives the bundles by name."""
        start = Path("inputs") if self.is_relative else self.folder / "inputs"
        given = {"calibration": "calibration", "evaluation": "evaluation", "labels": "labels.txt"}
        options = [part for name, path in given.items() for part in (f"--{name}", str(start / path))]
        options += [part for profile in PROFILES for part in ("--profile", profile)]
        command = [
            sys.executable, "-c", STARTER, self.umask, self.cores, "pack", str(start / "model.tflite"),
            "--name", "digits", "--version", "1.0.0", *options, "--output", str(self.folder / output),
            "--cache" if self.cache else "--no-cache",
        ]  # fmt: skip
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "HOME": str(self.folder / "home"),
            "TMPDIR": str(self.folder / "tmp"),
            "XDG_CACHE_HOME": str(self.folder / "cache"),
            **{name: value for name, value in os.environ.items() if name.startswith("COV")},
            **self.environment,
        }
        cwd = self.folder if self.is_relative else Path(os.sep)
        done = subprocess.run(
            command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
        assert done.returncode == 0, done.stderr
        return {path.name: path.read_bytes() for path in (self.folder / output).glob("*.bundle")}


def _chosen() -> Iterable[Path]:
    yield DIGITS / "digits-1.0.0.tflite"
    yield DIGITS / "labels.txt"
    for kind in ("calibration", "evaluation"):
        for of_class in (DIGITS / kind).iterdir():
            yield from sorted(of_class.iterdir())[:IMAGES_OF_A_CLASS]


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    machine = Machine(
        folder=tmp_path_factory.mktemp("here"),
        umask="022",
        cores="all cores",
        modified=1_000_000_000.0,
        is_backwards=False,
        is_relative=True,
        cache=True,
        environment={"PYTHONHASHSEED": "0", "TZ": "UTC", "LC_ALL": "C.UTF-8"},
    )
    machine.prepare()
    return machine


@pytest.fixture(scope="module")
def first(here: Machine) -> dict[str, bytes]:
    return here.pack("dist")


def test_another_machine_makes_the_same_bytes(
    here: Machine, first: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    there = Machine(
        folder=tmp_path_factory.mktemp("somewhere else ü"),
        umask="077",
        cores="one core",
        modified=1_700_000_000.5,
        is_backwards=True,
        is_relative=False,
        cache=False,
        environment={"PYTHONHASHSEED": "4242", "TZ": "Asia/Kathmandu", "LC_ALL": "C", "COLUMNS": "40"},
    )
    there.prepare()
    assert set(first) == {f"digits-1.0.0-{profile}.bundle" for profile in PROFILES}
    assert there.pack("elsewhere") == first


def test_what_an_earlier_run_made_gives_the_same_bytes(here: Machine, first: dict[str, bytes]) -> None:
    assert any((here.folder / "cache").rglob("*.stage"))
    assert here.pack("again") == first


def test_no_document_tells_where_or_when_it_was_made(here: Machine, first: dict[str, bytes]) -> None:
    for name in first:
        with BundleReader(here.folder / "dist" / name) as reader:
            texts = [
                reader.manifest_bytes,
                reader.read_document("sbom.json"),
                reader.read_document("provenance.json"),
            ]
        for text in texts:
            assert text
            assert str(here.folder).encode() not in text
            assert b"2001-09-09" not in text  # the inputs' time
