"""Bundles as ``litefleet-packager pack`` writes them, and as a device stores them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
from click.testing import CliRunner, Result

from contract.bundle import BundleReader
from contract.manifest import Manifest, serialize_manifest
from packager.cli import main

NAME = "digits"
"""What the doubles of an agent serve, whatever the model really is."""
PROFILE = "generic-x86-64"


def run_pack(model: Path, folder: Path, *flags: str) -> Result:
    """The command, in this process; bundles go to ``folder``."""
    fixed = [
        "--name",
        NAME,
        "--version",
        "1.0.0",
        "--profile",
        PROFILE,
        "--output",
        str(folder),
        "--no-cache",
    ]
    return CliRunner().invoke(main, ["pack", str(model), *fixed, *flags])


def pack(model: Path, folder: Path, *flags: str) -> tuple[Path, dict[str, Any]]:
    """The bundle, and what ``--json`` says."""
    done = run_pack(model, folder, *flags, "--json")
    assert done.exit_code == 0, done.output
    return folder / f"{NAME}-1.0.0-{PROFILE}.bundle", json.loads(done.stdout)


def manifest_of(bundle: Path) -> Manifest:
    """What it says."""
    with BundleReader(bundle) as reader:
        return reader.manifest


def slot_of(bundle: Path, folder: Path, variant: str) -> Path:
    """The slot that a device would make of it."""
    with BundleReader(bundle) as reader:
        manifest = reader.manifest
        (folder / "artifacts").mkdir(parents=True)
        for sha256 in manifest.artifacts():
            (folder / "artifacts" / sha256).write_bytes(reader.read_artifact(sha256))
    (folder / "manifest.json").write_bytes(serialize_manifest(manifest))
    (folder / "variant").write_bytes(msgspec.json.encode({"name": variant}))
    return folder
